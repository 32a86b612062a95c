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

// Who may ask: the guest's address, an unspecified one (probe, DAD) and, for IPv6, a link-local one.
// check_source() has ruled out the rest for IPv6 already; ARP's sender field is only seen here.
bool arp_sender_is_guest(const LanConfig& config, const wire::ArpView& arp) {
  const net::IpAddress sender = arp.sender_ip();
  if (arp.sender_mac() != config.guest_mac) return false;
  return net::is_unspecified(sender) || (config.v4 && sender == config.v4->guest);
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
  const std::size_t start = frame.put_network(out, wire::kAdvertisementSize);
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
  }
  return "unknown";
}

Answer Responder::on_arp(const wire::EthernetView& frame, base::Instant now, ReplyBuffer out) {
  const auto arp = wire::ArpView::parse(frame.payload());
  if (!arp) return malformed(arp.error());
  if (!arp_sender_is_guest(config_, *arp)) return {Outcome::kForeignSender, {}, 0};
  if (arp->operation() == wire::ArpOperation::kReply) return {Outcome::kNothingToSay, {}, 0};
  if (!is_local(config_, arp->target_ip())) return {Outcome::kNotForUs, {}, 0};
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
  switch (ndp->type()) {
    case wire::NdpType::kRouterAdvertisement:
    case wire::NdpType::kRedirect: return {Outcome::kRouterMessage, {}, 0};
    case wire::NdpType::kRouterSolicitation: return {Outcome::kNothingToSay, {}, 0};
    case wire::NdpType::kNeighbourAdvertisement:
      // An advertisement for one of our addresses wants to take it over; nothing is learnt, so it only gets
      // counted.
      return {is_local(config_, ndp->target()) ? Outcome::kForeignSender : Outcome::kNothingToSay, {}, 0};
    case wire::NdpType::kNeighbourSolicitation: break;
  }
  if (ndp->source_mac() && *ndp->source_mac() != source_mac) return {Outcome::kForeignSender, {}, 0};
  if (net::is_multicast(packet.source)) return {Outcome::kForeignSender, {}, 0};
  if (!is_local(config_, ndp->target())) return {Outcome::kNotForUs, {}, 0};
  if (!replies_.take(now)) return {Outcome::kRateLimited, {}, 0};
  return {Outcome::kReply, {}, write_advertisement(config_, source_mac, packet, ndp->target(), out)};
}

bool is_neighbour_discovery(const wire::Packet& packet) {
  if (packet.protocol != wire::IpProtocol::kIcmpv6 || packet.is_fragment || packet.l4.empty()) return false;
  const std::uint8_t type = wire::icmp_layout::Type::get(packet.l4);
  return type >= wire::icmp6_type::kRouterSolicitation && type <= wire::icmp6_type::kRedirect;
}

}  // namespace cordon::lan
