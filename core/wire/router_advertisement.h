// Router advertisements (RFC 4861 section 4.2) with the options of RFC 4861 and RFC 8106.
#pragma once

#include <optional>
#include <span>

#include "core/net/domain_name.h"
#include "core/net/ip_address.h"
#include "core/net/mac_address.h"
#include "core/net/prefix.h"
#include "core/wire/option_writer.h"

namespace cordon::wire {

struct RouterAdvertisementFields {
  std::uint8_t hop_limit = 64;
  bool managed = false;               // M: addresses by DHCPv6
  bool other = false;                 // O: other settings by DHCPv6
  std::uint16_t router_lifetime = 0;  // seconds; 0: no default router
  net::MacAddress source_mac;
  std::uint32_t mtu = 0;              // 0: no option
  std::optional<net::Prefix> prefix;  // IPv6; on-link
  bool autonomous = false;            // A: the guest may make addresses of the prefix
  std::uint32_t valid_lifetime = 0;
  std::uint32_t preferred_lifetime = 0;
  std::span<const net::Ipv6Address> dns = {};    // RDNSS; at most three
  std::span<const net::DomainName> search = {};  // DNSSL; names that do not fit are left out
  std::uint32_t dns_lifetime = 0;                // of both
};

// The ICMPv6 message, checksum included; returns its length. `out` has at least kMinRouterAdvertisement.
inline constexpr std::size_t kMinRouterAdvertisement = 128;
std::size_t put_router_advertisement(base::MutableBytes out, net::Ipv6Address source,
                                     net::Ipv6Address destination, const RouterAdvertisementFields& fields);

}  // namespace cordon::wire
