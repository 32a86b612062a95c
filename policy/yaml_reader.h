// YAML text -> Document. A strict subset: one document; no anchors, aliases, tags, merge keys or directives;
// a key once per mapping; at most 256 KiB and 8 levels. Scalars stay text: what `0443` or `no` means is not
// YAML's to say. The only file that knows yaml-cpp, and where its exceptions end.
#pragma once

#include <optional>
#include <string_view>

#include "policy/diagnostic.h"
#include "policy/document.h"

namespace cordon::policy {

inline constexpr std::size_t kMaxPolicyBytes = 256UL * 1024;
inline constexpr std::size_t kMaxPolicyDepth = 8;

// nullopt when there is no tree to look at; otherwise `report` may still have errors.
[[nodiscard]] std::optional<Node> read_yaml(std::string_view text, Report& report);

}  // namespace cordon::policy
