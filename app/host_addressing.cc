#include "app/host_addressing.h"

#include <net/if.h>

#include <algorithm>

#include "core/net/prefix.h"

namespace cordon::app {
namespace {

constexpr std::string_view kOption = "--host-addressing";

// The values of --dns among our own arguments.
bool has_dns(const std::vector<std::string>& own, net::Family family) {
  for (std::size_t i = 0; i < own.size(); ++i) {
    std::string_view text = own[i];
    if (text == "--dns" && i + 1 < own.size())
      text = own[i + 1];
    else if (text.starts_with("--dns="))
      text.remove_prefix(6);
    else
      continue;
    if (const auto address = net::parse_ip(text); address && address->family() == family) return true;
  }
  return false;
}

void add_family(const netlink::DefaultInterface& host, bool dns, std::vector<std::string>& out) {
  // A route without gateway: the link carries everything, so any neighbour will do; ours is next to the
  // guest.
  const unsigned bits = host.address.bit_count();
  const auto prefix = net::Prefix::containing(host.address, host.prefix_length);
  const bool inside = !host.gateway || prefix.contains(*host.gateway) || net::is_link_local(*host.gateway);
  unsigned length = inside ? host.prefix_length : bits;
  if (!host.gateway) length = std::min(length, bits - 2);
  out.push_back("--address=" + net::to_string(host.address) + "/" + std::to_string(length));
  if (!host.gateway) return;
  out.push_back("--gateway=" + net::to_string(*host.gateway));
  // The third address of the prefix may be a neighbour's; the gateway's is ours anyway.
  if (!dns && !net::is_link_local(*host.gateway)) out.push_back("--dns=" + net::to_string(*host.gateway));
}

}  // namespace

base::Result<HostAddresses> find_host_addresses(const std::string& interface) {
  HostAddresses host;
  std::uint32_t index = 0;
  if (!interface.empty()) {
    index = ::if_nametoindex(interface.c_str());
    if (index == 0) return host;
  }
  host.ipv4 = CORDON_TRY(netlink::find_default_interface(net::Family::kIpv4, index));
  // A kernel without IPv6 has nothing to tell.
  if (auto ipv6 = netlink::find_default_interface(net::Family::kIpv6, index)) host.ipv6 = *ipv6;
  return host;
}

std::expected<std::vector<std::string>, UsageError> with_host_addresses(
    const std::vector<std::string>& arguments, const HostAddresses& host) {
  const auto dashes = std::ranges::find(arguments, "--");
  std::vector<std::string> own{arguments.begin(), dashes};
  const auto off = [&](const char* option) { return std::ranges::find(own, option) != own.end(); };
  const bool want4 = !off("--no-ipv4");
  const bool want6 = !off("--no-ipv6");
  if (!(want4 && host.ipv4) && !(want6 && host.ipv6))
    return std::unexpected(UsageError{"--host-addressing: this machine has no default route with an address" +
                                      std::string{want4 && want6 ? ""
                                                  : want4        ? " for IPv4"
                                                                 : " for IPv6"} +
                                      "; give --address, or leave the option out for private addresses"});
  const bool dns4 = has_dns(own, net::Family::kIpv4);
  const bool dns6 = has_dns(own, net::Family::kIpv6);
  std::erase(own, kOption);
  if (want4 && host.ipv4) add_family(*host.ipv4, dns4, own);
  if (want6 && host.ipv6) add_family(*host.ipv6, dns6, own);
  if (want4 && !host.ipv4) own.emplace_back("--no-ipv4");
  if (want6 && !host.ipv6) own.emplace_back("--no-ipv6");
  own.insert(own.end(), dashes, arguments.end());
  return own;
}

}  // namespace cordon::app
