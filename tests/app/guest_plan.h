// The guest of the judge's tests.
#pragma once

#include "app/options.h"

namespace cordon::app {

inline GuestPlan ipv4_plan() {
  GuestPlan guest;
  guest.ipv4 = FamilyPlan{.address = *net::parse_ip("10.0.2.15"),
                          .prefix_length = 24,
                          .gateway = *net::parse_ip("10.0.2.2"),
                          .dns = *net::parse_ip("10.0.2.3")};
  guest.name = "g";
  return guest;
}

inline GuestPlan dual_stack_plan() {
  GuestPlan guest = ipv4_plan();
  guest.ipv6 = FamilyPlan{.address = *net::parse_ip("fd00:c0:2d::15"),
                          .prefix_length = 64,
                          .gateway = *net::parse_ip("fd00:c0:2d::2"),
                          .dns = *net::parse_ip("fd00:c0:2d::3")};
  return guest;
}

}  // namespace cordon::app
