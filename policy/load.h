// From files to a PolicySet: read, parse, compile, and report everything that is wrong with any of them at
// once.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "policy/diagnostic.h"
#include "policy/ruleset.h"

namespace cordon::policy {

struct Source {
  std::string path;  // as it appears in messages and records
  std::string text;
};

struct Loaded {
  std::optional<PolicySet> policy;      // set exactly when there is no error
  std::vector<Diagnostic> diagnostics;  // errors, and warnings also when it loaded
};

// Outermost first; the first is the operator's. No source at all gives the policy that denies everything.
[[nodiscard]] Loaded load(std::span<const Source> sources, std::uint64_t generation = 1);
// Each file is opened once; it must be a regular file or a pipe and not writable by everyone.
[[nodiscard]] Loaded load_files(std::span<const std::string> paths, std::uint64_t generation = 1);

}  // namespace cordon::policy
