#include "core/wire/packet.h"

#include "core/wire/checksum.h"
#include "core/wire/ipv4.h"
#include "core/wire/ipv6.h"
#include "core/wire/tcp.h"
#include "core/wire/udp.h"

namespace cordon::wire {
namespace {

std::expected<Packet, ParseError> parse_v4(base::Bytes ip, std::size_t beyond = 0) {
  const auto view = Ipv4View::parse(ip, beyond);
  if (!view) return std::unexpected(view.error());
  Packet packet;
  packet.source = view->source();
  packet.destination = view->destination();
  packet.protocol = view->protocol();
  packet.hop_limit = view->ttl();
  packet.traffic_class = view->traffic_class();
  packet.dont_fragment = view->dont_fragment();
  packet.is_fragment = view->is_fragment();
  packet.more_fragments = view->more_fragments();
  packet.fragment_offset = view->fragment_offset();
  packet.fragment_id = view->identification();
  packet.l4_offset = static_cast<std::uint16_t>(EthernetView::kHeader + view->header_length());
  packet.ip = view->packet();
  packet.l4 = view->payload();
  return packet;
}

std::expected<Packet, ParseError> parse_v6(base::Bytes ip, std::size_t beyond = 0) {
  const auto view = Ipv6View::parse(ip, beyond);
  if (!view) return std::unexpected(view.error());
  Packet packet;
  packet.source = view->source();
  packet.destination = view->destination();
  packet.protocol = view->protocol();
  packet.hop_limit = view->hop_limit();
  packet.traffic_class = view->traffic_class();
  packet.dont_fragment = true;
  packet.is_fragment = view->is_fragment();
  packet.more_fragments = view->more_fragments();
  packet.fragment_header = view->has_fragment_header();
  packet.fragment_offset = view->fragment_offset();
  packet.fragment_id = view->fragment_id();
  packet.l4_offset = static_cast<std::uint16_t>(EthernetView::kHeader + view->payload_offset());
  packet.ip = view->packet();
  packet.l4 = view->payload();
  return packet;
}

bool sums_up(const Packet& packet, base::Bytes l4, bool pseudo_header) {
  ChecksumSum sum;
  if (pseudo_header)
    sum.add_pseudo_header(packet.source, packet.destination, static_cast<std::uint8_t>(packet.protocol),
                          static_cast<std::uint32_t>(l4.size()));
  sum.add(l4);
  return sum.is_valid();
}

std::expected<void, ParseError> verify_udp(const Packet& packet) {
  if (packet.l4.size() < UdpView::kHeader) return std::unexpected(ParseError::kUdpTruncated);
  const std::size_t length = udp_layout::Length::get(packet.l4);
  if (length < UdpView::kHeader) return std::unexpected(ParseError::kUdpLength);
  if (length > packet.l4.size()) return std::unexpected(ParseError::kUdpLengthLong);
  if (udp_layout::Checksum::get(packet.l4) == 0) {
    // RFC 768: none was made. RFC 8200 section 8.1: not allowed.
    if (packet.source.is_v6()) return std::unexpected(ParseError::kUdpChecksumMissing);
    return {};
  }
  if (!sums_up(packet, packet.l4.first(length), true)) return std::unexpected(ParseError::kUdpChecksum);
  return {};
}

}  // namespace

std::expected<void, ParseError> verify_l4_checksum(const Packet& packet) {
  if (packet.is_fragment) return {};
  switch (packet.protocol) {
    case IpProtocol::kTcp:
      if (!sums_up(packet, packet.l4, true)) return std::unexpected(ParseError::kTcpChecksum);
      return {};
    case IpProtocol::kUdp: return verify_udp(packet);
    case IpProtocol::kIcmp:
    case IpProtocol::kIcmpv6:
      if (packet.l4.size() < 8) return std::unexpected(ParseError::kIcmpTruncated);
      if (!sums_up(packet, packet.l4, packet.protocol == IpProtocol::kIcmpv6))
        return std::unexpected(ParseError::kIcmpChecksum);
      return {};
    case IpProtocol::kHopByHop:
    case IpProtocol::kRouting:
    case IpProtocol::kFragment:
    case IpProtocol::kNoNextHeader:
    case IpProtocol::kDestinationOptions: break;
  }
  return {};
}

std::expected<Packet, ParseError> parse_packet(base::Bytes ip, EtherType type, ChecksumPolicy policy) {
  if (type != EtherType::kIpv4 && type != EtherType::kIpv6)
    return std::unexpected(ParseError::kEthernetUnknownType);
  auto packet = type == EtherType::kIpv4 ? parse_v4(ip) : parse_v6(ip);
  if (!packet || policy == ChecksumPolicy::kSkipL4) return packet;
  if (const auto ok = verify_l4_checksum(*packet); !ok) return std::unexpected(ok.error());
  return packet;
}

std::optional<Packet> parse_tcp_start(base::Bytes ip, EtherType type, std::span<const iovec> tail,
                                      std::size_t tail_size) {
  if (type != EtherType::kIpv4 && type != EtherType::kIpv6) return std::nullopt;
  auto packet = type == EtherType::kIpv4 ? parse_v4(ip, tail_size) : parse_v6(ip, tail_size);
  if (!packet || packet->protocol != IpProtocol::kTcp || packet->is_fragment || !TcpView::parse(packet->l4))
    return std::nullopt;
  // All of the tail and nothing more: no padding, and no second opinion about where the packet ends.
  const std::size_t whole = type == EtherType::kIpv4
                                ? ipv4_layout::TotalLength::get(ip)
                                : Ipv6View::kHeader + ipv6_layout::PayloadLength::get(ip);
  if (whole != ip.size() + tail_size) return std::nullopt;
  packet->tail = tail;
  packet->tail_size = tail_size;
  return *packet;
}

}  // namespace cordon::wire
