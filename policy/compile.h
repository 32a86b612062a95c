// Document -> Ruleset. Finds everything that is wrong with a file before it gives up on it; nothing is
// ignored.
#pragma once

#include <optional>
#include <string>

#include "policy/diagnostic.h"
#include "policy/document.h"
#include "policy/ruleset.h"

namespace cordon::policy {

inline constexpr std::size_t kMaxRules = 4096;  // in both directions together
inline constexpr std::size_t kMaxTests = 1024;
inline constexpr std::size_t kMaxListItems = 256;

// Only the operator's file (the first) may open host, guests and metadata, and has keys of its own.
enum class FileRole : std::uint8_t { kOperator, kTenant };

// nullopt when `report` has errors. `now` is for warnings about what has ended.
[[nodiscard]] std::optional<Ruleset> compile(const Node& document, const std::string& path, FileRole role,
                                             Report& report, base::WallTime now = base::wall_now());

}  // namespace cordon::policy
