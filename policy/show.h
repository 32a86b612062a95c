// `cordon policy show`: the whole policy as it is applied, all files side by side, for people and for
// programs. Both forms say the same.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "policy/ruleset.h"

namespace cordon::policy {

struct ShowOptions {
  WallTime now = WallTime::max();  // what has ended is marked
  unsigned width = 100;            // columns of the terminal; long cells are wrapped, no narrower than 72
};

// What holds for all files, then one table per file and direction. Plain ASCII but for what a description
// says.
[[nodiscard]] std::string show_table(const PolicySet& policy, const ShowOptions& options);
// One JSON object, indented by `indent` spaces; negative: in one line. No newline at its end.
[[nodiscard]] std::string show_json(const PolicySet& policy, WallTime now, int indent = -1);

// The limits of the whole guest: of each the lowest that an enforcing file's head sets.
struct GuestLimits {
  Limits lowest;
  std::array<std::string, 4> at;  // "FILE:LINE" of connections, new, rate, bytes; empty: not limited
};
[[nodiscard]] GuestLimits guest_limits(const PolicySet& policy);
[[nodiscard]] std::string_view to_string(LogMode log);

}  // namespace cordon::policy
