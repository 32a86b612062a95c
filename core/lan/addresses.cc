#include "core/lan/addresses.h"

#include <algorithm>

#include "core/net/port.h"
#include "core/wire/packet.h"
#include "core/wire/udp.h"

namespace cordon::lan {
namespace {

// fe80::/64: what RFC 4291 section 2.5.6 defines; the rest of fe80::/10 has no use.
bool in_link_local_64(const net::IpAddress& address) {
  if (address.is_v4()) return false;
  const auto bytes = address.bytes();
  if (bytes[0] != 0xfe || bytes[1] != 0x80) return false;
  for (std::size_t i = 2; i < 8; ++i)
    if (bytes[i] != 0) return false;
  return true;
}

// ff02::/16 with no flags
bool is_link_scope_group(const net::IpAddress& address) {
  return address.is_v6() && address.bytes()[0] == 0xff && address.bytes()[1] == 0x02;
}

const std::optional<LanAddresses>& of_family(const LanConfig& config, net::Family family) {
  return family == net::Family::kIpv4 ? config.v4 : config.v6;
}

bool is_dhcp_request(const LanConfig& config, const wire::Packet& packet) {
  if (packet.protocol != wire::IpProtocol::kUdp || packet.is_fragment || packet.source.is_v6()) return false;
  if (packet.destination != net::IpAddress{net::Ipv4Address{255, 255, 255, 255}} &&
      !is_local(config, packet.destination))
    return false;
  const auto udp = wire::UdpView::parse(packet.l4);
  return udp && udp->source_port() == net::Port{68} && udp->destination_port() == net::Port{67};
}

bool may_be_unspecified(const LanConfig& config, const wire::Packet& packet) {
  if (packet.source.is_v4()) return is_dhcp_request(config, packet);
  return packet.protocol == wire::IpProtocol::kIcmpv6 && is_link_scope_group(packet.destination);
}

}  // namespace

bool is_guest_mac(const LanConfig& config, net::MacAddress mac) {
  return mac == config.guest_mac && mac != net::MacAddress{};
}

bool is_local(const LanConfig& config, const net::IpAddress& address) {
  if (const auto& lan = of_family(config, address.family()); lan) {
    if (address == lan->gateway || address == lan->dns) return true;
    if (address.is_v6() && address == net::IpAddress{config.our_link_local}) return true;
  }
  for (const auto& more : config.more_local)
    if (more == address) return true;
  return false;
}

bool is_answered(const LanConfig& config, const net::IpAddress& address) {
  if (is_local(config, address)) return true;
  return config.stands_in && !is_assigned(config, address) && !net::is_unspecified(address) &&
         !net::is_multicast(address) && !in_link_local_64(address);
}

std::span<const std::optional<net::IpAddress>> name_servers(const LanAddresses& lan) {
  if (lan.name_servers) return *lan.name_servers;
  return {&lan.dns, 1};
}

bool is_dns(const LanConfig& config, const net::IpAddress& address) {
  const auto& lan = of_family(config, address.family());
  return lan && lan->dns == address;
}

bool is_assigned(const LanConfig& config, const net::IpAddress& address) {
  const auto& lan = of_family(config, address.family());
  if (!lan) return false;
  return address == lan->guest || std::ranges::find(lan->more_guest, address) != lan->more_guest.end();
}

bool is_self_made(const LanConfig& config, const net::IpAddress& address) {
  if (!config.services.slaac || !config.v6 || config.v6->on_link.length() != 64) return false;
  return config.v6->on_link.contains(address) && address != config.v6->on_link.address() &&
         !is_local(config, address);
}

bool is_for_us(const LanConfig& config, net::MacAddress destination) {
  return destination == config.our_mac || destination.is_group();
}

std::string_view name(SourceCheck check) {
  switch (check) {
    case SourceCheck::kAssigned: return "assigned";
    case SourceCheck::kSelfMade: return "self_made";
    case SourceCheck::kTooManyAddresses: return "too_many_addresses";
    case SourceCheck::kForeignMac: return "foreign_mac";
    case SourceCheck::kForeignAddress: return "foreign_address";
    case SourceCheck::kUnspecified: return "unspecified_source";
    case SourceCheck::kLinkLocalOffLink: return "link_local_off_link";
    case SourceCheck::kFamilyNotAssigned: return "family_not_assigned";
  }
  return "unknown";
}

SourceCheck check_source(const LanConfig& config, net::MacAddress source_mac, const wire::Packet& packet) {
  if (!is_guest_mac(config, source_mac)) return SourceCheck::kForeignMac;
  const auto& lan = of_family(config, packet.source.family());
  if (!lan) return SourceCheck::kFamilyNotAssigned;
  if (is_assigned(config, packet.source)) return SourceCheck::kAssigned;
  if (net::is_unspecified(packet.source))
    return may_be_unspecified(config, packet) ? SourceCheck::kAssigned : SourceCheck::kUnspecified;
  if (is_self_made(config, packet.source)) return SourceCheck::kSelfMade;
  // Our own link-local address is nobody else's, whatever the destination.
  if (!in_link_local_64(packet.source) || packet.source == net::IpAddress{config.our_link_local})
    return SourceCheck::kForeignAddress;
  const bool on_link = in_link_local_64(packet.destination) || is_link_scope_group(packet.destination) ||
                       is_local(config, packet.destination);
  return on_link ? SourceCheck::kAssigned : SourceCheck::kLinkLocalOffLink;
}

}  // namespace cordon::lan
