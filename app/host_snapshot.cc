#include "app/host_snapshot.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>

namespace cordon::app {
namespace {

using netlink::FibAnswer;
using netlink::RouteType;

constexpr std::array<std::uint32_t, 3> kTables = {RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT};
constexpr net::IpAddress kLimitedBroadcast = net::Ipv4Address{255, 255, 255, 255};

bool is_dead(const netlink::Route& route) {
  return route.dead || (!route.hops.empty() && std::ranges::all_of(route.hops, &netlink::Hop::dead));
}

// What ip_route_output_key_hash answers without a look into a table.
std::optional<RouteType> without_table(const net::IpAddress& destination) {
  if (!destination.is_v4()) return std::nullopt;
  if (net::is_multicast(destination)) return RouteType::kMulticast;
  if (destination == kLimitedBroadcast) return RouteType::kBroadcast;
  if (net::is_unspecified(destination)) return RouteType::kLocal;
  return std::nullopt;
}

}  // namespace

SnapshotHost::SnapshotHost(const netlink::Network& network) {
  const base::Instant now = base::Instant::from_nanos(0);
  state_.begin_dump();
  const auto fold = [&](const auto& values) {
    using T = std::decay_t<decltype(values.front())>;
    for (const auto& value : values) state_.apply(netlink::Change<T>{value}, now);
  };
  fold(network.links);
  fold(network.addresses);
  fold(network.routes);
  state_.end_dump(now);

  for (const netlink::Link& link : network.links)
    if (link.loopback && loopback_ == 0) loopback_ = link.index;
  for (const netlink::Route& route : network.routes)
    if (!is_dead(route)) tables_[route.table].push_back(route);
  for (auto& [number, routes] : tables_)
    std::ranges::stable_sort(routes, [](const netlink::Route& a, const netlink::Route& b) {
      if (a.destination.length() != b.destination.length())
        return a.destination.length() > b.destination.length();
      return a.metric < b.metric;
    });
}

FibAnswer SnapshotHost::answer(const netlink::Route& route) const {
  FibAnswer out{
      .type = route.type, .interface = route.interface, .gateway = route.gateway, .table = route.table};
  if (const auto hop = std::ranges::find(route.hops, false, &netlink::Hop::dead); hop != route.hops.end()) {
    out.interface = hop->interface;
    out.gateway = hop->gateway;
  }
  // Packets to an address of the host never leave by its interface, whatever the route names.
  if (route.type == RouteType::kLocal) out.interface = loopback_;
  return out;
}

FibAnswer SnapshotHost::look_up(const net::IpAddress& destination) const {
  if (const auto type = without_table(destination))
    return {.type = *type, .interface = *type == RouteType::kLocal ? loopback_ : 0};
  for (const std::uint32_t number : kTables) {
    const auto table = tables_.find(number);
    if (table == tables_.end()) continue;
    for (const netlink::Route& route : table->second) {
      if (!route.destination.contains(destination)) continue;
      if (route.type == RouteType::kOther) break;  // throw: on to the next table
      return answer(route);
    }
  }
  return {.type = RouteType::kUnreachable};
}

}  // namespace cordon::app
