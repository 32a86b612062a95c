#include "app/passt_translate.h"

#include <algorithm>
#include <sstream>

#include "core/net/prefix.h"

namespace cordon::app {
namespace {

constexpr std::size_t kMostServers = 3;  // of a family, as resolv.conf(5) has them
constexpr const char* kOwnMac = "9a:55:9a:55:9a:55";
constexpr std::string_view kLocalAddress = "169.254.2.1";
constexpr std::string_view kLocalGateway = "169.254.2.2";
constexpr unsigned kLocalLength = 16;

unsigned length_by_class(const net::IpAddress& address) {
  const unsigned first = address.bytes()[0];
  return first < 128 ? 8 : first < 192 ? 16 : first < 224 ? 24 : 32;
}

net::IpAddress loopback_of(net::Family family) {
  if (family == net::Family::kIpv4) return net::Ipv4Address{127, 0, 0, 1};
  return net::Ipv6Address{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
}

// In audit records: something that says which machine it is.
std::string name_of_socket(std::string_view path) {
  path.remove_prefix(path.rfind('/') + 1);
  if (const auto dot = path.rfind('.'); dot != std::string_view::npos && dot > 0) path = path.substr(0, dot);
  std::string name;
  for (const char c : path.substr(0, 63)) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    name += upper ? static_cast<char>(c - 'A' + 'a') : plain ? c : '-';
  }
  return name.empty() ? "passt" : name;
}

class Translator {
 public:
  Translator(const PasstCommand& command, const PasstHost& host) : command_(command), host_(host) {}

  std::expected<std::vector<std::string>, UsageError> words() {
    out_ = {"vm", "--default-policy=passt"};
    process();
    const bool v4 = family(net::Family::kIpv4);
    const bool v6 = family(net::Family::kIpv6);
    if (!v4 && !v6) {
      if (!command_.ipv4)
        return std::unexpected(UsageError{"this machine has no IPv6 address to give to the guest"});
      local_mode();
    } else if (!v4) {
      add("--no-ipv4");
    } else if (!v6) {
      add("--no-ipv6");
    }
    if (!told_) add("--no-name-servers");
    services();
    forwards();
    return std::move(out_);
  }

 private:
  struct Family {
    net::IpAddress address;
    unsigned length = 0;
    std::optional<net::IpAddress> gateway;
  };

  void add(std::string word) { out_.push_back(std::move(word)); }
  void add(std::string_view option, std::string_view value) {
    out_.push_back(std::string{option} + "=" + std::string{value});
  }
  void add_if(bool given, const char* option) {
    if (given) add(option);
  }
  void add_given(std::string_view option, const std::string& value) {
    if (!value.empty()) add(option, value);
  }

  void process() {
    if (command_.fd)
      add("--fd", std::to_string(*command_.fd));
    else
      add("--socket", command_.socket);
    add_if(command_.one_off && !command_.fd, "--one-off");
    add_if(command_.vhost_user, "--vhost-user");
    add_if(command_.verbosity == Verbosity::kVerbose, "--verbose");
    add_if(command_.verbosity == Verbosity::kQuiet, "--quiet");
    if (!command_.name.empty())
      add("--name", command_.name);
    else
      add("--name", command_.socket.empty() ? "passt" : name_of_socket(command_.socket));
    for (const auto& file : command_.policy) add("--policy", file);
    add_given("--audit-log", command_.audit_log);
    add_given("--pcap", command_.pcap);
    if (command_.control.empty())
      add("--no-control");
    else
      add("--control", command_.control);
    add_if(command_.no_map_host, "--no-map-host");
    add_if(command_.no_tcp, "--no-tcp");
    add_if(command_.no_udp, "--no-udp");
    add_if(command_.no_icmp, "--no-icmp");
    for (const auto& word : command_.further) add(word);
  }

  // What passt would give to the guest of this family, if anything.
  std::optional<Family> plan(net::Family family) const {
    const bool v4 = family == net::Family::kIpv4;
    if (!(v4 ? command_.ipv4 : command_.ipv6)) return std::nullopt;
    const auto& found = v4 ? host_.addresses.ipv4 : host_.addresses.ipv6;
    const auto& given = command_.address.of(family);
    if (!given && !found) return std::nullopt;
    Family out;
    out.address = given ? *given : found->address;
    const unsigned bits = out.address.bit_count();
    if (!v4)
      out.length = 64;
    else if (command_.length)
      out.length = *command_.length;
    else
      out.length = given || found->prefix_length == 0 ? length_by_class(out.address) : found->prefix_length;
    out.gateway = command_.gateway.of(family);
    if (!out.gateway && found) out.gateway = found->gateway;
    if (out.gateway == out.address) out.gateway.reset();
    if (!out.gateway) out.length = std::min(out.length, bits - 2);
    return out;
  }

  bool family(net::Family family) {
    const auto plan = this->plan(family);
    if (!plan) return false;
    const std::string address = to_string(plan->address);
    add("--address", address + "/" + std::to_string(plan->length));
    const net::IpAddress gateway = plan->gateway ? *plan->gateway : next_to(*plan);
    add("--gateway", to_string(gateway));
    mappings(family, plan->address, gateway);
    return true;
  }

