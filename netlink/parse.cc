#include "netlink/parse.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cstring>

namespace cordon::netlink {
namespace {

// NLMSG_ALIGN, RTA_ALIGN and RTNH_ALIGN are all four bytes; the macros mix signed and unsigned.
constexpr std::size_t aligned(std::size_t length) { return (length + 3U) & ~std::size_t{3}; }

template <class T>
std::optional<T> read(base::Bytes bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// Calls visit(type, payload) for each well-formed attribute.
template <class Visit>
void each_attribute(base::Bytes bytes, Visit visit) {
  while (const auto header = read<rtattr>(bytes)) {
    if (header->rta_len < sizeof(rtattr) || header->rta_len > bytes.size()) return;
    visit(static_cast<unsigned>(header->rta_type & NLA_TYPE_MASK),
          bytes.subspan(sizeof(rtattr), header->rta_len - sizeof(rtattr)));
    const std::size_t step = aligned(header->rta_len);
    if (step >= bytes.size()) return;
    bytes = bytes.subspan(step);
  }
}

base::Bytes after(base::Bytes bytes, std::size_t header) {
  const std::size_t skip = aligned(header);
  return skip <= bytes.size() ? bytes.subspan(skip) : base::Bytes{};
}

std::optional<net::IpAddress> to_address(unsigned family, base::Bytes bytes) {
  if (family == AF_INET && bytes.size() == 4) return net::Ipv4Address::from_bytes(bytes.first<4>());
  if (family == AF_INET6 && bytes.size() == 16) return net::Ipv6Address::from_bytes(bytes.first<16>());
  return std::nullopt;
}

std::optional<Event> parse_link(const Message& message) {
  const auto info = read<ifinfomsg>(message.payload);
  // AF_BRIDGE messages speak of a bridge port, not of the link.
  if (!info || info->ifi_family != AF_UNSPEC || info->ifi_index <= 0) return std::nullopt;
  Change<Link> change;
  change.present = message.type == RTM_NEWLINK;
  change.value.index = static_cast<std::uint32_t>(info->ifi_index);
  change.value.up = (info->ifi_flags & IFF_UP) != 0;
  change.value.loopback = (info->ifi_flags & IFF_LOOPBACK) != 0;
  each_attribute(after(message.payload, sizeof *info), [&](unsigned type, base::Bytes bytes) {
    if (type == IFLA_IFNAME) {
      for (const std::byte b : bytes) {
        if (b == std::byte{0}) break;
        change.value.name.push_back(std::to_integer<char>(b));
      }
    } else if (type == IFLA_MTU) {
      change.value.mtu = read<std::uint32_t>(bytes).value_or(0);
    }
  });
  return change;
}

std::optional<Event> parse_address(const Message& message) {
  const auto info = read<ifaddrmsg>(message.payload);
  if (!info || (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)) return std::nullopt;
  std::optional<net::IpAddress> local;
  std::optional<net::IpAddress> address;
  Change<Address> change;
  change.present = message.type == RTM_NEWADDR;
  change.value.interface = info->ifa_index;
  change.value.prefix_length = info->ifa_prefixlen;
  each_attribute(after(message.payload, sizeof *info), [&](unsigned type, base::Bytes bytes) {
    if (type == IFA_LOCAL) local = to_address(info->ifa_family, bytes);
    if (type == IFA_ADDRESS) address = to_address(info->ifa_family, bytes);
    if (type == IFA_BROADCAST) change.value.broadcast = to_address(info->ifa_family, bytes);
  });
  if (!local) local = address;
  if (!local || info->ifa_prefixlen > local->bit_count()) return std::nullopt;
  change.value.address = *local;
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
  std::vector<std::uint32_t> hops;
};

void parse_hops(base::Bytes bytes, RouteFields& out) {
  while (const auto hop = read<rtnexthop>(bytes)) {
    if (hop->rtnh_len < sizeof(rtnexthop) || hop->rtnh_len > bytes.size()) return;
    if (hop->rtnh_ifindex > 0) out.hops.push_back(static_cast<std::uint32_t>(hop->rtnh_ifindex));
    const std::size_t step = aligned(hop->rtnh_len);
    if (step >= bytes.size()) return;
    bytes = bytes.subspan(step);
  }
}

std::optional<RouteFields> parse_route_fields(const Message& message) {
  const auto header = read<rtmsg>(message.payload);
  if (!header || (header->rtm_family != AF_INET && header->rtm_family != AF_INET6)) return std::nullopt;
  RouteFields out;
  out.header = *header;
  out.table = header->rtm_table;
  const unsigned family = header->rtm_family;
  each_attribute(after(message.payload, sizeof *header), [&](unsigned type, base::Bytes bytes) {
    switch (type) {
      case RTA_DST: out.destination = to_address(family, bytes); break;
      case RTA_GATEWAY: out.gateway = to_address(family, bytes); break;
      case RTA_VIA:
        if (const auto via = read<std::uint16_t>(bytes)) out.gateway = to_address(*via, bytes.subspan(2));
        break;
      case RTA_PREFSRC: out.preferred_source = to_address(family, bytes); break;
      case RTA_OIF: out.interface = read<std::uint32_t>(bytes).value_or(0); break;
      case RTA_TABLE: out.table = read<std::uint32_t>(bytes).value_or(out.table); break;
      case RTA_MULTIPATH: parse_hops(bytes, out); break;
      case RTA_METRICS:
        each_attribute(bytes, [&](unsigned metric, base::Bytes value) {
          if (metric == RTAX_MTU) out.mtu = read<std::uint32_t>(value).value_or(0);
        });
        break;
      default: break;
    }
  });
  return out;
}

std::optional<Event> parse_route(const Message& message) {
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
                .more_interfaces = std::move(fields->hops)},
      .present = message.type == RTM_NEWROUTE,
      .replaces = message.type == RTM_NEWROUTE && (message.flags & NLM_F_REPLACE) != 0};
}

}  // namespace

std::optional<Event> parse_event(const Message& message) {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: return parse_link(message);
    case RTM_NEWADDR:
    case RTM_DELADDR: return parse_address(message);
    case RTM_NEWROUTE:
    case RTM_DELROUTE: return parse_route(message);
    default: return std::nullopt;
  }
}

std::optional<FibAnswer> parse_fib_answer(const Message& message) {
  if (message.type != RTM_NEWROUTE) return std::nullopt;
  const auto fields = parse_route_fields(message);
  if (!fields) return std::nullopt;
  return FibAnswer{.type = to_route_type(fields->header.rtm_type),
                   .interface = fields->interface,
                   .gateway = fields->gateway,
                   .preferred_source = fields->preferred_source,
                   .mtu = fields->mtu,
                   .table = fields->table};
}

std::optional<int> parse_error(const Message& message) {
  if (message.type != NLMSG_ERROR) return std::nullopt;
  const auto error = read<nlmsgerr>(message.payload);
  return error ? -error->error : EPROTO;
}

}  // namespace cordon::netlink
