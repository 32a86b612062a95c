#include "app/options_drop_in.h"

#include <algorithm>

#include "app/option_values.h"

namespace cordon::app {
namespace {

using Done = std::expected<void, UsageError>;

constexpr std::size_t kMostServers = 3;  // of a family
constexpr std::size_t kMostPairs = 16;

std::unexpected<UsageError> usage(std::string message) {
  return std::unexpected(UsageError{std::move(message)});
}

std::expected<std::vector<net::IpAddress>, UsageError> addresses(std::string_view option,
                                                                 const std::vector<std::string>& texts) {
  std::vector<net::IpAddress> out;
  for (const auto& text : texts) {
    const auto address = net::parse_ip(text);
    if (!address || net::is_unspecified(*address) || net::is_multicast(*address))
      return usage(std::string{option} + " " + text + ": give an IP address");
    out.push_back(*address);
  }
  return out;
}

Done fill_names(const RawDropIn& raw, const std::vector<std::string>& dns, GuestPlan& guest) {
  auto servers = addresses("--name-server", raw.name_servers);
  if (!servers) return std::unexpected(servers.error());
  if (raw.no_name_servers && !servers->empty())
    return usage("--name-server contradicts --no-name-servers; drop one");
  for (const auto family : {net::Family::kIpv4, net::Family::kIpv6})
    if (std::ranges::count(*servers, family, &net::IpAddress::family) >
        static_cast<std::ptrdiff_t>(kMostServers))
      return usage("--name-server: at most " + std::to_string(kMostServers) + " of one family");
  if (raw.no_name_servers || !servers->empty()) guest.name_servers = std::move(*servers);
  auto resolvers = addresses("--resolver", raw.resolvers);
  if (!resolvers) return std::unexpected(resolvers.error());
  guest.resolvers = std::move(*resolvers);
  if (!raw.lenient()) return {};
  // What that program does not forward, the guest asks directly.
  for (auto* const family : {&guest.ipv4, &guest.ipv6}) {
    if (!*family) continue;
    FamilyPlan& plan = **family;
    plan.forwards_dns = std::ranges::find(dns, net::to_string(plan.dns)) != dns.end();
    plan.forwards_dns_over_tls = plan.forwards_dns;
    if (!plan.forwards_dns) plan.dns = plan.gateway;
  }
  return {};
}

}  // namespace

std::expected<PolicyChoice, UsageError> RawDropIn::choice(const RawDropIn& raw) {
  PolicyChoice out;
  if (raw.default_policy == "passt")
    out.base = PolicyChoice::Base::kEverything;
  else if (!raw.default_policy.empty())
    return usage("--default-policy " + raw.default_policy + ": give passt");
  out.no_host = raw.no_map_host;
  out.tcp = !raw.no_tcp;
  out.udp = !raw.no_udp;
  out.icmp = !raw.no_icmp;
  return out;
}

std::expected<void, UsageError> RawDropIn::fill_map(AddressMap& out) const {
  for (const auto& text : map) {
    const auto equals = text.find('=');
    const auto seen = net::parse_ip(std::string_view{text}.substr(0, equals));
    const auto real =
        equals == std::string::npos ? std::nullopt : net::parse_ip(std::string_view{text}.substr(equals + 1));
    if (!seen || !real || seen->family() != real->family() || net::is_loopback(*seen) ||
        net::is_unspecified(*seen) || net::is_unspecified(*real) || net::is_multicast(*seen) ||
        net::is_multicast(*real))
      return usage("--map " + text + ": give two addresses of one family, as in 10.0.2.2=127.0.0.1");
    if (out.pairs.size() == kMostPairs)
      return usage("--map: at most " + std::to_string(kMostPairs) + " of them");
    out.pairs.push_back({*seen, *real});
  }
  out.real_gateway = lenient();
  return {};
}

std::expected<void, UsageError> RawDropIn::apply(const std::vector<std::string>& dns,
                                                 RunOptions& options) const {
  auto policy = choice(*this);
  if (!policy) return std::unexpected(policy.error());
  options.policy = *policy;
  GuestPlan& guest = options.guest;
  if (auto done = fill_map(guest.map); !done) return done;
  if (auto done = fill_names(*this, dns, guest); !done) return done;
  guest.announce_mtu = !no_announce_mtu;
  if (!our_mac.empty()) {
    const auto mac = net::parse_mac(our_mac);
    if (!mac || mac->is_group() || *mac == net::MacAddress{})
      return usage("--our-mac " + our_mac + ": give a unicast hardware address");
    guest.gateway_mac = *mac;
  }
  auto sources = addresses("--outbound", outbound);
  if (!sources) return std::unexpected(sources.error());
  options.outbound = std::move(*sources);
  options.outbound_interfaces = outbound_interfaces;
  options.pcap = pcap;
  for (sandbox::ForwardRule& rule : options.forwards) rule.freebind = freebind;
  return {};
}

}  // namespace cordon::app
