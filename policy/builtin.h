// Policies that are part of the program.
#pragma once

#include <string_view>

#include "policy/ruleset.h"

namespace cordon::policy {

// What `run` and `vm` use without --policy: the forwarder's DNS and the public Internet, nothing else.
[[nodiscard]] std::string_view internet_only_text();
[[nodiscard]] PolicySet builtin_internet_only();
// No file at all: denies everything.
[[nodiscard]] PolicySet builtin_deny();

}  // namespace cordon::policy
