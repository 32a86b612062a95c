#include "app/host_snapshot.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace cordon::app {
namespace {

using netlink::FibAnswer;
using netlink::RouteType;

net::IpAddress ip(std::string_view text) { return net::parse_ip(text).value(); }
net::Prefix prefix(std::string_view text) { return net::parse_prefix(text).value(); }

netlink::Route route(std::string_view to, RouteType type, std::uint32_t table, std::uint32_t interface = 0,
                     std::optional<std::string_view> gateway = {}, std::uint32_t metric = 0) {
  netlink::Route out{
      .destination = prefix(to), .type = type, .table = table, .interface = interface, .gateway = {}};
  if (gateway) out.gateway = ip(*gateway);
  out.metric = metric;
  return out;
}

// lo, an uplink with two default routes, a bridge of containers, and what the kernel adds to the local table.
Snapshot world() {
  Snapshot snapshot{.taken = base::WallTime{std::chrono::seconds{1790856000}}, .network = {}};
  netlink::Network& n = snapshot.network;
  n.links = {{.index = 1, .name = "lo", .mtu = 65536, .up = true, .loopback = true, .carrier = true},
             {.index = 2, .name = "eth0", .mtu = 1500, .up = true, .loopback = false, .carrier = true},
             {.index = 3, .name = "br-0", .mtu = 1500, .up = true, .loopback = false, .carrier = false}};
  n.addresses = {
      {.interface = 1, .address = ip("127.0.0.1"), .prefix_length = 8, .broadcast = {}},
      {.interface = 2, .address = ip("192.0.2.5"), .prefix_length = 24, .broadcast = ip("192.0.2.255")},
      {.interface = 3, .address = ip("172.17.0.1"), .prefix_length = 16, .broadcast = {}},
      {.interface = 2, .address = ip("2001:db8::5"), .prefix_length = 64, .broadcast = {}}};
  n.routes = {route("127.0.0.0/8", RouteType::kLocal, 255, 1),
              route("192.0.2.5", RouteType::kLocal, 255, 2),
              route("192.0.2.255", RouteType::kBroadcast, 255, 2),
              route("198.51.100.128/25", RouteType::kLocal, 255, 1),
              route("2001:db8::5", RouteType::kLocal, 255, 2),
              route("0.0.0.0/0", RouteType::kUnicast, 254, 2, "192.0.2.9", 200),
              route("0.0.0.0/0", RouteType::kUnicast, 254, 2, "192.0.2.1", 100),
              route("192.0.2.0/24", RouteType::kUnicast, 254, 2),
              route("172.17.0.0/16", RouteType::kUnicast, 254, 3),
              route("203.0.113.0/24", RouteType::kBlackhole, 254),
              route("203.0.113.64/26", RouteType::kUnicast, 254, 2, "192.0.2.7"),
              route("198.51.100.0/24", RouteType::kProhibit, 254),
              route("198.18.0.0/15", RouteType::kOther, 254),
              route("198.18.0.0/15", RouteType::kUnicast, 253, 2, "192.0.2.8"),
              route("233.252.0.0/24", RouteType::kUnicast, 100, 3),
              route("2001:db8::/64", RouteType::kUnicast, 254, 2),
              route("::/0", RouteType::kUnicast, 254, 2, "fe80::1", 1024)};
  netlink::Route many = route("10.0.0.0/8", RouteType::kUnicast, 254);
  many.hops = {{.interface = 3, .gateway = ip("172.17.0.9"), .dead = true},
               {.interface = 2, .gateway = ip("192.0.2.33"), .dead = false}};
  n.routes.push_back(many);
  netlink::Route dead = route("10.1.0.0/16", RouteType::kUnicast, 254, 3);
  dead.dead = true;
  n.routes.push_back(dead);
  n.more_rules_ipv6 = 2;
  return snapshot;
}

TEST_CASE("snapshot: a route is the longest prefix of the local table, then of main, then of default") {
  SnapshotHost host{world().network};
  struct Case {
    std::string_view name, to;
    FibAnswer wanted;
  };
  const auto unicast = [](std::uint32_t interface, std::string_view gateway, std::uint32_t table = 254) {
    FibAnswer out{.type = RouteType::kUnicast, .interface = interface, .table = table};
    if (!gateway.empty()) out.gateway = ip(gateway);
    return out;
  };
  const Case cases[] = {
      {"the default of the lower metric", "8.8.8.8", unicast(2, "192.0.2.1")},
      {"on the link", "192.0.2.77", unicast(2, "")},
      {"a container", "172.17.0.2", unicast(3, "")},
      {"the host's own, by loopback", "192.0.2.5", {.type = RouteType::kLocal, .interface = 1, .table = 255}},
      {"loopback", "127.1.2.3", {.type = RouteType::kLocal, .interface = 1, .table = 255}},
      {"the local table goes first",
       "198.51.100.200",
       {.type = RouteType::kLocal, .interface = 1, .table = 255}},
      {"a prohibited prefix", "198.51.100.7", {.type = RouteType::kProhibit, .table = 254}},
      {"a broadcast address", "192.0.2.255", {.type = RouteType::kBroadcast, .interface = 2, .table = 255}},
      {"a blackhole", "203.0.113.1", {.type = RouteType::kBlackhole, .table = 254}},
      {"a longer prefix inside of it", "203.0.113.65", unicast(2, "192.0.2.7")},
      {"thrown to the next table", "198.18.0.1", unicast(2, "192.0.2.8", 253)},
      {"a table nobody asks", "233.252.0.1", {.type = RouteType::kMulticast}},
      {"the first hop that lives", "10.2.0.1", unicast(2, "192.0.2.33")},
      {"a dead route is passed over", "10.1.0.1", unicast(2, "192.0.2.33")},
      {"every multicast group", "224.0.0.251", {.type = RouteType::kMulticast}},
      {"the limited broadcast", "255.255.255.255", {.type = RouteType::kBroadcast}},
      {"IPv6, by the default", "2001:db8:1::1", unicast(2, "fe80::1")},
      {"IPv6, on the link", "2001:db8::77", unicast(2, "")},
      {"IPv6, the host's own", "2001:db8::5", {.type = RouteType::kLocal, .interface = 1, .table = 255}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto answer = host.route(ip(c.to));
    REQUIRE(answer);
    CHECK(*answer == c.wanted);
  }
  CHECK(host.state().is_host(ip("198.51.100.200")));
  CHECK_FALSE(host.state().is_host(ip("192.0.2.77")));
  CHECK(host.state().is_broadcast(ip("192.0.2.255")));
  CHECK(host.state().uplinks() == std::vector<std::uint32_t>{2});
}

TEST_CASE("snapshot: without any route nothing is reached") {
  SnapshotHost host{netlink::Network{}};
  CHECK(host.route(ip("192.0.2.1"))->type == RouteType::kUnreachable);
  CHECK(host.route(ip("2001:db8::1"))->type == RouteType::kUnreachable);
  CHECK(host.state().uplinks().empty());
}

TEST_CASE("snapshot: what is written is read back") {
  const Snapshot before = world();
  const auto after = read_snapshot(write_snapshot(before));
  if (!after) FAIL(after.error());
  CHECK(after->taken == before.taken);
  CHECK(after->network == before.network);
}

TEST_CASE("snapshot: this host, written and read back, answers as the kernel does") {
  const auto network = netlink::read_network();
  REQUIRE(network);
  const auto back = read_snapshot(write_snapshot({.taken = {}, .network = *network}));
  if (!back) FAIL(back.error());
  CHECK(back->network == *network);
  SnapshotHost snapshot{back->network};
  auto monitor = netlink::Monitor::open(base::monotonic_now());
  REQUIRE(monitor);
  LiveHost live{*monitor};
  CHECK(snapshot.state().uplinks() == live.state().uplinks());
  CHECK(snapshot.state().host_prefixes() == live.state().host_prefixes());
  if (network->more_rules_ipv4 + network->more_rules_ipv6 != 0) return;
  std::vector<net::IpAddress> asked = {ip("192.0.2.1"), ip("127.0.0.1"), ip("::1"), ip("2001:db8::1")};
  for (const auto& address : network->addresses)
    if (!net::is_link_local(address.address)) asked.push_back(address.address);
  for (const auto& address : asked) {
    CAPTURE(net::to_string(address));
    const auto theirs = live.route(address);
    const auto ours = snapshot.route(address);
    REQUIRE(theirs);
    REQUIRE(ours);
    CHECK(ours->type == theirs->type);
    CHECK(ours->interface == theirs->interface);
    CHECK(ours->gateway == theirs->gateway);
  }
}

// A small snapshot as text; each case changes one thing of it.
constexpr std::string_view kGood =
    R"({"version": 1, "taken": "2026-10-01T12:00:00Z", "more_rules": {"ipv4": 0, "ipv6": 0},
"links": [{"index": 1, "name": "lo", "mtu": 65536, "up": true, "loopback": true}],
"addresses": [{"interface": 1, "address": "127.0.0.1", "length": 8}],
"routes": [{"destination": "127.0.0.0/8", "type": "local", "table": 255, "interface": 1}]})";

