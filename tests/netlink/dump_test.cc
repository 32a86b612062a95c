#include "netlink/dump.h"

#include <doctest/doctest.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "netlink/monitor.h"

namespace cordon::netlink {
namespace {

TEST_CASE("dump: the network is read whole: every link, and for every address of ours a local route") {
  const auto network = read_network();
  if (!network) FAIL(base::describe(network.error()));
  const auto loopback = std::ranges::find(network->links, true, &Link::loopback);
  REQUIRE(loopback != network->links.end());
  CHECK(loopback->name == "lo");
  for (const Address& address : network->addresses) {
    CAPTURE(net::to_string(address.address));
    const auto link = std::ranges::find(network->links, address.interface, &Link::index);
    REQUIRE(link != network->links.end());
    if (!link->up) continue;  // then it has no route
    CHECK(std::ranges::any_of(network->routes, [&](const Route& route) {
      return route.table == RT_TABLE_LOCAL && route.type == RouteType::kLocal &&
             route.destination.contains(address.address);
    }));
  }
}

TEST_CASE("dump: folded into a state it is what the monitor has") {
  const auto network = read_network();
  const auto monitor = Monitor::open(base::monotonic_now());
  REQUIRE(network);
  REQUIRE(monitor);
  HostState state;
  const auto now = base::Instant::from_nanos(0);
  state.begin_dump();
  for (const Link& link : network->links) state.apply(Change<Link>{link}, now);
  for (const Address& address : network->addresses) state.apply(Change<Address>{address}, now);
  for (const Route& route : network->routes) state.apply(Change<Route>{route}, now);
  state.end_dump(now);
  CHECK(state.host_prefixes() == monitor->state().host_prefixes());
  CHECK(state.broadcast_prefixes() == monitor->state().broadcast_prefixes());
  CHECK(state.uplinks() == monitor->state().uplinks());
  CHECK(state.onlink_prefixes() == monitor->state().onlink_prefixes());
  CHECK(state.links() == monitor->state().links());
}

}  // namespace
}  // namespace cordon::netlink
