#include "netlink/parse.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <array>
#include <cstring>

#include "core/base/bytes.h"

namespace cordon::netlink {
namespace {

// The fixed header of a message's kind; nullptr when the message is shorter.
template <class T>
const T* fixed_header(const nlmsghdr& message) {
  if (::nlmsg_valid_hdr(&message, sizeof(T)) == 0) return nullptr;
  return static_cast<const T*>(::nlmsg_data(&message));
}

// The attributes by type, up to kLast. A malformed one ends the list; of two of a type the later one counts.
template <std::size_t kLast>
class Attributes {
 public:
  Attributes(const nlmsghdr& message, std::size_t fixed) {
    const int header = static_cast<int>(fixed);
    parse(::nlmsg_attrdata(&message, header), ::nlmsg_attrlen(&message, header));
  }
  explicit Attributes(const nlattr& parent) {
    parse(static_cast<nlattr*>(::nla_data(&parent)), ::nla_len(&parent));
  }
  Attributes(void* first, std::size_t size) { parse(static_cast<nlattr*>(first), static_cast<int>(size)); }
  const nlattr* operator[](std::size_t type) const { return table_[type]; }

 private:
  // Without a libnl policy: that would discard a message for one odd attribute, even one of no interest.
  void parse(nlattr* first, int length) {
    if (::nla_parse(table_.data(), static_cast<int>(kLast), first, length, nullptr) < 0) table_.fill(nullptr);
  }
  std::array<nlattr*, kLast + 1> table_{};
};

base::Bytes payload_of(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  return base::as_bytes(::nla_data(attribute), static_cast<std::size_t>(::nla_len(attribute)));
}

std::optional<std::uint32_t> number_of(const nlattr* attribute) {
  if (payload_of(attribute).size() < sizeof(std::uint32_t)) return std::nullopt;
  return ::nla_get_u32(attribute);
}

std::optional<net::IpAddress> to_address(unsigned family, base::Bytes bytes) {
  if (family == AF_INET && bytes.size() == 4) return net::Ipv4Address::from_bytes(bytes.first<4>());
  if (family == AF_INET6 && bytes.size() == 16) return net::Ipv6Address::from_bytes(bytes.first<16>());
  return std::nullopt;
}
std::optional<net::IpAddress> address_of(unsigned family, const nlattr* attribute) {
  return to_address(family, payload_of(attribute));
}

std::optional<Event> parse_link(const nlmsghdr& message) {
  const auto* info = fixed_header<ifinfomsg>(message);
  // AF_BRIDGE messages speak of a bridge port, not of the link.
  if (info == nullptr || info->ifi_family != AF_UNSPEC || info->ifi_index <= 0) return std::nullopt;
  Change<Link> change;
  change.present = message.nlmsg_type == RTM_NEWLINK;
  change.value.index = static_cast<std::uint32_t>(info->ifi_index);
  change.value.up = (info->ifi_flags & IFF_UP) != 0;
  change.value.loopback = (info->ifi_flags & IFF_LOOPBACK) != 0;
  change.value.carrier = (info->ifi_flags & IFF_RUNNING) != 0;
  const Attributes<IFLA_MTU> attributes{message, sizeof *info};
  for (const std::byte b : payload_of(attributes[IFLA_IFNAME])) {
    if (b == std::byte{0}) break;
    change.value.name.push_back(std::to_integer<char>(b));
  }
  change.value.mtu = number_of(attributes[IFLA_MTU]).value_or(0);
  return change;
}

std::optional<Event> parse_address(const nlmsghdr& message) {
  const auto* info = fixed_header<ifaddrmsg>(message);
  if (info == nullptr || (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)) return std::nullopt;
  const Attributes<IFA_BROADCAST> attributes{message, sizeof *info};
  auto local = address_of(info->ifa_family, attributes[IFA_LOCAL]);
  if (!local) local = address_of(info->ifa_family, attributes[IFA_ADDRESS]);
  if (!local || info->ifa_prefixlen > local->bit_count()) return std::nullopt;
  Change<Address> change;
  change.present = message.nlmsg_type == RTM_NEWADDR;
  change.value.interface = info->ifa_index;
  change.value.address = *local;
  change.value.prefix_length = info->ifa_prefixlen;
  change.value.broadcast = address_of(info->ifa_family, attributes[IFA_BROADCAST]);
  return change;
}

RouteType to_route_type(unsigned type) {
  switch (type) {
    case RTN_UNICAST: return RouteType::kUnicast;
    case RTN_LOCAL: return RouteType::kLocal;
    case RTN_BROADCAST: return RouteType::kBroadcast;
    case RTN_ANYCAST: return RouteType::kAnycast;
    case RTN_MULTICAST: return RouteType::kMulticast;
    case RTN_BLACKHOLE: return RouteType::kBlackhole;
    case RTN_UNREACHABLE: return RouteType::kUnreachable;
    case RTN_PROHIBIT: return RouteType::kProhibit;
    default: return RouteType::kOther;
  }
}

// What both a route event and a route answer carry.
struct RouteFields {
  rtmsg header{};
  std::optional<net::IpAddress> destination;
  std::optional<net::IpAddress> gateway;
  std::optional<net::IpAddress> preferred_source;
  std::uint32_t interface = 0;
  std::uint32_t table = 0;
  std::uint32_t mtu = 0;
  std::uint32_t metric = 0;
  std::vector<Hop> hops;
};

// RTA_VIA: a gateway of another family than the destination's; its family, then the address.
std::optional<net::IpAddress> parse_via(base::Bytes bytes) {
  std::uint16_t family = 0;
  if (bytes.size() < sizeof family) return std::nullopt;
  std::memcpy(&family, bytes.data(), sizeof family);
  return to_address(family, bytes.subspan(sizeof family));
}

std::optional<net::IpAddress> gateway_of(unsigned family, const Attributes<RTA_VIA>& attributes) {
  return attributes[RTA_VIA] != nullptr ? parse_via(payload_of(attributes[RTA_VIA]))
                                        : address_of(family, attributes[RTA_GATEWAY]);
}

// libnl's message layer does not know this list: rtnexthop headers, each followed by attributes.
void parse_hops(const nlattr* list, unsigned family, std::vector<Hop>& out) {
  if (list == nullptr) return;
  auto* at = static_cast<std::byte*>(::nla_data(list));
  auto left = static_cast<std::size_t>(::nla_len(list));
  rtnexthop hop{};
  while (left >= sizeof hop) {
    std::memcpy(&hop, at, sizeof hop);
    if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left) return;
    const Attributes<RTA_VIA> attributes{at + sizeof hop, hop.rtnh_len - sizeof hop};
    if (hop.rtnh_ifindex > 0)
      out.push_back({.interface = static_cast<std::uint32_t>(hop.rtnh_ifindex),
                     .gateway = gateway_of(family, attributes),
                     .dead = (hop.rtnh_flags & RTNH_F_DEAD) != 0});
    // RTNH_ALIGN, which mixes signed and unsigned.
    const std::size_t step = (std::size_t{hop.rtnh_len} + 3U) & ~std::size_t{3};
    if (step >= left) return;
    at += step;
    left -= step;
  }
}

std::optional<RouteFields> parse_route_fields(const nlmsghdr& message) {
  const auto* header = fixed_header<rtmsg>(message);
  if (header == nullptr || (header->rtm_family != AF_INET && header->rtm_family != AF_INET6))
    return std::nullopt;
  const unsigned family = header->rtm_family;
  const Attributes<RTA_VIA> attributes{message, sizeof *header};
  RouteFields out;
  out.header = *header;
  out.destination = address_of(family, attributes[RTA_DST]);
  out.gateway = gateway_of(family, attributes);
  out.preferred_source = address_of(family, attributes[RTA_PREFSRC]);
  out.interface = number_of(attributes[RTA_OIF]).value_or(0);
  out.table = number_of(attributes[RTA_TABLE]).value_or(header->rtm_table);
  out.metric = number_of(attributes[RTA_PRIORITY]).value_or(0);
  parse_hops(attributes[RTA_MULTIPATH], family, out.hops);
  if (attributes[RTA_METRICS] != nullptr)
    out.mtu = number_of(Attributes<RTAX_MTU>{*attributes[RTA_METRICS]}[RTAX_MTU]).value_or(0);
  return out;
}

std::optional<Event> parse_route(const nlmsghdr& message) {
  auto fields = parse_route_fields(message);
  if (!fields || (fields->header.rtm_flags & RTM_F_CLONED) != 0) return std::nullopt;
  const net::IpAddress any = fields->header.rtm_family == AF_INET ? net::IpAddress{net::Ipv4Address{}}
                                                                  : net::IpAddress{net::Ipv6Address{}};
  const net::IpAddress destination = fields->destination.value_or(any);
  if (fields->header.rtm_dst_len > destination.bit_count()) return std::nullopt;
  return Change<Route>{
      .value = {.destination = net::Prefix::containing(destination, fields->header.rtm_dst_len),
                .type = to_route_type(fields->header.rtm_type),
                .table = fields->table,
                .interface = fields->interface,
                .gateway = fields->gateway,
                .hops = std::move(fields->hops),
                .metric = fields->metric,
                .dead = (fields->header.rtm_flags & RTNH_F_DEAD) != 0},
      .present = message.nlmsg_type == RTM_NEWROUTE,
      .replaces = message.nlmsg_type == RTM_NEWROUTE && (message.nlmsg_flags & NLM_F_REPLACE) != 0};
}

// The rules that every kernel starts with (fib_default_rules_init, fib6_rules_net_init).
bool is_first_rule(std::uint32_t priority, std::uint32_t table) {
  constexpr std::uint32_t kMainPriority = 32766;
  constexpr std::uint32_t kDefaultPriority = 32767;
  return (priority == 0 && table == RT_TABLE_LOCAL) ||
         (priority == kMainPriority && table == RT_TABLE_MAIN) ||
         (priority == kDefaultPriority && table == RT_TABLE_DEFAULT);
}

}  // namespace

