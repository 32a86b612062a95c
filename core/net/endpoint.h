#pragma once

#include <compare>
#include <string>

#include "core/net/ip_address.h"
#include "core/net/port.h"

namespace cordon::net {

struct Endpoint {
  IpAddress address;
  Port port;
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// "192.0.2.1:80", "[2001:db8::1]:80".
[[nodiscard]] inline std::string to_string(const Endpoint& e) {
  const auto text = to_string(e.address);
  const auto port = std::to_string(e.port.number());
  return e.address.is_v6() ? "[" + text + "]:" + port : text + ":" + port;
}

}  // namespace cordon::net
