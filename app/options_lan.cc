#include "app/options_lan.h"

#include <algorithm>
#include <array>
#include <map>
#include <span>

#include "app/option_values.h"
#include "core/lan/addresses.h"

namespace cordon::app {
namespace {

using Failure = std::unexpected<UsageError>;

Failure usage(std::string message) { return Failure(UsageError{std::move(message)}); }

template <class T>
using OrUsage = std::expected<T, UsageError>;

// One value of each family out of a repeatable option.
OrUsage<std::map<net::Family, net::IpAddress>> by_family(std::string_view option,
                                                         const std::vector<std::string>& texts) {
  std::map<net::Family, net::IpAddress> values;
  for (const auto& text : texts) {
    const auto value = parse_plain_address(text);
    if (!value) return usage(std::string{option} + " " + text + ": " + value.error());
    if (!values.emplace(value->family(), *value).second)
      return usage(std::string{option} + " is given twice for " + std::string{family_name(value->family())} +
                   ": " + text);
  }
  return values;
}

std::string text_of(const AddressAndLength& own) {
  return to_string(own.address) + "/" + std::to_string(own.length);
}

OrUsage<std::map<net::Family, std::vector<AddressAndLength>>> all_addresses(
    const std::vector<std::string>& texts) {
  std::map<net::Family, std::vector<AddressAndLength>> all;
  for (const auto& text : texts) {
    const auto value = parse_address_and_length(text);
    if (!value) return usage("--address " + text + ": " + value.error());
    auto& family = all[value->address.family()];
    if (std::ranges::find(family, value->address, &AddressAndLength::address) != family.end())
      return usage("--address " + text + " is given twice");
    family.push_back(*value);
    if (family.size() > lan::kMoreAddresses + 1)
      return usage("--address " + text + ": at most " + std::to_string(lan::kMoreAddresses + 1) +
                   " addresses of one family");
  }
  return all;
}

// A gateway that was not asked for: the prefix's second address, or the third when the guest sits on that
// one.
net::IpAddress nth_address(const net::Prefix& prefix, std::uint8_t n) {
  if (prefix.address().is_v4()) return net::Ipv4Address::from_u32(prefix.address().v4().to_u32() + n);
  auto bytes = prefix.address().v6().bytes();
  bytes[15] = static_cast<std::uint8_t>(bytes[15] + n);
  return net::Ipv6Address{bytes};
}

net::IpAddress free_address(const net::Prefix& prefix, std::span<const net::IpAddress> taken,
                            std::uint8_t first) {
  for (std::uint8_t n = first;; ++n) {
    const auto candidate = nth_address(prefix, n);
    if (std::ranges::find(taken, candidate) == taken.end()) return candidate;
  }
}

struct FamilyChoice {
  bool lenient = false;
  std::vector<AddressAndLength> addresses;  // empty: the default
  std::optional<net::IpAddress> gateway;
  std::optional<net::IpAddress> dns;
};

bool is_usable(const FamilyChoice& choice, const net::IpAddress& address) {
  return is_usable_address(address) || (choice.lenient && net::is_link_local(address));
}

// A default route by an address that is on the link without being in the subnet: link-local for IPv6, and any
// when the guest has a prefix of one address (as clouds give).
bool may_be_gateway(const AddressAndLength& own, const net::IpAddress& gateway) {
  if (gateway.is_v6() && net::is_link_local(gateway)) return true;
  if (!is_usable_address(gateway)) return false;
  return own.length == own.address.bit_count() ||
         net::Prefix::containing(own.address, own.length).contains(gateway);
}

OrUsage<net::IpAddress> plan_gateway(const AddressAndLength& own, const FamilyChoice& choice,
                                     std::span<const net::IpAddress> taken) {
  const auto prefix = net::Prefix::containing(own.address, own.length);
  if (own.length < 1 || (own.length > own.address.bit_count() - 2 && !choice.gateway))
    return usage("--address " + text_of(own) + ": the prefix must have room for a gateway: /1 to /" +
                 std::to_string(own.address.bit_count() - 2) + ", or name one by --gateway");
  if (!choice.gateway) return free_address(prefix, taken, own.address.is_v4() && own.length > 29 ? 1 : 2);
  if (!choice.lenient && !may_be_gateway(own, *choice.gateway))
    return usage("--gateway " + to_string(*choice.gateway) + " is outside of --address " + text_of(own) +
                 "; give an address of " + to_string(prefix));
  return *choice.gateway;
}

// The name server's own address when none was given: the third of the prefix; where that may be somebody
// else's (a gateway outside, a full prefix) the gateway itself, or the default one, which it routes.
net::IpAddress plan_dns(const AddressAndLength& own, const net::IpAddress& gateway,
                        std::span<const net::IpAddress> taken) {
  const auto prefix = net::Prefix::containing(own.address, own.length);
  if (net::is_link_local(gateway)) return nth_address(net::Prefix::containing(kDefaultIpv6.address, 64), 3);
  if (own.length + 3 > own.address.bit_count() || !prefix.contains(gateway)) return gateway;
  return free_address(prefix, taken, 3);
}

OrUsage<FamilyPlan> plan_family(net::Family family, FamilyChoice choice) {
  if (choice.addresses.empty())
    choice.addresses.push_back(family == net::Family::kIpv4 ? kDefaultIpv4 : kDefaultIpv6);
  const AddressAndLength own = choice.addresses.front();
  std::vector<net::IpAddress> guest;
  for (const auto& each : choice.addresses) {
    if (!is_usable(choice, each.address))
      return usage("--address " + text_of(each) + ": a guest cannot use this address; give a unicast one");
    if (each.length < 1) return usage("--address " + text_of(each) + ": the prefix length is at least 1");
    guest.push_back(each.address);
  }
  FamilyPlan plan{.address = own.address, .prefix_length = own.length, .gateway = {}, .dns = {}, .more = {}};
  plan.more.assign(choice.addresses.begin() + 1, choice.addresses.end());
  std::vector<net::IpAddress> taken = guest;
  if (choice.dns) taken.push_back(*choice.dns);
  auto gateway = plan_gateway(own, choice, taken);
  if (!gateway) return Failure(gateway.error());
  plan.gateway = *gateway;
  if (plan.is_guest(plan.gateway))
    return usage("--gateway " + to_string(plan.gateway) + " is the guest's own --address; give another one");
  taken.push_back(plan.gateway);
  plan.dns = choice.dns.value_or(plan_dns(own, plan.gateway, taken));
  if (!is_usable(choice, plan.dns) || plan.is_guest(plan.dns))
    return usage("--dns " + to_string(plan.dns) + ": give an address of its own, such as " +
                 to_string(plan.gateway));
  return plan;
}

OrUsage<net::DomainName> name_of(std::string_view option, const std::string& text) {
  auto parsed = net::DomainName::parse(text);
  if (!parsed)
    return usage(std::string{option} + " " + text +
                 ": give a name of letters, digits and hyphens with dots between its labels");
  return std::move(*parsed);
}

// passt's -S stores each argument; QEMU joins several by spaces. "none" alone: no list at all.
OrUsage<std::vector<net::DomainName>> search_list(const std::vector<std::string>& arguments) {
  constexpr std::size_t kMost = 32;
  std::vector<net::DomainName> names;
  for (const auto& argument : arguments) {
    if (argument == "none") {
      if (arguments.size() > 1) return usage("--search none contradicts another --search; drop one");
      return names;
    }
    for (std::size_t at = 0; at <= argument.size();) {
      const auto end = std::min(argument.find_first_of(" ,", at), argument.size());
      auto parsed = name_of("--search", argument.substr(at, end - at));
      if (!parsed) return Failure(parsed.error());
      if (names.size() == kMost) return usage("--search: at most " + std::to_string(kMost) + " domains");
      names.push_back(std::move(*parsed));
      at = end + 1;
    }
  }
  return names;
}

}  // namespace

bool FamilyPlan::is_guest(const net::IpAddress& candidate) const {
  return candidate == address || std::ranges::find(more, candidate, &AddressAndLength::address) != more.end();
}

namespace {

OrUsage<void> fill_services(const LanOptions& raw, Configured by, GuestPlan& plan) {
  lan::Services& services = plan.services;
  plan.configure = by == Configured::kByOption && !raw.no_config_net;
  services.neighbours = !raw.no_ndp;
  services.dhcp = plan.ipv4.has_value() && !raw.no_dhcp;
  services.dhcpv6 = plan.ipv6.has_value() && !raw.no_dhcpv6;
  services.router = plan.ipv6.has_value() && !raw.no_ra && !raw.no_ndp;
  // A guest configured by netlink has its addresses: it is not offered others, and nobody listens.
  services.unsolicited = services.router && !plan.configure;
  services.slaac = services.unsolicited && plan.ipv6->prefix_length == 64;
  if (!raw.lease_time.empty()) {
    const auto seconds = parse_number(raw.lease_time);
    if (!seconds || *seconds < 10 || *seconds > 31536000)
      return usage("--lease-time " + raw.lease_time + ": give seconds from 10 to 31536000");
    services.lease_seconds = static_cast<std::uint32_t>(*seconds);
  }
  auto names = search_list(raw.search);
  if (!names) return Failure(names.error());
  services.search = std::move(*names);
  plan.search_none = !raw.search.empty() && services.search.empty();
  const auto name = [](std::string_view option, const std::string& text,
                       std::optional<net::DomainName>& into) -> OrUsage<void> {
    if (text.empty()) return {};
    auto parsed = name_of(option, text);
    if (!parsed) return Failure(parsed.error());
    into = std::move(*parsed);
    return {};
  };
  if (auto done = name("--hostname", raw.hostname, services.hostname); !done) return done;
  return name("--fqdn", raw.fqdn, services.fqdn);
}

OrUsage<void> check_conflicts(const LanOptions& raw) {
  if (raw.no_ipv4 && raw.no_ipv6) return usage("--no-ipv4 and --no-ipv6 together leave no network; drop one");
  if (raw.host_addressing && !raw.addresses.empty())
    return usage("--address contradicts --host-addressing; drop one");
  if (raw.host_addressing && !raw.gateways.empty())
    return usage("--gateway contradicts --host-addressing; drop one");
  if (raw.no_config_net && raw.no_dhcp && raw.no_dhcpv6 && (raw.no_ra || raw.no_ndp))
    return usage("--no-config-net with --no-dhcp, --no-dhcpv6 and " +
                 std::string{raw.no_ra ? "--no-ra" : "--no-ndp"} +
                 " leaves no way to get an address; drop one");
  return {};
}

}  // namespace

OrUsage<GuestPlan> LanOptions::plan(Configured by) const {
  if (const auto fine = check_conflicts(*this); !fine) return Failure(fine.error());
  auto own = all_addresses(addresses);
  if (!own) return Failure(own.error());
  const auto all_gateways = by_family("--gateway", gateways);
  if (!all_gateways) return Failure(all_gateways.error());
  const auto all_dns = by_family("--dns", dns);
  if (!all_dns) return Failure(all_dns.error());
  const auto find = [](const auto& map, net::Family family) {
    const auto it = map.find(family);
    return it == map.end() ? std::nullopt : std::optional{it->second};
  };
  GuestPlan plan;
  for (const auto family : {net::Family::kIpv4, net::Family::kIpv6}) {
    FamilyChoice choice{lenient, (*own)[family], find(*all_gateways, family), find(*all_dns, family)};
    const bool off = family == net::Family::kIpv4 ? no_ipv4 : no_ipv6;
    if (off) {
      const char* given = !choice.addresses.empty() ? "--address"
                          : choice.gateway          ? "--gateway"
                          : choice.dns              ? "--dns"
                                                    : nullptr;
      if (given != nullptr)
        return usage(std::string{given} + " for " + std::string{family_name(family)} +
                     " contradicts --no-ipv" + (family == net::Family::kIpv4 ? "4" : "6") + "; drop one");
      continue;
    }
    auto made = plan_family(family, std::move(choice));
    if (!made) return Failure(made.error());
    (family == net::Family::kIpv4 ? plan.ipv4 : plan.ipv6) = *made;
  }
  if (const auto filled = fill_services(*this, by, plan); !filled) return Failure(filled.error());
  return plan;
}

}  // namespace cordon::app
