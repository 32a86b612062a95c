#include "app/passt_options.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <limits>

#include "app/option_values.h"
#include "app/passt_table.h"

namespace cordon::app {
namespace {

using Done = std::expected<void, UsageError>;

std::unexpected<UsageError> usage(std::string message) {
  return std::unexpected(UsageError{std::move(message)});
}

constexpr unsigned kLongestMtu = 65521;
constexpr unsigned kLeastMtu = 1280;
constexpr std::size_t kLongestName = 253;
constexpr std::size_t kLongestInterface = 15;

constexpr auto kOfPasta = std::to_array<std::string_view>(
    {"ns-ifname", "tcp-ns", "udp-ns", "host-lo-to-ns-lo", "userns", "netns", "netns-only", "no-netns-quit",
     "config-net", "no-copy-routes", "no-copy-addrs", "ns-mac-addr", "no-splice", "splice-only", "dhcp-dns",
     "dhcp-search"});

// strtoul() with base 0: decimal, 0x hexadecimal, 0 octal.
std::optional<unsigned long> parse_any_base(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
  }
  unsigned long value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// 4096, 1M, 100K, as sizes are written on that command line.
std::optional<std::uint64_t> parse_size(std::string_view text) {
  unsigned shift = 0;
  if (!text.empty()) {
    switch (text.back()) {
      case 'k':
      case 'K': shift = 10; break;
      case 'm':
      case 'M': shift = 20; break;
      case 'g':
      case 'G': shift = 30; break;
      default: break;
    }
    if (shift != 0) text.remove_suffix(1);
  }
  const auto value = parse_number(text);
  if (!value || *value > (std::numeric_limits<std::uint64_t>::max() >> shift)) return std::nullopt;
  return *value << shift;
}

bool is_interface(std::string_view name) { return !name.empty() && name.size() <= kLongestInterface; }

bool is_one_bits(std::uint32_t mask) {
  const std::uint32_t holes = ~mask;
  return (holes & (holes + 1)) == 0;
}

class Reader {
 public:
  std::expected<PasstCommand, UsageError> read(std::span<const std::string> arguments) {
    const GivenOptions given = read_long_options(passt_options(), arguments);
    for (const GivenOption& each : given.options) {
      const std::string_view name = each.option->name;
      if (auto done = take(name, each.value); !done) return std::unexpected(std::move(done.error()));
      if (out_.action != PasstCommand::Action::kServe) return std::move(out_);  // they act at once
    }
    if (given.error) return usage(*given.error);
    if (!given.operands.empty()) return usage("Extra non-option argument: " + given.operands.front());
    if (auto done = finish(); !done) return std::unexpected(std::move(done.error()));
    return std::move(out_);
  }

 private:
  struct Flag {
    std::string_view name;
    bool PasstCommand::* member;
  };
  struct Text {
    std::string_view name;
    std::string PasstCommand::* member;
  };
  struct List {
    std::string_view name;
    std::vector<std::string> PasstCommand::* member;
  };
  struct Address {
    std::string_view name;
    PasstPerFamily PasstCommand::* member;
  };

  Done take(std::string_view name, const std::string& value) {
    if (take_simple(name, value)) return {};
    if (std::ranges::find(kOfPasta, name) != kOfPasta.end())
      return usage("--" + std::string{name} + " is for pasta mode only");
    if (name == "help") return act(PasstCommand::Action::kHelp);
    if (name == "version") return act(PasstCommand::Action::kVersion);
    if (name == "print-capabilities") return act(PasstCommand::Action::kCapabilities);
    if (name == "mtu") return take_mtu(value);
    if (name == "address") return take_address(value);
    if (name == "netmask") return take_netmask(value);
    if (name == "mac-addr") return take_mac(value);
    if (name == "gateway") return take_gateway(value);
    if (name == "interface") return take_interface("interface", value, out_.interface);
    if (name == "outbound-if4") return take_interface("outbound-if4", value, out_.outbound_if4);
    if (name == "outbound-if6") return take_interface("outbound-if6", value, out_.outbound_if6);
    if (name == "dns") return take_dns(value);
    if (name == "map-host-loopback") return take_mapping(name, value, out_.map_host_loopback, true);
    if (name == "map-guest-addr") return take_mapping(name, value, out_.map_guest, false);
    if (name == "search") return take_search(value);
    if (name == "hostname" || name == "fqdn") return take_name(name, value);
    if (name == "fd") return take_fd(value);
    if (name == "log-size") return take_log_size(value);
    if (name == "stats") return take_stats(value);
    if (name == "repair-path") return take_repair(value);
    if (name == "map-host-addr") return take_map_host(value);
    return take_address_of(name, value);
  }

