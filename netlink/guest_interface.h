// The guest's side of the tap, configured by netlink from inside the guest's own network namespace: link
// address, MTU, queue length, addresses without duplicate address detection (nobody else can be on this wire)
// and default routes. Runs once, in the short-lived child that sets up a guest, before a command starts.
#pragma once

#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/net/ip_address.h"
#include "core/net/mac_address.h"

namespace cordon::netlink {

// An address with the length of its on-link prefix: host bits are expected, unlike in net::Prefix.
struct InterfaceAddress {
  net::IpAddress address;
  unsigned prefix_length = 0;
  friend bool operator==(const InterfaceAddress&, const InterfaceAddress&) = default;
};

struct GuestInterface {
  std::string name;
  net::MacAddress mac;
  unsigned mtu = 0;
  // Frames the kernel queues towards the translator. The default ring of a tap loses most of a burst in
  // silence.
  unsigned transmit_queue = 0;
  std::vector<InterfaceAddress> addresses;
  // Default route per family. A gateway outside of every prefix is on the link all the same.
  std::vector<net::IpAddress> gateways;
  // Told to the kernel for good (nobody answers solicitations): these addresses are at `neighbour_mac`.
  std::vector<net::IpAddress> neighbours;
  net::MacAddress neighbour_mac;
};

// Gives an interface of the calling thread's network namespace to another one, where it keeps its name. It
// must be down.
[[nodiscard]] base::Result<void> move_to_namespace(const std::string& name, int network_namespace);

// Brings up `lo` and the interface in the calling thread's network namespace.
[[nodiscard]] base::Result<void> configure(const GuestInterface& interface);

}  // namespace cordon::netlink
