// What the guest's own ICMP errors say about packets of ours: too big for a link behind the guest (RFC 1191,
// RFC 8201), or nobody there. Pure; the caller looks for the flow, and that the quote fits it (RFC 5927).
#pragma once

#include <cstdint>
#include <optional>

#include "core/flow/types.h"
#include "core/wire/packet.h"

namespace cordon::icmp {

struct GuestError {
  enum class Kind : std::uint8_t { kTooBig, kUnreachable };
  Kind kind = Kind::kTooBig;
  std::uint16_t mtu = 0;       // kTooBig: at least 576 or 1280, whatever the guest says
  flow::Tuple tuple;           // of the packet it is about, TCP or UDP
  std::uint32_t sequence = 0;  // TCP
};

// `packet`: ICMP or ICMPv6. nullopt: another message, or a quote that cannot be of ours.
[[nodiscard]] std::optional<GuestError> parse_guest_error(const wire::Packet& packet);

}  // namespace cordon::icmp