  bool take_simple(std::string_view name, const std::string& value) {
    static constexpr auto kFlags = std::to_array<Flag>({{"foreground", &PasstCommand::foreground},
                                                        {"one-off", &PasstCommand::one_off},
                                                        {"vhost-user", &PasstCommand::vhost_user},
                                                        {"no-dhcp-dns", &PasstCommand::no_dhcp_dns},
                                                        {"no-dhcp-search", &PasstCommand::no_dhcp_search},
                                                        {"no-tcp", &PasstCommand::no_tcp},
                                                        {"no-udp", &PasstCommand::no_udp},
                                                        {"no-icmp", &PasstCommand::no_icmp},
                                                        {"no-dhcp", &PasstCommand::no_dhcp},
                                                        {"no-dhcpv6", &PasstCommand::no_dhcpv6},
                                                        {"no-ndp", &PasstCommand::no_ndp},
                                                        {"no-ra", &PasstCommand::no_ra},
                                                        {"freebind", &PasstCommand::freebind},
                                                        {"no-map-gw", &PasstCommand::no_map_gateway},
                                                        {"no-map-host", &PasstCommand::no_map_host}});
    static constexpr auto kTexts = std::to_array<Text>({{"log-file", &PasstCommand::log_file},
                                                        {"pcap", &PasstCommand::pcap},
                                                        {"pid", &PasstCommand::pid_file},
                                                        {"runas", &PasstCommand::runas},
                                                        {"audit-log", &PasstCommand::audit_log},
                                                        {"name", &PasstCommand::name},
                                                        {"control", &PasstCommand::control}});
    static constexpr auto kLists = std::to_array<List>({{"tcp-ports", &PasstCommand::tcp_ports},
                                                        {"udp-ports", &PasstCommand::udp_ports},
                                                        {"policy", &PasstCommand::policy}});
    for (const Flag& flag : kFlags)
      if (flag.name == name) return out_.*flag.member = true;
    for (const Text& text : kTexts)
      if (text.name == name) {
        out_.*text.member = value;
        return true;
      }
    for (const List& list : kLists)
      if (list.name == name) {
        (out_.*list.member).push_back(value);
        return true;
      }
    return take_words(name, value);
  }

  // What sets several values, or none.
  bool take_words(std::string_view name, const std::string& value) {
    if (name == "quiet") {
      out_.verbosity = Verbosity::kQuiet;
    } else if (name == "debug" || name == "trace" || name == "verbose") {
      out_.verbosity = Verbosity::kVerbose;
    } else if (name == "ipv4-only" || name == "ipv6-only") {  // the last one counts
      out_.ipv4 = name == "ipv4-only";
      out_.ipv6 = !out_.ipv4;
    } else if (name == "socket" || name == "socket-path") {
      out_.socket = value;
      out_.fd.reset();
    } else if (name == "stderr") {
      warn("--stderr does nothing: what happens after the start goes to the log");
    } else if (name == "conf-path") {
      warn("--conf-path is not supported: ports cannot be changed while cordon runs");
    } else if (name == "migrate-exit" || name == "migrate-no-linger") {
      warn("--" + std::string{name} + " does nothing: connections are not migrated");
    } else if (name == "chroot-fallback") {
      // Our isolation falls back by itself and says so.
    } else if (name == "threads" || name == "max-flows" || name == "isolation") {
      out_.further.push_back("--" + std::string{name} + "=" + value);
    } else if (name == "watch-policy") {
      out_.further.emplace_back("--watch-policy");
    } else {
      return false;
    }
    return true;
  }

