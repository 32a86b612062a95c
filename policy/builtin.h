// Policies that are part of the program.
#pragma once

#include <string_view>

#include "policy/ruleset.h"

namespace cordon::policy {

// What `run` and `vm` use without --policy: the forwarder's DNS and the public Internet, nothing else.
[[nodiscard]] std::string_view internet_only_text();
[[nodiscard]] PolicySet builtin_internet_only();
// The same where ports are published on the command line, which is then the permission: whoever reaches the
// listening socket is let in, the host's own users too.
[[nodiscard]] PolicySet builtin_internet_only_published();
// No file at all: denies everything.
[[nodiscard]] PolicySet builtin_deny();

}  // namespace cordon::policy
