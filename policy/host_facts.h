// What the kernel says, now, about one destination. The broker fills this from its snapshot of the host's
// addresses and routes; decide() reads nothing else about the host, so a decision can be repeated from a
// record.
//
// Every default is the closed one: facts nobody filled in deny the flow.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/base/time.h"

namespace cordon::policy {

// rtm_type of the route a socket would take (rtnetlink(7)); kNone: the kernel has no route (ENETUNREACH).
enum class FibType : std::uint8_t {
  kNone,
  kUnicast,
  kLocal,
  kBroadcast,
  kAnycast,
  kMulticast,
  kUnreachable,
  kProhibit,
  kBlackhole,
  kOther,  // a type we do not know: treated as kProhibit
};

// As in records.
[[nodiscard]] std::string_view to_string(FibType fib);

// Whose address it is among the guests this host runs.
enum class GuestRelation : std::uint8_t { kNone, kSameTenant, kOtherTenant };

struct AddressFacts {
  bool is_host = false;  // an address of any interface, a local route of any table, or a configured alias
  GuestRelation guest = GuestRelation::kNone;
  FibType fib = FibType::kNone;
  bool has_gateway = false;  // false with kUnicast: on-link
  bool oif_is_uplink = false;
  std::uint32_t oif = 0;  // interface the route leaves by; for the socket's bind and the record
};

// Filled for one flow::Tuple:
//   const Destination d = normalise(tuple.remote.address);   // policy/destination.h
//   facts.dial = look_up(d.dial);
//   if (d.embedded) facts.embedded = look_up(*d.embedded);
struct HostFacts {
  bool source_assigned = false;  // tuple.guest.address is one this guest was given
  bool dns_forwarder = false;    // remote is the guest's DNS address, port 53: we dial a resolver instead
  bool sandbox_address =
      false;  // remote is another address of our own side of the guest's LAN (the gateway, or
              // the DNS address on another port): nothing listens there, never forwarded
  // The guest's destination means another one by the command line's word, and `dial` is about that one: it
  // may be loopback, which then is `host`.
  bool mapped = false;
  // For `until` and `expires`. The default is closed: whatever has an end has ended.
  base::WallTime now = base::WallTime::max();
  AddressFacts dial;
  AddressFacts embedded;  // only read when the destination embeds an IPv4 address
};

}  // namespace cordon::policy