  void warn(std::string text) { out_.warnings.push_back(std::move(text)); }

  Done act(PasstCommand::Action action) {
    out_.action = action;
    return {};
  }

  Done take_mtu(const std::string& value) {
    const auto mtu = parse_any_base(value);
    if (!mtu) return usage("Invalid MTU " + value + ": give a number of bytes");
    if (*mtu > kLongestMtu)
      return usage("MTU " + value + " too large (max " + std::to_string(kLongestMtu) + ")");
    if (*mtu != 0 && *mtu < kLeastMtu)
      warn("--mtu " + value + ": " + std::to_string(kLeastMtu) + " is the least, and what the guest is told");
    const auto usable = std::clamp<unsigned long>(*mtu, kLeastMtu, kDefaultMtu);
    out_.mtu = static_cast<std::uint16_t>(*mtu == 0 ? 0 : usable);
    return {};
  }

  Done take_address(const std::string& value) {
    const auto slash = value.find('/');
    const auto address = net::parse_ip(std::string_view{value}.substr(0, slash));
    if (!address || net::is_unspecified(*address) || net::is_loopback(*address) ||
        net::is_multicast(*address))
      return usage("Invalid guest address: " + value);
    if (out_.address.of(address->family()))
      return usage("--address is given twice for " + std::string{family_name(address->family())} + ": " +
                   value);
    if (slash != std::string::npos) {
      const auto length = parse_number(std::string_view{value}.substr(slash + 1));
      if (!length || *length > address->bit_count() || *length == 0)
        return usage("Invalid prefix length: " + value);
      if (address->is_v4()) {
        if (netmask_given_) return usage("Redundant prefix length specification");
        out_.length = static_cast<unsigned>(*length);
        address_length_given_ = true;
      }
    }
    out_.address.of(address->family()) = *address;
    return {};
  }

  Done take_netmask(const std::string& value) {
    if (address_length_given_) return usage("Redundant prefix length specification");
    netmask_given_ = true;
    if (const auto bits = parse_number(value); bits && *bits >= 1 && *bits <= 32) {
      out_.length = static_cast<unsigned>(*bits);
      return {};
    }
    const auto mask = net::parse_ipv4(value);
    if (!mask || mask->to_u32() == 0 || !is_one_bits(mask->to_u32()))
      return usage("Invalid netmask: " + value);
    out_.length = static_cast<unsigned>(std::popcount(mask->to_u32()));
    return {};
  }

  Done take_mac(const std::string& value) {
    const auto mac = net::parse_mac(value);
    if (!mac || mac->is_group() || *mac == net::MacAddress{}) return usage("Invalid MAC address: " + value);
    out_.mac = *mac;
    return {};
  }

  Done take_gateway(const std::string& value) {
    const auto gateway = net::parse_ip(value);
    if (!gateway || net::is_unspecified(*gateway) || net::is_loopback(*gateway) ||
        net::is_multicast(*gateway))
      return usage("Invalid gateway address: " + value);
    out_.gateway.of(gateway->family()) = *gateway;
    return {};
  }

  static Done take_interface(std::string_view option, const std::string& value, std::string& into) {
    if (!is_interface(value))
      return usage("Invalid interface name: " + value + " (--" + std::string{option} + ")");
    into = value;
    return {};
  }

  Done take_dns(const std::string& value) {
    if (value == "none") {
      out_.no_dns = true;
      out_.dns.clear();
      out_.dns_forward = out_.dns_host = {};
      return {};
    }
    const auto server = net::parse_ip(value);
    if (!server || net::is_unspecified(*server)) return usage("Cannot use DNS address " + value);
    out_.no_dns = false;
    out_.dns.push_back(*server);
    return {};
  }

  Done take_mapping(std::string_view name, const std::string& value, PasstPerFamily& into, bool is_gateway) {
    if (value == "none") {
      into = {};
      if (is_gateway) out_.no_map_gateway = true;
      return {};
    }
    const auto address = net::parse_ip(value);
    if (!address || net::is_unspecified(*address) || net::is_loopback(*address) ||
        net::is_multicast(*address))
      return usage("Invalid address to remap: " + value + " (--" + std::string{name} + ")");
    into.of(address->family()) = *address;
    return {};
  }

