// Who is who on the guest's link: LanConfig, and the rule which source addresses are the guest's own.
//
// The link has two ends. Ours answers for the gateway, the DNS forwarder and a link-local address, all with
// one MAC; the guest's has the assigned addresses: the plan's, which DHCP and DHCPv6 lease, and, where SLAAC
// is offered, any other one of its own /64 (slaac_table.h keeps them few). Nothing else is learnt from
// frames.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/lan/services.h"
#include "core/net/ip_address.h"
#include "core/net/mac_address.h"
#include "core/net/prefix.h"

namespace cordon::wire {
struct Packet;
}

namespace cordon::lan {

inline constexpr std::size_t kMoreAddresses = 15;  // of one family, beside the first
inline constexpr std::size_t kNameServers = 3;     // of one family, that the guest is told

// One family's addresses; all of that family.
struct LanAddresses {
  net::IpAddress guest;               // assigned; the one DHCP offers
  net::Prefix on_link;                // the guest's subnet
  net::IpAddress gateway;             // in the subnet or not; for IPv6 it may be our link-local address
  std::optional<net::IpAddress> dns;  // our forwarder
  // What the guest is told instead of `dns`; all empty: nothing.
  std::optional<std::array<std::optional<net::IpAddress>, kNameServers>> name_servers{};
  std::array<std::optional<net::IpAddress>, kMoreAddresses> more_guest{};  // assigned as well
};

// A plain value.
struct LanConfig {
  net::MacAddress guest_mac;  // zero: not known yet (guest_mac.h)
  net::MacAddress our_mac;
  std::optional<LanAddresses> v4;  // nullopt: the guest has no such family
  std::optional<LanAddresses> v6;
  net::Ipv6Address our_link_local;  // of fe80::/64; used when v6 is set
  std::uint16_t mtu = 65520;
  bool announce_mtu = true;                                   // by DHCP and router advertisements
  std::array<std::optional<net::IpAddress>, 4> more_local{};  // further addresses we answer ARP and NDP for
  // The guest's prefix is one of the host's: its neighbours on that link are reached through us.
  bool stands_in = false;
  Services services;
};

// Never true while the guest's MAC is not known.
[[nodiscard]] bool is_guest_mac(const LanConfig& config, net::MacAddress mac);
// We answer for it on the link: gateway, DNS, our link-local, more_local.
[[nodiscard]] bool is_local(const LanConfig& config, const net::IpAddress& address);
// Asked for by ARP or NDP, we say that it is at our MAC: is_local(), and when we stand in for the neighbours
// everything but the guest's own.
[[nodiscard]] bool is_answered(const LanConfig& config, const net::IpAddress& address);
// The guest's DNS forwarder address.
[[nodiscard]] bool is_dns(const LanConfig& config, const net::IpAddress& address);
// What the guest is told to ask, at most kNameServers.
[[nodiscard]] std::span<const std::optional<net::IpAddress>> name_servers(const LanAddresses& lan);
// Destination MAC: ours or a group. Other unicast frames are not for us and are dropped.
[[nodiscard]] bool is_for_us(const LanConfig& config, net::MacAddress destination);

// One of the plan's addresses of the guest.
[[nodiscard]] bool is_assigned(const LanConfig& config, const net::IpAddress& address);
// An address the guest may make itself: of its /64, when SLAAC is offered; not ours, not the subnet-router
// anycast address.
[[nodiscard]] bool is_self_made(const LanConfig& config, const net::IpAddress& address);

enum class SourceCheck : std::uint8_t {
  kAssigned,
  kSelfMade,           // is_self_made(): assigned when slaac_table.h has room for it
  kTooManyAddresses,   // it has none
  kForeignMac,         // not the guest's MAC
  kForeignAddress,     // not an assigned address: spoofed
  kUnspecified,        // 0.0.0.0 or :: outside DHCP, DAD, RS and MLD
  kLinkLocalOffLink,   // a link-local source towards a destination that is not on the link
  kFamilyNotAssigned,  // the guest has no address of this family
};
// "foreign_mac" ...
[[nodiscard]] std::string_view name(SourceCheck check);

// Every IP packet passes here before anything else looks at it. Accepted:
//  - the assigned addresses of the family;
//  - kSelfMade: an address the guest made itself; the caller has it counted (SourceGuard does both);
//  - 0.0.0.0 for a DHCP request (UDP 68 -> 67 to the broadcast or our address);
//  - :: for ICMPv6 to a link-scope multicast group (DAD, router solicitation, MLD);
//  - any address of fe80::/64 towards link-local, link-scope multicast and our own addresses.
[[nodiscard]] SourceCheck check_source(const LanConfig& config, net::MacAddress source_mac,
                                       const wire::Packet& packet);

}  // namespace cordon::lan
