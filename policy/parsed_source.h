// The two halves of loading a policy. Reading YAML is left to a process that may do nothing else
// (sandbox/, role policy-reader); what it hands on is a ParsedSource in a flat encoding that the broker
// decodes and compiles itself. So a file that subverts the YAML library gains its own tree and nothing more.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "policy/diagnostic.h"
#include "policy/document.h"
#include "policy/load.h"

namespace cordon::policy {

struct ParsedSource {
  std::string path;
  std::string text;  // for excerpts in messages
  std::optional<Node> document;
  std::vector<Diagnostic> diagnostics;  // of the reader; an unreadable file has nothing but one of these
};

[[nodiscard]] ParsedSource parse(Source source);
[[nodiscard]] Loaded assemble(std::vector<ParsedSource> files, std::uint64_t generation,
                              base::WallTime now = base::wall_now());

// A bundle: all files of one load, outermost first. Host byte order, both ends are one binary.
inline constexpr std::size_t kMaxBundleBytes = 16UL * 1024 * 1024;
[[nodiscard]] std::string encode(const ParsedSource& file);
[[nodiscard]] std::string encode_bundle(const std::vector<std::string>& encoded_files);
// Takes nothing on trust: lengths, depth, kinds and counts are checked. The error says what is wrong.
[[nodiscard]] std::expected<std::vector<ParsedSource>, std::string> decode_bundle(base::Bytes bytes);

}  // namespace cordon::policy
