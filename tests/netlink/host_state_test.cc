#include "netlink/host_state.h"

#include <doctest/doctest.h>

namespace cordon::netlink {
namespace {

using namespace std::chrono_literals;

net::IpAddress ip(std::string_view text) { return *net::parse_ip(text); }
net::Prefix prefix(std::string_view text) { return *net::parse_prefix(text); }
constexpr base::Instant at(std::int64_t seconds) {
  return base::Instant::from_nanos(seconds * 1'000'000'000);
}

Event link(std::uint32_t index, bool loopback = false, bool present = true) {
  return Change<Link>{
      {.index = index, .name = "if" + std::to_string(index), .mtu = 1500, .up = true, .loopback = loopback},
      present};
}
Event address(std::uint32_t interface, std::string_view text, unsigned length, bool present = true) {
  return Change<Address>{
      {.interface = interface, .address = ip(text), .prefix_length = length, .broadcast = {}}, present};
}
Event route(RouteType type, std::string_view destination, std::uint32_t interface, std::uint32_t table = 255,
            bool present = true, bool replaces = false) {
  return Change<Route>{{.destination = prefix(destination),
                        .type = type,
                        .table = table,
                        .interface = interface,
                        .gateway = {}},
                       present,
                       replaces};
}

}  // namespace

TEST_CASE("host state: what makes an address the host's") {
  struct Case {
    std::string_view name;
    std::vector<Event> events;
    std::string_view inside;
    std::string_view outside;
  };
  const Case cases[] = {
      {"a primary address", {link(2), address(2, "192.0.2.1", 24)}, "192.0.2.1", "192.0.2.2"},
      {"a secondary address of the same subnet",
       {link(2), address(2, "192.0.2.1", 24), address(2, "192.0.2.9", 24)},
       "192.0.2.9",
       "192.0.2.8"},
      {"an address on a link never seen", {address(7, "192.0.2.1", 24)}, "192.0.2.1", "192.0.2.2"},
      {"an IPv6 address", {link(2), address(2, "2001:db8::5", 64)}, "2001:db8::5", "2001:db8::6"},
      {"the subnet-router anycast address",
       {link(2), address(2, "2001:db8::5", 64)},
       "2001:db8::",
       "2001:db8::1"},
      {"no anycast address in a /127",
       {link(2), address(2, "2001:db8::5", 127)},
       "2001:db8::5",
       "2001:db8::4"},
      {"the whole prefix on loopback",
       {link(1, true), address(1, "198.51.100.1", 24)},
       "198.51.100.77",
       "198.51.101.1"},
      {"a local route without an address (AnyIP)",
       {link(1, true), route(RouteType::kLocal, "203.0.113.0/24", 1)},
       "203.0.113.200",
       "203.0.114.0"},
      {"a local route in a VRF's table",
       {link(3), route(RouteType::kLocal, "203.0.113.7/32", 3, 1007)},
       "203.0.113.7",
       "203.0.113.8"},
      {"an anycast route",
       {link(2), route(RouteType::kAnycast, "2001:db8:7::/128", 2)},
       "2001:db8:7::",
       "2001:db8:7::1"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    HostState state;
    bool gained = false;
    for (const Event& event : c.events) gained |= state.apply(event, at(0)).gained;
    CHECK(gained);
    CHECK(state.is_host(ip(c.inside)));
    CHECK_FALSE(state.is_host(ip(c.outside)));
  }
}

TEST_CASE("host state: a broadcast address is not the host's, and known as what it is") {
  HostState state;
  state.apply(link(2), at(0));
  state.apply(
      Change<Address>{
          {.interface = 2, .address = ip("192.0.2.1"), .prefix_length = 24, .broadcast = ip("192.0.2.255")}},
      at(0));
  state.apply(route(RouteType::kBroadcast, "192.0.2.0/32", 2), at(0));
  CHECK(state.is_broadcast(ip("192.0.2.255")));
  CHECK(state.is_broadcast(ip("192.0.2.0")));
  CHECK_FALSE(state.is_host(ip("192.0.2.255")));
}

TEST_CASE("host state: an address that vanished stays the host's for 30 s") {
  HostState state;
  state.apply(link(2), at(0));
  state.apply(address(2, "192.0.2.1", 24), at(0));
  CHECK_FALSE(state.apply(address(2, "192.0.2.1", 24, false), at(10)).gained);
  CHECK(state.is_host(ip("192.0.2.1")));
  CHECK_FALSE(state.expire(at(39)));
  CHECK(state.is_host(ip("192.0.2.1")));
  CHECK(state.expire(at(40)));
  CHECK_FALSE(state.is_host(ip("192.0.2.1")));
}

TEST_CASE("host state: an address that flips never opens a hole, and its clock starts anew") {
  HostState state;
  state.apply(link(2), at(0));
  for (std::int64_t second = 0; second < 100; second += 20) {
    state.apply(address(2, "192.0.2.1", 24), at(second));
    state.apply(address(2, "192.0.2.1", 24, false), at(second + 10));
    state.expire(at(second + 19));
    CHECK(state.is_host(ip("192.0.2.1")));
  }
  CHECK_FALSE(state.expire(at(119)));
  CHECK(state.expire(at(120)));
}

TEST_CASE("host state: an address with two holders needs both to go") {
  HostState state;
  state.apply(address(2, "192.0.2.1", 24), at(0));
  CHECK_FALSE(state.apply(address(3, "192.0.2.1", 24), at(0)).gained);
  state.apply(address(2, "192.0.2.1", 24, false), at(1));
  state.expire(at(100));
  CHECK(state.is_host(ip("192.0.2.1")));
}

TEST_CASE("host state: the same fact twice changes nothing") {
  HostState state;
  state.apply(link(2), at(0));
  state.apply(address(2, "192.0.2.1", 24), at(0));
  const auto again = state.apply(address(2, "192.0.2.1", 24), at(1));
  CHECK_FALSE(again.gained);
  CHECK_FALSE(again.changed);
  CHECK_FALSE(state.apply(link(2), at(1)).changed);
  // The kernel's local route for the address it just announced is no news either.
  CHECK_FALSE(state.apply(route(RouteType::kLocal, "192.0.2.1/32", 2), at(1)).gained);
}

TEST_CASE("host state: a dump confirms, and what it does not name has vanished") {
  HostState state;
  state.apply(link(2), at(0));
  state.apply(link(3), at(0));
  state.apply(address(2, "192.0.2.1", 24), at(0));
  state.apply(address(3, "203.0.113.1", 24), at(0));
  state.apply(route(RouteType::kUnicast, "0.0.0.0/0", 3, 254), at(0));
  CHECK(state.uplinks() == std::vector<std::uint32_t>{3});

  state.begin_dump();
  state.apply(link(2), at(5));
  state.apply(address(2, "192.0.2.1", 24), at(5));
  state.apply(address(2, "192.0.2.77", 24), at(5));
  CHECK(state.end_dump(at(5)).changed);

  CHECK(state.is_host(ip("192.0.2.77")));
  CHECK(state.link(3) == nullptr);
  CHECK(state.uplinks().empty());
  CHECK(state.is_host(ip("203.0.113.1")));  // rule Q
  CHECK(state.expire(at(35)));
  CHECK_FALSE(state.is_host(ip("203.0.113.1")));
  CHECK(state.is_host(ip("192.0.2.1")));
}

TEST_CASE("host state: a removed link takes its addresses, routes and on-link prefixes along") {
  HostState state;
  state.apply(link(2), at(0));
  state.apply(address(2, "192.0.2.1", 24), at(0));
  state.apply(route(RouteType::kUnicast, "0.0.0.0/0", 2, 254), at(0));
  CHECK(state.onlink_prefixes() == std::vector{prefix("192.0.2.0/24")});
  const auto effect = state.apply(link(2, false, false), at(1));
  CHECK(effect.changed);
  CHECK(effect.needs_dump);
  CHECK(state.uplinks().empty());
  CHECK(state.onlink_prefixes().empty());
  CHECK(state.expire(at(31)));
  CHECK(state.host_prefixes().empty());
}

TEST_CASE("host state: uplinks are the interfaces of default routes, each hop of a multipath route") {
  HostState state;
  state.apply(Change<Route>{{.destination = prefix("0.0.0.0/0"),
                             .table = 254,
                             .interface = 0,
                             .gateway = {},
                             .hops = {{.interface = 4}, {.interface = 2}}}},
              at(0));
  state.apply(route(RouteType::kUnicast, "::/0", 9, 254), at(0));
  state.apply(route(RouteType::kUnicast, "10.0.0.0/8", 5, 254), at(0));
  state.apply(route(RouteType::kUnreachable, "::/0", 1, 254), at(0));
  CHECK(state.uplinks() == std::vector<std::uint32_t>{2, 4, 9});
  state.apply(route(RouteType::kUnicast, "::/0", 9, 254, false), at(1));
  CHECK(state.uplinks() == std::vector<std::uint32_t>{2, 4});
}

TEST_CASE("host state: where the kernel replaces silently, a new dump is asked for") {
  HostState state;
  CHECK(state.apply(route(RouteType::kUnicast, "0.0.0.0/0", 2, 254, true, true), at(0)).needs_dump);
  state.apply(link(2), at(0));
  Event down = link(2);
  std::get<Change<Link>>(down).value.up = false;
  CHECK(state.apply(down, at(1)).needs_dump);
  CHECK_FALSE(state.apply(down, at(2)).needs_dump);
}

}  // namespace cordon::netlink
