// Policies that are part of the program.
#pragma once

#include <string>
#include <string_view>

#include "policy/ruleset.h"

namespace cordon::policy {

// What `run` and `vm` use without --policy: the forwarder's DNS and the public Internet, nothing else.
[[nodiscard]] std::string_view internet_only_text();
[[nodiscard]] PolicySet builtin_internet_only();
// The same where ports are published on the command line, which is then the permission: whoever reaches the
// listening socket is let in, the host's own users too.
[[nodiscard]] PolicySet builtin_internet_only_published();
[[nodiscard]] std::string internet_only_published_text();
// Everything that the floor leaves, this host too: what other programs of this kind allow. Or less of it.
struct Carried {
  bool host = true;
  bool tcp = true;
  bool udp = true;
  bool icmp = true;
};
[[nodiscard]] std::string everything_text(const Carried& carried);
// As `path` of what is built in.
inline constexpr std::string_view kBuiltInPath = "built-in";
// No file at all: denies everything.
[[nodiscard]] PolicySet builtin_deny();

}  // namespace cordon::policy
