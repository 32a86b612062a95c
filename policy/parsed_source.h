// The two halves of loading a policy. Reading YAML is left to a process that may do nothing else
// (sandbox/, role policy-reader); what it hands on is a ParsedSource in a flat encoding that the broker
// decodes and compiles itself. So a file that subverts the YAML library gains its own tree and nothing more.
#pragma once

#include <expected>
#include <optional>
#include <span>
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
  bool built_in = false;                // part of the program: an operator's words, wherever it stands
  std::vector<Diagnostic> diagnostics;  // of the reader; an unreadable file has nothing but one of these
};

[[nodiscard]] ParsedSource parse(Source source);
// As load_files() reads it; what cannot be read is a diagnostic.
[[nodiscard]] ParsedSource read_and_parse(const std::string& path);
[[nodiscard]] Loaded assemble(std::vector<ParsedSource> files, std::uint64_t generation,
                              base::WallTime now = base::wall_now());

// What a reader writes about its file. Host byte order: both ends are one binary.
inline constexpr std::size_t kMaxEncodedBytes = 2UL * 1000 * 1000;
inline constexpr std::size_t kMaxNodes = 128UL * 1024;
// More than can be encoded becomes a Diagnostic.
[[nodiscard]] std::string encode(const ParsedSource& file);

// A bundle: all files of one load, outermost first. The names are those the loader was given, and the
// readers' answers are carried as they came: only the broker looks into them.
struct EncodedFile {
  std::string path;
  std::string bytes;  // encode()'s, or whatever a reader wrote; at most kMaxEncodedBytes
};
inline constexpr std::size_t kMaxBundleBytes = 16UL * 1024 * 1024;
[[nodiscard]] std::string encode_bundle(std::span<const EncodedFile> files);
// Takes nothing on trust: lengths, depth, kinds, positions and counts are checked. An answer that is wrong
// becomes an unreadable file; the error says what is wrong with the bundle itself.
[[nodiscard]] std::expected<std::vector<ParsedSource>, std::string> decode_bundle(base::Bytes bytes);
// A file that could not be read, and why.
[[nodiscard]] ParsedSource unreadable(std::string path, std::string why, Code code = Code::kUnreadable);

}  // namespace cordon::policy
