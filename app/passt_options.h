// passt's command line, parsed into a value: what was asked for, each option in its own type.
//
// Which clients write which lines, and what they expect, is the subject of tests/app/passt_options_test.cc.
// Pure: no file, no environment, no clock. What the values mean for us is passt_translate.h's business.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/options.h"

namespace cordon::app {

// Of each family one value.
struct PasstPerFamily {
  std::optional<net::IpAddress> ipv4;
  std::optional<net::IpAddress> ipv6;
  [[nodiscard]] const std::optional<net::IpAddress>& of(net::Family family) const {
    return family == net::Family::kIpv4 ? ipv4 : ipv6;
  }
  std::optional<net::IpAddress>& of(net::Family family) { return family == net::Family::kIpv4 ? ipv4 : ipv6; }
  [[nodiscard]] bool empty() const { return !ipv4 && !ipv6; }
};

struct PasstCommand {
  enum class Action : std::uint8_t { kServe, kHelp, kVersion, kCapabilities };
  Action action = Action::kServe;

  // The process.
  bool foreground = false;
  bool one_off = false;
  std::optional<int> fd;
  std::string socket;  // "": the first free of its usual names
  std::string pid_file, log_file, pcap, runas;
  std::uint64_t log_size = 1024 * 1024;
  Verbosity verbosity = Verbosity::kNormal;
  bool vhost_user = false;
  std::vector<std::string> warnings;  // of options that do nothing here

  // Addresses.
  bool ipv4 = true;
  bool ipv6 = true;
  PasstPerFamily address, gateway, outbound;
  std::optional<unsigned> length;  // of the IPv4 prefix, by --address or --netmask
  std::string interface, outbound_if4, outbound_if6;
  std::optional<std::uint16_t> mtu;  // 0: not announced
  std::optional<net::MacAddress> mac;

  // Names.
  bool no_dns = false;
  std::vector<net::IpAddress> dns;  // told to the guest
  PasstPerFamily dns_forward, dns_host;
  bool no_search = false;
  std::vector<std::string> search;
  bool no_dhcp_dns = false;
  bool no_dhcp_search = false;
  std::string hostname, fqdn;

  // What is carried.
  bool no_tcp = false;
  bool no_udp = false;
  bool no_icmp = false;
  bool no_dhcp = false;
  bool no_dhcpv6 = false;
  bool no_ndp = false;
  bool no_ra = false;
  bool freebind = false;
  bool no_map_gateway = false;
  PasstPerFamily map_host_loopback, map_guest;
  std::vector<std::string> tcp_ports, udp_ports;

  // Ours.
  bool no_map_host = false;
  std::vector<std::string> policy;
  std::string audit_log, name, control;
  std::vector<std::string> further;  // cordon's own, as they are
};

// `arguments`: without the program's name. The error is one line without the program's name.
[[nodiscard]] std::expected<PasstCommand, UsageError> parse_passt(std::span<const std::string> arguments);

[[nodiscard]] std::string passt_help();

}  // namespace cordon::app