  // A link without a router has nobody who would mind.
  static net::IpAddress next_to(const Family& plan) {
    const auto prefix = net::Prefix::containing(plan.address, plan.length);
    if (plan.address.is_v6()) {
      auto bytes = prefix.address().v6().bytes();
      bytes[15] = 2;
      if (net::IpAddress second{net::Ipv6Address{bytes}}; second != plan.address) return second;
      bytes[15] = 3;
      return net::Ipv6Address{bytes};
    }
    const std::uint32_t first = plan.length > 29 ? 1 : 2;
    for (std::uint32_t n = first;; ++n) {
      const net::IpAddress candidate = net::Ipv4Address::from_u32(prefix.address().v4().to_u32() + n);
      if (candidate != plan.address) return candidate;
    }
  }

  void map(const net::IpAddress& seen, const net::IpAddress& real) {
    add("--map", to_string(seen) + "=" + to_string(real));
  }

  void mappings(net::Family family, const net::IpAddress& guest,
                const std::optional<net::IpAddress>& gateway) {
    std::optional<net::IpAddress> loopback = command_.map_host_loopback.of(family);
    if (!loopback && !command_.no_map_gateway) loopback = gateway;
    if (loopback) map(*loopback, loopback_of(family));
    if (const auto& seen = command_.map_guest.of(family)) map(*seen, guest);
    name_servers(family, loopback);
  }

  // Those of the machine's own are seen at the address that leads to its loopback, where they are forwarded
  // to. Others the guest asks itself.
  void name_servers(net::Family family, const std::optional<net::IpAddress>& loopback) {
    std::optional<net::IpAddress> forwarder = command_.dns_forward.of(family);
    std::vector<net::IpAddress> told;
    if (!command_.no_dns) {
      for (net::IpAddress server : command_.dns.empty() ? host_.name_servers : command_.dns) {
        if (server.family() != family) continue;
        if (net::is_loopback(server)) {
          if (!loopback) continue;
          server = *loopback;
          if (!forwarder) forwarder = loopback;
        }
        // What only has a meaning on a link of this machine's.
        if (net::is_link_local(server) && server != loopback) continue;
        if (told.size() < kMostServers && std::ranges::find(told, server) == told.end())
          told.push_back(server);
      }
      if (told.empty() && forwarder) told.push_back(*forwarder);
    }
    if (forwarder) add("--dns", to_string(*forwarder));
    if (command_.no_dhcp_dns) return;
    for (const auto& server : told) {
      add("--name-server", to_string(server));
      told_ = true;
    }
  }

  void local_mode() {
    add("--address", std::string{kLocalAddress} + "/" + std::to_string(kLocalLength));
    add("--gateway", kLocalGateway);
    add("--no-ipv6");
    mappings(net::Family::kIpv4, *net::parse_ip(kLocalAddress), net::parse_ip(kLocalGateway));
  }

  void services() {
    add("--our-mac", command_.mac ? net::to_string(*command_.mac) : kOwnMac);
    if (command_.mtu && *command_.mtu != 0) add("--mtu", std::to_string(*command_.mtu));
    add_if(command_.mtu == 0, "--no-announce-mtu");
    add_if(command_.no_dhcp, "--no-dhcp");
    add_if(command_.no_dhcpv6, "--no-dhcpv6");
    add_if(command_.no_ndp, "--no-ndp");
    add_if(command_.no_ra, "--no-ra");
    add_given("--hostname", command_.hostname);
    add_given("--fqdn", command_.fqdn);
    if (!command_.no_dhcp_search && !command_.no_search)
      for (const auto& domain : command_.search.empty() ? host_.search : command_.search)
        add("--search", domain);
    for (const auto family : {net::Family::kIpv4, net::Family::kIpv6}) {
      if (const auto& resolver = command_.dns_host.of(family)) add("--resolver", to_string(*resolver));
      if (const auto& source = command_.outbound.of(family)) add("--outbound", to_string(*source));
    }
    add_given("--outbound-if", command_.outbound_if4);
    if (command_.outbound_if6 != command_.outbound_if4) add_given("--outbound-if", command_.outbound_if6);
    add_if(command_.freebind, "--freebind");
  }

  void forwards() {
    for (const auto& spec : command_.tcp_ports) add("--tcp-ports", spec);
    for (const auto& spec : command_.udp_ports) add("--udp-ports", spec);
  }

  const PasstCommand& command_;
  const PasstHost& host_;
  std::vector<std::string> out_;
  bool told_ = false;
};

}  // namespace

void read_resolv_conf(std::string_view text, PasstHost& host) {
  std::istringstream lines{std::string{text}};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string key;
    std::string word;
    words >> key;
    if (key == "nameserver" && words >> word) {
      if (const auto server = net::parse_ip(word.substr(0, word.find('%'))))
        host.name_servers.push_back(*server);
    } else if (key == "search" || key == "domain") {
      host.search.clear();
      while (words >> word)
        if (net::DomainName::parse(word)) host.search.push_back(word);
    }
  }
}

std::expected<std::vector<std::string>, UsageError> translate_passt(const PasstCommand& command,
                                                                    const PasstHost& host) {
  return Translator{command, host}.words();
}

}  // namespace cordon::app
