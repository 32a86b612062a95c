// The guest's two links as the tests of published ports have them: the default plan.
#pragma once

#include <vector>

#include "tests/sandbox/broker_rig.h"

namespace cordon::sandbox::test {

inline std::vector<GuestLink> guest_links() {
  return {{.on_link = *net::Prefix::make(ip("10.0.2.0"), 24),
           .gateway = ip("10.0.2.2"),
           .dns = ip("10.0.2.3"),
           .guest = {ip("10.0.2.15")}},
          {.on_link = *net::Prefix::make(ip("fd00:c0:2d::"), 64),
           .gateway = ip("fd00:c0:2d::2"),
           .dns = ip("fd00:c0:2d::3"),
           .guest = {ip("fd00:c0:2d::15")}}};
}

}  // namespace cordon::sandbox::test