TEST_CASE("snapshot: a file that is wrong is refused with its place") {
  REQUIRE(read_snapshot(kGood));
  struct Case {
    std::string_view name, instead_of, is, says;
  };
  const Case cases[] = {
      {"another version", "\"version\": 1", "\"version\": 2", "/version: this cordon reads"},
      {"no version", "\"version\": 1,", "", "the document: the key \"version\" is missing"},
      {"a time that is none", "2026-10-01T12:00:00Z", "now", "/taken: \"now\" is not a time"},
      {"an unknown key", "\"version\": 1,", "\"version\": 1, \"x\": 2,", "the document: unknown key \"x\""},
      {"a key twice", "\"version\": 1,", "\"version\": 1, \"version\": 1,", "a key is given twice"},
      {"not JSON", "\"links\"", "links", "2:1: not valid JSON"},
      {"cut off", "\"interface\": 1}]}", "\"interface\": 1}]", "not valid JSON"},
      {"something behind it", "\"interface\": 1}]}", "\"interface\": 1}]} x", "not valid JSON"},
      {"too deep", "[{\"index\"", "[[[[[]]]],{\"index\"", "nested deeper"},
      {"a list that is none", "[{\"interface\": 1, \"address\": \"127.0.0.1\", \"length\": 8}]", "7",
       "/addresses: not a list"},
      {"an item that is none", "{\"interface\": 1, \"address\": \"127.0.0.1\", \"length\": 8}", "7",
       "/addresses/0: not an object"},
      {"an index of 0", "\"index\": 1", "\"index\": 0", "/links/0/index: not a whole number from 1"},
      {"a negative index", "\"index\": 1", "\"index\": -1", "/links/0/index: not a whole number"},
      {"a fraction", "\"index\": 1", "\"index\": 1.5", "/links/0/index: not a whole number"},
      {"a huge number", "\"mtu\": 65536", "\"mtu\": 4294967296", "/links/0/mtu: not a whole number"},
      {"a name of controls", "\"lo\"", "\"l\\u001b\"", "/links/0/name: not a name"},
      {"a long name", "\"lo\"", "\"abcdefghijklmnop\"", "/links/0/name: not a name"},
      {"no name", "\"lo\"", "\"\"", "/links/0/name: not a name"},
      {"a flag that is none", "\"up\": true", "\"up\": 1", "/links/0/up: not true or false"},
      {"an address that is none", "\"127.0.0.1\"", "\"127.0.0.256\"",
       "/addresses/0/address: \"127.0.0.256\""},
      {"a number as address", "\"127.0.0.1\"", "1", "/addresses/0/address: not a string"},
      {"a length too long", "\"length\": 8", "\"length\": 33",
       "/addresses/0/length: not a whole number from 0 to 32"},
      {"a broadcast of the other family", "\"length\": 8", "\"length\": 8, \"broadcast\": \"::1\"",
       "/addresses/0/broadcast: not of the address's family"},
      {"host bits", "127.0.0.0/8", "127.0.0.1/8", "/routes/0/destination: \"127.0.0.1/8\" is not a network"},
      {"a type nobody knows", "\"local\"", "\"nonlocal\"", "/routes/0/type: \"nonlocal\" is not a type"},
      {"no table", "\"table\": 255,", "", "/routes/0: the key \"table\" is missing"},
      {"a hop of nowhere", "\"table\": 255", "\"table\": 255, \"hops\": [{}]",
       "/routes/0/hops/0: the key \"interface\" is missing"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    std::string text{kGood};
    const auto at = text.find(c.instead_of);
    REQUIRE(at != std::string::npos);
    text.replace(at, c.instead_of.size(), c.is);
    const auto snapshot = read_snapshot(text);
    REQUIRE_FALSE(snapshot);
    CAPTURE(snapshot.error());
    CHECK(snapshot.error().find(c.says) != std::string::npos);
  }
  CHECK(read_snapshot("").error() == "1:1: the file is empty");
  CHECK(read_snapshot("null").error() == "the document: not an object");
  CHECK(read_snapshot(std::string(kMaxSnapshotBytes + 1, ' ')).error() == "larger than 16 MiB");
}

}  // namespace
}  // namespace cordon::app
