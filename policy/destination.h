// The destination behind an address. An IPv6 address may carry an IPv4 address which some router or the
// kernel itself un-wraps later; if rules looked only at the outside, 64:ff9b::7f00:1 would walk past "deny
// 127.0.0.0/8".
//
//   v4-mapped  ::ffff:a.b.c.d        the same destination as a.b.c.d: dialled, matched and recorded as IPv4
//   v4-compatible, NAT64 (64:ff9b::/96 and 64:ff9b:1::/96), 6to4, Teredo
//                                    dialled as written, but the embedded address decides what it is
//   a wrapping whose IPv4 part cannot be read for certain (SIIT ::ffff:0:0:0/96, the rest of 64:ff9b:1::/48,
//   ISATAP identifiers, which anybody can give to his server)
//                                    denied: `embedded-ipv4`
#pragma once

#include <optional>

#include "core/net/ip_address.h"

namespace cordon::policy {

struct Destination {
  net::IpAddress dial;                       // what the socket connects to
  std::optional<net::Ipv4Address> embedded;  // never set when `dial` is IPv4
  bool unreadable_embedding = false;

  // The address rules and classes are about.
  [[nodiscard]] net::IpAddress effective() const { return embedded ? net::IpAddress{*embedded} : dial; }
};

[[nodiscard]] Destination normalise(const net::IpAddress& address);

}  // namespace cordon::policy
