#include "core/icmp/echo.h"

#include "core/wire/icmp.h"

namespace cordon::icmp {
namespace {

std::expected<Echo, wire::ParseError> read(net::Family family, base::Bytes message) {
  const auto view = wire::IcmpView::parse(message);
  if (!view) return std::unexpected(view.error());
  const bool v4 = family == net::Family::kIpv4;
  const std::uint8_t request = v4 ? wire::icmp4_type::kEchoRequest : wire::icmp6_type::kEchoRequest;
  const std::uint8_t reply = v4 ? wire::icmp4_type::kEchoReply : wire::icmp6_type::kEchoReply;
  if (view->type() != request && view->type() != reply)
    return std::unexpected(wire::ParseError::kIcmpNotEcho);
  if (view->code() != 0) return std::unexpected(wire::ParseError::kIcmpCode);
  return Echo{view->type() == request, view->identifier(), view->sequence(), view->payload()};
}

}  // namespace

std::expected<Echo, wire::ParseError> parse_echo(const wire::Packet& packet) {
  if (packet.is_fragment || packet.protocol != echo_protocol(packet.source.family()))
    return std::unexpected(wire::ParseError::kIcmpNotEcho);
  return read(packet.source.family(), packet.l4);
}

std::expected<Echo, wire::ParseError> parse_host_echo(net::Family family, base::Bytes message) {
  return read(family, message);
}

flow::Tuple echo_tuple(const wire::Packet& packet, const Echo& echo) {
  return {flow::Protocol::kIcmpEcho,
          {packet.source, net::Port{echo.identifier}},
          {packet.destination, net::Port{0}}};
}

std::array<std::byte, 8> host_request_header(net::Family family, std::uint16_t sequence) {
  std::array<std::byte, 8> out{};
  wire::icmp_layout::Type::put(
      out, family == net::Family::kIpv4 ? wire::icmp4_type::kEchoRequest : wire::icmp6_type::kEchoRequest);
  wire::icmp_layout::Sequence::put(out, sequence);
  return out;
}

wire::IpProtocol echo_protocol(net::Family family) {
  return family == net::Family::kIpv4 ? wire::IpProtocol::kIcmp : wire::IpProtocol::kIcmpv6;
}

wire::BuiltHeaders build_echo_reply(const wire::FrameTemplate& flow, std::uint16_t guest_identifier,
                                    std::uint16_t sequence, std::span<const iovec> payload,
                                    wire::HeaderBuffer out) {
  const std::uint8_t type = flow.protocol() == wire::IpProtocol::kIcmp ? wire::icmp4_type::kEchoReply
                                                                       : wire::icmp6_type::kEchoReply;
  return wire::build_icmp(flow, type, 0, (std::uint32_t{guest_identifier} << 16U) | sequence, payload, out);
}

}  // namespace cordon::icmp
