#include "core/lan/responder.h"

#include <algorithm>

#include "core/wire/arp.h"
#include "core/wire/frame_builder.h"
#include "core/wire/icmp.h"
#include "core/wire/ndp.h"

namespace cordon::lan {
namespace {

constexpr net::Ipv6Address kAllNodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
constexpr std::size_t kMinFrame = 60;  // without FCS (IEEE 802.3)

Answer malformed(wire::ParseError error) { return {Outcome::kMalformed, error, 0}; }

bool is_router(const LanConfig& config, const net::IpAddress& target) {
  return target == net::IpAddress{config.our_link_local} || (config.v6 && target == config.v6->gateway);
}

// Who may ask: the guest's addresses, an unspecified one (probe, DAD) and, for IPv6, a link-local one.
// check_source() has ruled out the rest for IPv6 already; ARP's sender field is only seen here.
bool arp_sender_is_guest(const LanConfig& config, const wire::ArpView& arp) {
  const net::IpAddress sender = arp.sender_ip();
  if (!is_guest_mac(config, arp.sender_mac())) return false;
  return net::is_unspecified(sender) || is_assigned(config, sender);
}

std::size_t write_advertisement(const LanConfig& config, net::MacAddress source_mac,
                                const wire::Packet& packet, net::Ipv6Address target, ReplyBuffer out) {
  const bool probe = net::is_unspecified(packet.source);
  // DAD is answered to all nodes (RFC 4861 section 7.2.4); a group address has its own MAC (RFC 2464 section
  // 7).
  const net::Ipv6Address destination = probe ? kAllNodes : packet.source.v6();
  const net::MacAddress destination_mac = probe ? net::MacAddress{{0x33, 0x33, 0, 0, 0, 1}} : source_mac;
  const wire::FrameTemplate frame({config.our_mac, destination_mac, {target, {}}, {destination, {}}},
                                  wire::IpProtocol::kIcmpv6, 255);
  const std::size_t start = frame.put_network(out.first<wire::kMaxHeaders>(), wire::kAdvertisementSize);
  wire::put_advertisement(out.subspan(start), target, destination,
                          {.target = target,
                           .target_mac = config.our_mac,
                           .router = is_router(config, target),
                           .solicited = !probe});
  return start + wire::kAdvertisementSize;
}

}  // namespace

std::string_view name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kReply: return "reply";
    case Outcome::kNotForUs: return "not_for_us";
    case Outcome::kNothingToSay: return "nothing_to_say";
    case Outcome::kMalformed: return "malformed";
    case Outcome::kRateLimited: return "rate_limited";
    case Outcome::kForeignSender: return "foreign_sender";
    case Outcome::kRouterMessage: return "router_message";
    case Outcome::kRelayed: return "relayed";
  }
  return "unknown";
}

Responder::Responder(const LanConfig& config, std::uint64_t seed)
    : config_(config), advertiser_(config_, seed) {
  if (config_.services.dhcp && config_.v4) dhcp_.emplace(config_);
  if (config_.services.dhcpv6 && config_.v6) dhcpv6_.emplace(config_);
}

Answer Responder::on_arp(const wire::EthernetView& frame, base::Instant now, ReplyBuffer out) {
  const auto arp = wire::ArpView::parse(frame.payload());
  if (!arp) return malformed(arp.error());
  if (!arp_sender_is_guest(config_, *arp))
    return {Outcome::kForeignSender, {}, 0, net::IpAddress{arp->sender_ip()}};
  if (arp->operation() == wire::ArpOperation::kReply) return {Outcome::kNothingToSay, {}, 0};
  if (!is_answered(config_, arp->target_ip())) return {Outcome::kNotForUs, {}, 0};
  if (!replies_.take(now)) return {Outcome::kRateLimited, {}, 0};

  // Every byte up to the minimum frame is written: padding must not carry old memory.
  std::fill_n(out.begin(), kMinFrame, std::byte{0});
  wire::put_ethernet(out, frame.source(), config_.our_mac, wire::EtherType::kArp);
  wire::put_arp(out.subspan(wire::EthernetView::kHeader), {.operation = wire::ArpOperation::kReply,
                                                           .sender_mac = config_.our_mac,
                                                           .sender_ip = arp->target_ip(),
                                                           .target_mac = arp->sender_mac(),
                                                           .target_ip = arp->sender_ip()});
  return {Outcome::kReply, {}, kMinFrame};
}

