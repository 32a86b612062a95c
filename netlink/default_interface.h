// How this machine reaches the rest of the world in one family: the interface of its default route with the
// smallest metric, the gateway, and the address it uses there. Asked once, by dump; nothing is subscribed.
#pragma once

#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/net/ip_address.h"

namespace cordon::netlink {

struct DefaultInterface {
  std::uint32_t index = 0;
  net::IpAddress
      address;  // global; neither deprecated, tentative nor temporary; in the gateway's subnet if any is
  unsigned prefix_length = 0;
  std::optional<net::IpAddress> gateway;  // none: a point-to-point link
};

// nullopt: no default route in this family, or no address on its interface.
// `only`: the index of an interface that is asked about instead, with or without such a route.
[[nodiscard]] base::Result<std::optional<DefaultInterface>> find_default_interface(net::Family family,
                                                                                   std::uint32_t only = 0);

}  // namespace cordon::netlink
