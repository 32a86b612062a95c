// A published range of ports: what the command line asked for, as the broker needs it. app/forward_plan.cc
// makes them, so that they do not overlap and lead to the guest's own addresses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/flow/types.h"
#include "core/net/ip_address.h"

namespace cordon::sandbox {

struct ForwardRule {
  flow::Protocol protocol = flow::Protocol::kTcp;  // TCP or UDP
  net::IpAddress address;                          // where to listen; may be unspecified
  bool dual_stack = false;                         // `address` is [::], and IPv4 comes by the same socket
  std::string interface;                           // only what arrives there; empty: anywhere
  std::uint16_t first = 0;                         // ports, never 0
  std::uint16_t last = 0;
  std::uint16_t target = 0;  // the guest's port for `first`; the others follow in step
  // The guest's address for each family that can arrive; one of them at least.
  std::optional<net::IpAddress> target_v4;
  std::optional<net::IpAddress> target_v6;
  // "all": a port that is in use is left out, and so are those the host gives its own clients.
  bool weak = false;
  bool freebind = false;  // the address need not be there (yet)
  std::string text;       // as typed, for messages: "--tcp-ports 8080"

  [[nodiscard]] std::uint16_t target_port(std::uint16_t port) const {
    return static_cast<std::uint16_t>(target + (port - first));
  }
  [[nodiscard]] const std::optional<net::IpAddress>& target_for(net::Family family) const {
    return family == net::Family::kIpv4 ? target_v4 : target_v6;
  }
};

}  // namespace cordon::sandbox
