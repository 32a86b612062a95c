#include "core/lan/neighbour_query.h"

#include <algorithm>

#include "core/wire/arp.h"
#include "core/wire/ethernet.h"
#include "core/wire/frame_builder.h"
#include "core/wire/ndp.h"

namespace cordon::lan {
namespace {

constexpr std::size_t kMinFrame = 60;  // without FCS (IEEE 802.3)

std::size_t put_arp_request(const LanConfig& config, ReplyBuffer out) {
  std::fill_n(out.begin(), kMinFrame, std::byte{0});
  wire::put_ethernet(out, net::MacAddress::broadcast(), config.our_mac, wire::EtherType::kArp);
  wire::put_arp(out.subspan(wire::EthernetView::kHeader), {.operation = wire::ArpOperation::kRequest,
                                                           .sender_mac = config.our_mac,
                                                           .sender_ip = config.v4->gateway.v4(),
                                                           .target_mac = {},
                                                           .target_ip = config.v4->guest.v4()});
  return kMinFrame;
}

// RFC 4291 section 2.7.1, RFC 2464 section 7.
std::size_t put_solicitation(const LanConfig& config, ReplyBuffer out) {
  const net::Ipv6Address target = config.v6->guest.v6();
  const auto last = target.bytes();
  const net::Ipv6Address group{
      {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, last[13], last[14], last[15]}};
  const net::MacAddress group_mac{{0x33, 0x33, 0xff, last[13], last[14], last[15]}};
  const net::Ipv6Address ours = config.our_link_local;
  const wire::FrameTemplate frame({config.our_mac, group_mac, {ours, {}}, {group, {}}},
                                  wire::IpProtocol::kIcmpv6, 255);
  const std::size_t start = frame.put_network(out.first<wire::kMaxHeaders>(), wire::kSolicitationSize);
  wire::put_solicitation(out.subspan(start), ours, group, target, config.our_mac);
  return start + wire::kSolicitationSize;
}

}  // namespace

std::size_t put_neighbour_query(const LanConfig& config, net::Family family, ReplyBuffer out) {
  if (family == net::Family::kIpv4) return config.v4 ? put_arp_request(config, out) : 0;
  return config.v6 && config.services.neighbours ? put_solicitation(config, out) : 0;
}

}  // namespace cordon::lan
