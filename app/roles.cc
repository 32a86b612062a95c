#include "app/roles.h"

#include <algorithm>

namespace cordon::app {
namespace {

// Our own link-local address on the guest's link; any will do that is not the guest's, whose ends in ff:fe
// (EUI-64).
constexpr net::Ipv6Address kLinkLocal{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0x2d, 0, 0x02}};

std::optional<lan::LanAddresses> lan_addresses(const GuestPlan& guest,
                                               const std::optional<FamilyPlan>& plan) {
  if (!plan) return std::nullopt;
  lan::LanAddresses addresses{.guest = plan->address,
                              .on_link = net::Prefix::containing(plan->address, plan->prefix_length),
                              .gateway = plan->gateway,
                              .dns = plan->dns,
                              .name_servers = {}};
  if (guest.name_servers) {
    auto& told = addresses.name_servers.emplace();
    for (std::size_t n = 0; const net::IpAddress& server : *guest.name_servers)
      if (server.family() == plan->address.family() && n < told.size()) told.at(n++) = server;
  }
  for (std::size_t i = 0; i < plan->more.size(); ++i) addresses.more_guest.at(i) = plan->more[i].address;
  return addresses;
}

}  // namespace

sandbox::TranslatorConfig translator_config(const RunOptions& options) {
  sandbox::TranslatorConfig config;
  lan::LanConfig& lan = config.worker.lan;
  lan.guest_mac = options.guest.mac;
  config.learn_guest_mac = options.guest.learn_mac;
  if (options.vm) {
    config.link = options.vm->protocol == VmOptions::Protocol::kVhostUser ? sandbox::LinkKind::kVhostUser
                                                                          : sandbox::LinkKind::kStream;
    config.vhost_front_end = options.vm->front_end;
  }
  lan.our_mac = options.guest.gateway_mac;
  lan.v4 = lan_addresses(options.guest, options.guest.ipv4);
  lan.v6 = lan_addresses(options.guest, options.guest.ipv6);
  lan.our_link_local = kLinkLocal;
  // A gateway that is known by its link-local address only (what routers announce): then that is ours.
  if (lan.v6 && net::is_link_local(lan.v6->gateway)) lan.our_link_local = lan.v6->gateway.v6();
  lan.services = options.guest.services;
  lan.mtu = options.guest.mtu;
  lan.stands_in = options.guest.map.real_gateway;
  lan.announce_mtu = options.guest.announce_mtu;
  plane::Limits& limits = config.worker.limits;
  limits.flows = options.max_flows;
  limits.stash_bytes = std::max(limits.stash_bytes, limits.flows * plane::kStashPerFlow);
  limits.udp_flows = std::min(limits.udp_flows, options.max_flows * 3 / 8);
  limits.icmp_flows = std::min(limits.icmp_flows, std::max(1U, options.max_flows / 16));
  config.wanted = {
      .tso = options.features.tso, .uso = options.features.uso, .checksum = options.features.checksum};
  config.capture = !options.pcap.empty();
  config.faults = options.link_faults;
  config.verbose = options.verbosity == Verbosity::kVerbose;
  config.strict = options.isolation == Isolation::kStrict;
  return config;
}

}  // namespace cordon::app
