// What the fuzz targets of the link's services share: a guest's link with everything on, packets around the
// fuzzer's bytes, and the demand that whatever we answer is itself a clean frame for the guest.
#pragma once

#include <array>
#include <vector>

#include "core/lan/responder.h"
#include "core/wire/ethernet.h"
#include "core/wire/packet.h"
#include "core/wire/udp.h"
#include "fuzz/input.h"

namespace cordon::fuzz {

inline constexpr net::MacAddress kOurMac{{0x02, 0, 0, 0, 0, 1}};
inline constexpr net::MacAddress kGuestMac{{0x52, 0x54, 0, 0, 0, 2}};
inline constexpr net::Ipv6Address kGuestLinkLocal{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};

constexpr net::Ipv6Address ula(std::uint8_t last) {
  return net::Ipv6Address{{0xfd, 0, 0, 0xc0, 0, 0x2d, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}};
}

// Bits of `variant` choose names, further addresses and a gateway outside of the subnet.
inline lan::LanConfig make_config(unsigned variant) {
  lan::LanConfig config;
  config.guest_mac = kGuestMac;
  config.our_mac = kOurMac;
  config.v4 = lan::LanAddresses{net::Ipv4Address{10, 0, 2, 15},
                                net::Prefix::containing(net::Ipv4Address{10, 0, 2, 0}, 24),
                                net::Ipv4Address{10, 0, 2, 2}, net::Ipv4Address{10, 0, 2, 3}};
  config.v6 = lan::LanAddresses{ula(0x15), net::Prefix::containing(ula(0), 64), ula(2), ula(3)};
  config.our_link_local = net::Ipv6Address{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
  config.services = {.dhcp = true, .dhcpv6 = true, .router = true, .unsolicited = true, .slaac = true};
  if ((variant & 1U) != 0) {
    for (const char* name : {"corp.example", "lab.corp.example", "example", "a-rather-long-label.example"})
      config.services.search.push_back(*net::DomainName::parse(name));
    config.services.hostname = net::DomainName::parse("web");
    config.services.fqdn = net::DomainName::parse("web.corp.example");
  }
  if ((variant & 2U) != 0) config.v6->more_guest = {ula(0x16), ula(0x17), ula(0x18)};
  if ((variant & 4U) != 0) config.v4->gateway = net::Ipv4Address{192, 0, 2, 1};
  return config;
}

inline void require_clean(base::Bytes frame) {
  const auto ethernet = wire::EthernetView::parse(frame);
  require(ethernet.has_value() && ethernet->source() == kOurMac);
  const auto packet =
      wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kVerifyL4);
  require(packet.has_value());
  require(packet->ip.size() + wire::EthernetView::kHeader == frame.size());
}

inline void require_sound(const lan::Answer& answer, lan::ReplyBuffer out) {
  require(answer.length <= out.size());
  require((answer.length != 0) == (answer.outcome == lan::Outcome::kReply));
  require((answer.outcome == lan::Outcome::kMalformed) == answer.error.has_value());
  if (answer.outcome == lan::Outcome::kReply) require_clean(out.first(answer.length));
}

// The fuzzer's bytes as the payload of a datagram to a server; the packet's other parts are right.
inline void ask_server(lan::Responder& responder, const net::IpAddress& source,
                       const net::IpAddress& destination, std::uint16_t port, base::Bytes payload) {
  std::vector<std::byte> udp(wire::UdpView::kHeader + payload.size());
  wire::udp_layout::SourcePort::put(udp, static_cast<std::uint16_t>(port == 67 ? 68 : 546));
  wire::udp_layout::DestinationPort::put(udp, port);
  wire::udp_layout::Length::put(udp, static_cast<std::uint16_t>(udp.size()));
  std::ranges::copy(payload, udp.begin() + wire::UdpView::kHeader);
  wire::Packet packet;
  packet.source = source;
  packet.destination = destination;
  packet.protocol = wire::IpProtocol::kUdp;
  packet.hop_limit = 64;
  packet.l4 = udp;
  std::array<std::byte, lan::kMaxReply> out;
  const auto answer = responder.on_server(packet, {}, out);
  require(answer.has_value());
  require_sound(*answer, out);
}

}  // namespace cordon::fuzz
