#pragma once

#include "core/lan/addresses.h"
#include "tests/wire/packets.h"

namespace cordon::test {

inline constexpr net::MacAddress kGuestMac{{0x52, 0x54, 0, 0, 0, 2}};
inline constexpr net::MacAddress kOurMac{{0x02, 0, 0, 0, 0, 1}};

inline lan::LanConfig lan_config() {
  lan::LanConfig config;
  config.guest_mac = kGuestMac;
  config.our_mac = kOurMac;
  config.v4 = lan::LanAddresses{*net::parse_ip("10.0.2.15"), *net::parse_prefix("10.0.2.0/24"),
                                *net::parse_ip("10.0.2.2"), *net::parse_ip("10.0.2.3")};
  config.v6 = lan::LanAddresses{*net::parse_ip("fd00:c0:2d::15"), *net::parse_prefix("fd00:c0:2d::/64"),
                                *net::parse_ip("fd00:c0:2d::2"), *net::parse_ip("fd00:c0:2d::3")};
  config.our_link_local = *net::parse_ipv6("fe80::1");
  return config;
}

}  // namespace cordon::test
