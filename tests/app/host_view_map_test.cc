// Addresses that mean others: what the guest says, what is meant, and what the kernel is asked about.
#include <doctest/doctest.h>

#include "app/host_snapshot.h"
#include "policy/decide.h"

using namespace cordon;
using namespace cordon::app;

namespace {

net::IpAddress ip(std::string_view text) { return *net::parse_ip(text); }

netlink::Route route(std::string_view to, unsigned length, netlink::RouteType type, std::uint32_t table,
                     std::uint32_t interface, std::optional<std::string_view> gateway = {}) {
  netlink::Route out{.destination = net::Prefix::containing(ip(to), length),
                     .type = type,
                     .table = table,
                     .interface = interface,
                     .gateway = {}};
  if (gateway) out.gateway = ip(*gateway);
  return out;
}

// lo, an uplink with 192.0.2.5, and a bridge that carries no default route.
netlink::Network world() {
  using enum netlink::RouteType;
  netlink::Network n;
  n.links = {{.index = 1, .name = "lo", .mtu = 65536, .up = true, .loopback = true, .carrier = true},
             {.index = 2, .name = "eth0", .mtu = 1500, .up = true, .loopback = false, .carrier = true},
             {.index = 3, .name = "br0", .mtu = 1500, .up = true, .loopback = false, .carrier = true}};
  n.addresses = {{.interface = 1, .address = ip("127.0.0.1"), .prefix_length = 8, .broadcast = {}},
                 {.interface = 1, .address = ip("::1"), .prefix_length = 128, .broadcast = {}},
                 {.interface = 2, .address = ip("192.0.2.5"), .prefix_length = 24, .broadcast = {}}};
  n.routes = {route("127.0.0.0", 8, kLocal, 255, 1),     route("::1", 128, kLocal, 255, 1),
              route("192.0.2.5", 32, kLocal, 255, 2),    route("192.0.2.0", 24, kUnicast, 254, 2),
              route("172.17.0.0", 16, kUnicast, 254, 3), route("0.0.0.0", 0, kUnicast, 254, 2, "192.0.2.1")};
  return n;
}

// As the drop-in plans it: the guest has the host's address, its gateway leads to loopback.
std::vector<FamilyPlan> families() {
  return {{.address = ip("192.0.2.5"),
           .prefix_length = 24,
           .gateway = ip("192.0.2.1"),
           .dns = ip("192.0.2.1"),
           .forwards_dns = true,
           .forwards_dns_over_tls = true,
           .more = {}}};
}
AddressMap map() {
  return {.pairs = {{ip("192.0.2.1"), ip("127.0.0.1")}, {ip("169.254.1.2"), ip("192.0.2.5")}},
          .real_gateway = true};
}

flow::Tuple to(std::string_view address, std::uint16_t port, flow::Protocol protocol = flow::Protocol::kTcp) {
  return {protocol, {ip("192.0.2.5"), net::Port{40000}}, {ip(address), net::Port{port}}};
}

}  // namespace

TEST_CASE("host view: a mapped address means another one, and the facts are that one's") {
  const auto network = world();
  SnapshotHost host{network};
  const HostView view{host, families(), map()};
  struct Row {
    std::string_view name;
    const char* seen;
    std::uint16_t port;
    const char* meant;
    bool mapped, forwarder, ours, is_host;
  };
  const Row rows[] = {
      {"the gateway is loopback", "192.0.2.1", 22, "127.0.0.1", true, false, false, true},
      {"in IPv4-mapped form, too", "::ffff:192.0.2.1", 22, "127.0.0.1", true, false, false, true},
      {"but for names", "192.0.2.1", 53, "192.0.2.1", false, true, false, false},
      {"and names over TLS", "192.0.2.1", 853, "192.0.2.1", false, true, false, false},
      {"the shared address", "169.254.1.2", 80, "192.0.2.5", true, false, false, true},
      {"the guest's own address", "192.0.2.5", 80, "192.0.2.5", false, false, true, true},
      {"a neighbour", "192.0.2.9", 80, "192.0.2.9", false, false, false, false},
      {"loopback itself", "127.0.0.1", 80, "127.0.0.1", false, false, false, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const auto tuple = to(row.seen, row.port);
    const auto facts = view.facts_of(tuple);
    CHECK(view.meant(tuple).remote.address == ip(row.meant));
    CHECK(view.meant(tuple).remote.port == tuple.remote.port);
    CHECK(facts.mapped == row.mapped);
    CHECK(facts.dns_forwarder == row.forwarder);
    CHECK(facts.sandbox_address == row.ours);
    CHECK(facts.dial.is_host == row.is_host);
  }
}

TEST_CASE("host view: a gateway that is not mapped is the network's where it is real, else ours") {
  const auto network = world();
  SnapshotHost host{network};
  auto plan = families();
  plan.front().forwards_dns = false;
  const HostView real{host, plan, {.pairs = {}, .real_gateway = true}};
  CHECK(!real.facts_of(to("192.0.2.1", 80)).sandbox_address);
  CHECK(!real.facts_of(to("192.0.2.1", 53)).dns_forwarder);
  CHECK(real.facts_of(to("192.0.2.1", 80)).dial.fib == policy::FibType::kUnicast);
  const HostView ours{host, plan, {}};
  CHECK(ours.facts_of(to("192.0.2.1", 80)).sandbox_address);
}

TEST_CASE("host view: every interface may be an uplink, but for loopback") {
  const auto network = world();
  SnapshotHost host{network};
  HostView view{host, families(), map()};
  CHECK(!view.look_up(ip("172.17.0.9")).oif_is_uplink);
  view.set_settings({.uplinks = {"*"}, .aliases = {}});
  view.refresh();
  CHECK(view.look_up(ip("172.17.0.9")).oif_is_uplink);
  CHECK(view.look_up(ip("198.51.100.1")).oif_is_uplink);
  CHECK(!view.look_up(ip("127.0.0.1")).oif_is_uplink);
}
