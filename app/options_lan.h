// The options about the guest's addresses and the services on its link.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "app/options.h"

namespace cordon::app {

// Who gives the guest's interface its addresses.
enum class Configured : std::uint8_t {
  kByOption,  // we do, unless there is --no-config-net
  kByGuest,   // a virtual machine, by DHCP and router advertisements or by what it was told
};

// Text as typed.
struct LanOptions {
  std::vector<std::string> addresses, gateways, dns, search;
  std::string hostname, fqdn, lease_time;
  bool no_ipv4 = false;
  bool no_ipv6 = false;
  bool host_addressing = false;
  bool no_config_net = false;
  bool no_dhcp = false;
  bool no_dhcpv6 = false;
  bool no_ra = false;
  bool no_ndp = false;
  bool lenient = false;  // RawDropIn::lenient()

  // Names them all: list(name, into) may be repeated, of text(name, into) the last counts, flag(name, into).
  template <class List, class Text, class Flag>
  void declare(List list, Text text, Flag flag) {
    list("--address", addresses);
    list("--gateway", gateways);
    list("--dns", dns);
    list("--search", search);
    text("--hostname", hostname);
    text("--fqdn", fqdn);
    text("--lease-time", lease_time);
    flag("--no-ipv4", no_ipv4);
    flag("--no-ipv6", no_ipv6);
    flag("--host-addressing", host_addressing);
    flag("--no-config-net", no_config_net);
    flag("--no-dhcp", no_dhcp);
    flag("--no-dhcpv6", no_dhcpv6);
    flag("--no-ra", no_ra);
    flag("--no-ndp", no_ndp);
  }
  // Families and services; link, MTU and name of the result are left alone.
  [[nodiscard]] std::expected<GuestPlan, UsageError> plan(Configured by = Configured::kByOption) const;
};

}  // namespace cordon::app
