// What our end of the guest's link offers beside ARP: neighbour discovery, DHCP, DHCPv6, router
// advertisements. Plain values out of the command line; strings live here only until a server has made its
// options of them.
//
// There is one guest on the link and its addresses are the plan's, so a lease is a fact of the configuration:
// no lease is stored, none can run out, and a translator that was restarted gives the same answers. A lease
// is bound to the guest's MAC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/net/domain_name.h"

namespace cordon::lan {

struct Services {
  bool neighbours = true;    // answer neighbour solicitations (NDP without its router part)
  bool dhcp = false;         // DHCPv4
  bool dhcpv6 = false;       // DHCPv6; router advertisements then say so (M and O flags)
  bool router = false;       // answer router solicitations
  bool unsolicited = false;  // and advertise without being asked, every 200 to 600 s
  bool slaac = false;        // let the guest make addresses of its /64 (A flag); needs a /64
  std::uint32_t lease_seconds = 86400;
  std::vector<net::DomainName> search;
  std::optional<net::DomainName> hostname;
  std::optional<net::DomainName> fqdn;
};

}  // namespace cordon::lan
