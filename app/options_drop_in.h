// Options by which a front end that plays another program (passt_translate.h) says where that program's
// behaviour differs from cordon's own. They are no secret, but nobody needs to type them: --help leaves them
// out.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "app/options.h"

namespace cordon::app {

// Text as typed.
struct RawDropIn {
  std::string default_policy, our_mac, pcap;
  std::vector<std::string> map, name_servers, resolvers, outbound, outbound_interfaces;
  bool no_map_host = false;
  bool no_tcp = false;
  bool no_udp = false;
  bool no_icmp = false;
  bool no_name_servers = false;
  bool no_announce_mtu = false;
  bool freebind = false;

  // As LanOptions::declare().
  template <class List, class Text, class Flag>
  void declare(List list, Text text, Flag flag) {
    text("--default-policy", default_policy);
    text("--our-mac", our_mac);
    text("--pcap", pcap);
    list("--map", map);
    list("--name-server", name_servers);
    list("--resolver", resolvers);
    list("--outbound", outbound);
    list("--outbound-if", outbound_interfaces);
    flag("--no-map-host", no_map_host);
    flag("--no-tcp", no_tcp);
    flag("--no-udp", no_udp);
    flag("--no-icmp", no_icmp);
    flag("--no-name-servers", no_name_servers);
    flag("--no-announce-mtu", no_announce_mtu);
    flag("--freebind", freebind);
  }
  // The guest takes addresses as another program gives them: a gateway outside of its prefix, link-local
  // IPv4.
  [[nodiscard]] bool lenient() const { return !default_policy.empty(); }
  [[nodiscard]] static std::expected<PolicyChoice, UsageError> choice(const RawDropIn& raw);
  // --map, which `cordon policy explain` has as well.
  [[nodiscard]] std::expected<void, UsageError> fill_map(AddressMap& out) const;
  // Changes the plan of `options.guest`, which LanOptions made of the same command line with `dns`.
  [[nodiscard]] std::expected<void, UsageError> apply(const std::vector<std::string>& dns,
                                                      RunOptions& options) const;
};

}  // namespace cordon::app
