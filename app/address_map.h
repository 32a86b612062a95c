// Addresses that mean another destination than they say: what passt calls --map-host-loopback and
// --map-guest-addr. The guest talks to `seen`; the decision is about `real`, and the socket is dialled there.
//
// Only the command line makes such pairs. A pair whose real end is a loopback address is the one way in
// which a flow may reach loopback at all, and then it counts as `host`, to be opened by that word.
#pragma once

#include <vector>

#include "core/net/ip_address.h"

namespace cordon::app {

struct AddressMap {
  struct Pair {
    net::IpAddress seen;
    net::IpAddress real;  // of the same family
    friend bool operator==(const Pair&, const Pair&) = default;
  };
  std::vector<Pair> pairs;  // few; the first one counts
  // What is not mapped and lies behind the gateway's address is the network's gateway itself. Else that
  // address is ours and nothing listens there.
  bool real_gateway = false;

  // nullptr: `address` means itself.
  [[nodiscard]] const net::IpAddress* real_of(const net::IpAddress& address) const {
    for (const Pair& pair : pairs)
      if (pair.seen == address) return &pair.real;
    return nullptr;
  }
};

}  // namespace cordon::app