std::optional<Rule> parse_rule(const nlmsghdr& message) {
  const auto* header = fixed_header<fib_rule_hdr>(message);
  if (message.nlmsg_type != RTM_NEWRULE || header == nullptr) return std::nullopt;
  if (header->family != AF_INET && header->family != AF_INET6) return std::nullopt;
  const Attributes<FRA_DPORT_RANGE> attributes{message, sizeof *header};
  Rule rule{.family = header->family == AF_INET ? net::Family::kIpv4 : net::Family::kIpv6};
  rule.own = header->action == FR_ACT_TO_TBL && header->src_len == 0 && header->dst_len == 0 &&
             header->tos == 0 && (header->flags & FIB_RULE_INVERT) == 0 &&
             is_first_rule(number_of(attributes[FRA_PRIORITY]).value_or(0),
                           number_of(attributes[FRA_TABLE]).value_or(header->table));
  for (const int selector : {FRA_IIFNAME, FRA_OIFNAME, FRA_FWMARK, FRA_L3MDEV, FRA_UID_RANGE, FRA_IP_PROTO,
                             FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_TUN_ID})
    rule.own &= attributes[static_cast<std::size_t>(selector)] == nullptr;
  return rule;
}

std::optional<Event> parse_event(const nlmsghdr& message) {
  switch (message.nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: return parse_link(message);
    case RTM_NEWADDR:
    case RTM_DELADDR: return parse_address(message);
    case RTM_NEWROUTE:
    case RTM_DELROUTE: return parse_route(message);
    default: return std::nullopt;
  }
}

std::optional<FibAnswer> parse_fib_answer(const nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWROUTE) return std::nullopt;
  const auto fields = parse_route_fields(message);
  if (!fields) return std::nullopt;
  return FibAnswer{.type = to_route_type(fields->header.rtm_type),
                   .interface = fields->interface,
                   .gateway = fields->gateway,
                   .preferred_source = fields->preferred_source,
                   .mtu = fields->mtu,
                   .table = fields->table};
}

std::optional<int> parse_error(const nlmsghdr& message) {
  if (message.nlmsg_type != NLMSG_ERROR) return std::nullopt;
  const auto* error = fixed_header<nlmsgerr>(message);
  return error != nullptr ? -error->error : EPROTO;
}

}  // namespace cordon::netlink