  Done take_search(const std::string& value) {
    if (value == "none") {
      out_.no_search = true;
      out_.search.clear();
      return {};
    }
    out_.no_search = false;
    out_.search.push_back(value);
    return {};
  }

  Done take_name(std::string_view name, const std::string& value) {
    if (value.empty() || value.size() > kLongestName)
      return usage("Invalid " + std::string{name} + ": " + value);
    (name == "fqdn" ? out_.fqdn : out_.hostname) = value;
    return {};
  }

  Done take_fd(const std::string& value) {
    const auto fd = parse_any_base(value);
    constexpr unsigned long kMost = 1UL << 30U;
    if (!fd || *fd > kMost || (*fd > 0 && *fd < 3)) return usage("Invalid --fd: " + value);
    if (*fd == 0) return usage("Invalid --fd: " + value);
    out_.fd = static_cast<int>(*fd);
    out_.socket.clear();
    out_.one_off = true;
    return {};
  }

  Done take_log_size(const std::string& value) {
    constexpr std::uint64_t kLeast = 64UL * 1024;
    constexpr std::uint64_t kMost = 1UL << 32U;
    const auto size = parse_size(value);
    if (!size || *size > kMost) return usage("Invalid --log-size: " + value);
    out_.log_size = std::max(*size, kLeast);
    return {};
  }

  Done take_stats(const std::string& value) {
    if (!out_.foreground) return usage("--stats needs --foreground, before it");
    if (!parse_number(value)) return usage("Invalid display interval: " + value);
    warn("--stats does nothing; cordon ctl metrics has the numbers");
    return {};
  }

  Done take_repair(const std::string& value) {
    repair_ = value;
    return {};
  }

  Done take_map_host(const std::string& value) {
    if (value != "none")
      return usage("--map-host-addr " + value +
                   ": only none is supported; it keeps the guest from every "
                   "address of this host");
    out_.no_map_host = true;
    return {};
  }

  Done take_address_of(std::string_view name, const std::string& value) {
    static constexpr auto kAddresses = std::to_array<Address>({{"outbound", &PasstCommand::outbound},
                                                               {"dns-forward", &PasstCommand::dns_forward},
                                                               {"dns-host", &PasstCommand::dns_host}});
    for (const Address& each : kAddresses) {
      if (each.name != name) continue;
      const auto address = net::parse_ip(value);
      if (!address || net::is_unspecified(*address) || net::is_multicast(*address) ||
          (name == "dns-forward" && net::is_loopback(*address)))
        return usage("Invalid address for --" + std::string{name} + ": " + value);
      (out_.*each.member).of(address->family()) = *address;
      return {};
    }
    return usage("unrecognized option '--" + std::string{name} + "'");  // a row without a reader
  }

  Done finish() {
    if (!repair_.empty() && repair_ != "none") {
      if (!out_.vhost_user) return usage("--repair-path is for vhost-user mode only");
      warn("--repair-path does nothing: connections are not migrated");
    }
    // libvirt asks for one address of each family it uses; an address left out of a family is no wish.
    if (!out_.ipv4 && out_.address.ipv4) out_.address.ipv4.reset();
    if (!out_.ipv6 && out_.address.ipv6) out_.address.ipv6.reset();
    if (out_.no_icmp) out_.no_ndp = true;
    if (out_.no_tcp && !out_.tcp_ports.empty() && out_.tcp_ports != std::vector<std::string>{"none"})
      return usage("Can't add TCP forwarding rule, TCP not enabled (--no-tcp)");
    if (out_.no_udp && !out_.udp_ports.empty() && out_.udp_ports != std::vector<std::string>{"none"})
      return usage("Can't add UDP forwarding rule, UDP not enabled (--no-udp)");
    return {};
  }

  PasstCommand out_;
  std::string repair_;
  bool netmask_given_ = false;
  bool address_length_given_ = false;
};

}  // namespace

std::expected<PasstCommand, UsageError> parse_passt(std::span<const std::string> arguments) {
  return Reader{}.read(arguments);
}

}  // namespace cordon::app