Answer Responder::on_ndp(net::MacAddress source_mac, const wire::Packet& packet, base::Instant now,
                         ReplyBuffer out) {
  const auto ndp = wire::NdpView::parse(packet);
  if (!ndp) return malformed(ndp.error());
  if (ndp->source_mac() && *ndp->source_mac() != source_mac)
    return {Outcome::kForeignSender, {}, 0, packet.source};
  switch (ndp->type()) {
    case wire::NdpType::kRouterAdvertisement:
    case wire::NdpType::kRedirect: return {Outcome::kRouterMessage, {}, 0, packet.source};
    case wire::NdpType::kRouterSolicitation: return advertiser_.on_solicitation(source_mac, packet, now, out);
    case wire::NdpType::kNeighbourAdvertisement:
      // An advertisement for one of our addresses wants to take it over; nothing is learnt, so it is only
      // counted and recorded.
      if (is_local(config_, ndp->target()))
        return {Outcome::kForeignSender, {}, 0, net::IpAddress{ndp->target()}};
      return {Outcome::kNothingToSay, {}, 0};
    case wire::NdpType::kNeighbourSolicitation: break;
  }
  return on_solicitation(source_mac, packet, ndp->target(), now, out);
}

Answer Responder::on_solicitation(net::MacAddress source_mac, const wire::Packet& packet,
                                  net::Ipv6Address target, base::Instant now, ReplyBuffer out) {
  if (net::is_multicast(packet.source)) return {Outcome::kForeignSender, {}, 0, packet.source};
  // An address the guest wants to make its own (RFC 4862 section 5.4) is no question about a neighbour.
  const bool answered =
      net::is_unspecified(packet.source) ? is_local(config_, target) : is_answered(config_, target);
  if (!config_.services.neighbours || !answered) return {Outcome::kNotForUs, {}, 0};
  if (!replies_.take(now)) return {Outcome::kRateLimited, {}, 0};
  return {Outcome::kReply, {}, write_advertisement(config_, source_mac, packet, target, out)};
}

std::optional<Answer> Responder::on_server(const wire::Packet& packet, base::Instant now, ReplyBuffer out) {
  constexpr net::Port kDhcp{67};
  constexpr net::Port kDhcpv6{547};
  constexpr net::IpAddress kEverybody{net::Ipv4Address{255, 255, 255, 255}};
  constexpr net::IpAddress kServers{net::Ipv6Address{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2}}};
  const bool v4 = packet.source.is_v4();
  if (v4 ? !dhcp_.has_value() : !dhcpv6_.has_value()) return std::nullopt;
  if (packet.destination != (v4 ? kEverybody : kServers) && !is_local(config_, packet.destination))
    return std::nullopt;
  const auto udp = wire::UdpView::parse(packet.l4);
  if (!udp) return malformed(udp.error());
  if (udp->destination_port() != (v4 ? kDhcp : kDhcpv6)) return std::nullopt;
  if (!leases_.take(now)) return Answer{Outcome::kRateLimited, {}, 0};
  return v4 ? dhcp_->on_message(packet, udp->payload(), out)
            : dhcpv6_->on_message(packet, udp->payload(), out);
}

bool is_neighbour_discovery(const wire::Packet& packet) {
  if (packet.protocol != wire::IpProtocol::kIcmpv6 || packet.is_fragment || packet.l4.empty()) return false;
  const std::uint8_t type = wire::icmp_layout::Type::get(packet.l4);
  return type >= wire::icmp6_type::kRouterSolicitation && type <= wire::icmp6_type::kRedirect;
}

bool is_server_port(const wire::Packet& packet) {
  if (packet.protocol != wire::IpProtocol::kUdp || packet.is_fragment || packet.l4.size() < 4) return false;
  const std::uint16_t port = wire::udp_layout::DestinationPort::get(packet.l4);
  return port == 67 || port == 547;
}

}  // namespace cordon::lan
