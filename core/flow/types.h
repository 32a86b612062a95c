// The vocabulary of flows: all that policy, broker and translation core may know in common.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

#include "core/net/endpoint.h"

namespace cordon::flow {

enum class Protocol : std::uint8_t { kTcp = 6, kUdp = 17, kIcmpEcho = 1 };  // kIcmpEcho covers ICMPv6 echo

// A flow's two ends as the guest sees them. Both addresses have one family. For echo, `guest.port` is the
// identifier and `remote.port` is 0.
struct Tuple {
  Protocol protocol = Protocol::kTcp;
  net::Endpoint guest;
  net::Endpoint remote;
  friend constexpr auto operator<=>(const Tuple&, const Tuple&) = default;
};

// Slot in the translator's table plus the slot's generation: a message about a slot that was reused finds a
// newer generation and is ignored. Generation 0 is never live.
struct Id {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  friend constexpr auto operator<=>(const Id&, const Id&) = default;
};

// How a refusal looks to the guest.
enum class RefuseHow : std::uint8_t {
  kReject,              // policy: TCP RST, else ICMP communication administratively prohibited
  kDrop,                // silence
  kConnectionRefused,   // the remote end answered RST / port unreachable: TCP RST, UDP port unreachable
  kHostUnreachable,     // ICMP host unreachable / ICMPv6 address unreachable
  kNetworkUnreachable,  // ICMP net unreachable / ICMPv6 no route
};

// Why a flow ended, for the Close message and the audit record.
enum class EndReason : std::uint8_t { kFin, kReset, kTimeout, kRevoked, kLimit, kError };

// How the broker must end the socket it shares with us.
enum class CloseHow : std::uint8_t { kGraceful, kReset };

// Volumes of one flow: payload bytes, and for UDP and echo the datagrams that left.
struct Volumes {
  std::uint64_t bytes_from_guest = 0;
  std::uint64_t bytes_to_guest = 0;
  std::uint64_t datagrams_from_guest = 0;
};

}  // namespace cordon::flow
