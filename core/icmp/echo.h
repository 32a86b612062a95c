// Echo, the only ICMP query that is translated, in value form for both families.
//
// The guest's identifier is the flow's guest "port". The host's ping socket has an identifier of its own: the
// kernel writes it into requests and matches answers by it, so a request to the host carries identifier 0,
// and a reply to the guest gets the flow's identifier back. The kernel also computes the checksum of
// requests.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <expected>
#include <span>

#include "core/base/bytes.h"
#include "core/flow/types.h"
#include "core/net/ip_address.h"
#include "core/wire/frame_builder.h"
#include "core/wire/packet.h"
#include "core/wire/parse_error.h"

namespace cordon::icmp {

struct Echo {
  bool request = false;  // else a reply
  std::uint16_t identifier = 0;
  std::uint16_t sequence = 0;
  base::Bytes payload;
};

// From the guest. The checksum has been verified with the packet. kIcmpNotEcho: another type, maybe an ICMP
// error.
[[nodiscard]] std::expected<Echo, wire::ParseError> parse_echo(const wire::Packet& packet);
// From a ping socket: what recv() returns, the ICMP header and its payload.
[[nodiscard]] std::expected<Echo, wire::ParseError> parse_host_echo(net::Family family, base::Bytes message);

// The flow a guest's request belongs to.
[[nodiscard]] flow::Tuple echo_tuple(const wire::Packet& packet, const Echo& echo);

// The 8 bytes to write to a ping socket in front of the payload.
[[nodiscard]] std::array<std::byte, 8> host_request_header(net::Family family, std::uint16_t sequence);

// A reply frame for the guest; `flow` was made with echo_protocol(family).
[[nodiscard]] wire::IpProtocol echo_protocol(net::Family family);
wire::BuiltHeaders build_echo_reply(const wire::FrameTemplate& flow, std::uint16_t guest_identifier,
                                    std::uint16_t sequence, std::span<const iovec> payload,
                                    wire::HeaderBuffer out);

}  // namespace cordon::icmp
