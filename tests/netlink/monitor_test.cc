#include "netlink/monitor.h"

#include <doctest/doctest.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cstring>

#include "netlink/parse.h"
#include "netlink/route_socket.h"
#include "tests/support/world.h"

namespace cordon::netlink {
namespace {

net::IpAddress ip(std::string_view text) { return *net::parse_ip(text); }

Monitor open_monitor() {
  test::World::get();
  auto monitor = Monitor::open(base::monotonic_now());
  REQUIRE(monitor);
  return std::move(*monitor);
}

}  // namespace

TEST_CASE("monitor: the first dump knows addresses, loopback, links and uplinks") {
  const Monitor monitor = open_monitor();
  const HostState& state = monitor.state();
  CHECK(state.is_host(ip("192.0.2.1")));
  CHECK(state.is_host(ip("2001:db8::1")));
  CHECK(state.is_host(ip("127.9.9.9")));
  CHECK(state.is_host(ip("::1")));
  CHECK(state.is_broadcast(ip("192.0.2.255")));
  CHECK_FALSE(state.is_host(ip("192.0.2.254")));
  CHECK_FALSE(state.is_host(ip("198.51.100.1")));
  const std::uint32_t up0 = ::if_nametoindex("up0");
  CHECK(state.uplinks() == std::vector<std::uint32_t>{up0});
  REQUIRE(state.link(up0) != nullptr);
  CHECK(state.link(up0)->name == "up0");
  CHECK(state.link(up0)->mtu == 1500);
  CHECK(state.link(1)->loopback);
}

TEST_CASE("monitor: nothing happened, nothing changed") {
  Monitor monitor = open_monitor();
  CHECK(monitor.drain(base::monotonic_now()) == DrainResult::kUnchanged);
}

// `ip` has returned, so the kernel has queued its announcement: no waiting is needed.
TEST_CASE("monitor: what appears is the host's at the next drain") {
  struct Case {
    std::string_view name;
    std::string add;
    std::string remove;
    std::string_view address;
  };
  const Case cases[] = {
      {"secondary address", "ip addr add 192.0.2.50/24 dev up0", "ip addr del 192.0.2.50/24 dev up0",
       "192.0.2.50"},
      {"point-to-point: ours, not the peer's", "ip addr add 203.0.113.1 peer 203.0.113.2 dev up0",
       "ip addr del 203.0.113.1 peer 203.0.113.2 dev up0", "203.0.113.1"},
      {"loopback prefix", "ip addr add 203.0.113.1/24 dev lo", "ip addr del 203.0.113.1/24 dev lo",
       "203.0.113.99"},
      {"AnyIP route", "ip route add local 203.0.113.0/24 dev lo", "ip route del local 203.0.113.0/24 dev lo",
       "203.0.113.9"},
      {"AnyIP route IPv6", "ip -6 route add local 2001:db8:9::/64 dev lo",
       "ip -6 route del local 2001:db8:9::/64 dev lo", "2001:db8:9::77"},
      {"local route in another table", "ip route add local 203.0.113.77/32 dev up0 table 77",
       "ip route del local 203.0.113.77/32 dev up0 table 77", "203.0.113.77"},
      {"tentative IPv6 address", "ip addr add 2001:db8::77/64 dev up0", "ip addr del 2001:db8::77/64 dev up0",
       "2001:db8::77"},
      {"on a link that is down",
       "ip link add dn0 type veth peer name dn1 && ip addr add 203.0.113.4/32 dev dn0", "ip link del dn0",
       "203.0.113.4"},
  };
  Monitor monitor = open_monitor();
  for (const Case& c : cases) {
    CAPTURE(c.name);
    // Forget what the case before left behind (rule Q).
    monitor.drain(base::monotonic_now());
    monitor.expire(base::monotonic_now() + kLingerAfterRemoval);
    REQUIRE_FALSE(monitor.state().is_host(ip(c.address)));
    test::run(c.add);
    CHECK(monitor.drain(base::monotonic_now()) == DrainResult::kChanged);
    CHECK(monitor.state().is_host(ip(c.address)));
    if (c.name.starts_with("point")) CHECK_FALSE(monitor.state().is_host(ip("203.0.113.2")));
    test::run(c.remove);
    monitor.drain(base::monotonic_now());
    CHECK(monitor.state().is_host(ip(c.address)));
    CHECK(monitor.expire(base::monotonic_now() + kLingerAfterRemoval));
    CHECK_FALSE(monitor.state().is_host(ip(c.address)));
  }
}

TEST_CASE("monitor: an address that came and went between two drains is remembered") {
  Monitor monitor = open_monitor();
  test::run("ip addr add 203.0.113.5/32 dev up0 && ip addr del 203.0.113.5/32 dev up0");
  CHECK(monitor.drain(base::monotonic_now()) == DrainResult::kChanged);
  CHECK(monitor.state().is_host(ip("203.0.113.5")));
}

TEST_CASE("monitor: after a real overrun the state is read again and is whole") {
  Monitor monitor = open_monitor();
  // Far more announcements than the receive queue holds; the last address must be known although its own was
  // lost.
  test::run(
      "for i in $(seq 1 3000); do echo addr add 203.0.113.6/32 dev up0; echo addr del 203.0.113.6/32 dev "
      "up0; done "
      "| ip -batch - && ip addr add 203.0.113.8/32 dev up0");
  CHECK(monitor.drain(base::monotonic_now()) == DrainResult::kChanged);
  CHECK(monitor.overruns() > 0);
  CHECK_FALSE(monitor.stale());
  CHECK(monitor.state().is_host(ip("203.0.113.8")));
  test::run("ip addr del 203.0.113.8/32 dev up0");
}

TEST_CASE("monitor: uplinks follow default routes") {
  Monitor monitor = open_monitor();
  test::run("ip route replace default dev lo");
  test::run("ip -6 route del default");
  monitor.drain(base::monotonic_now());
  CHECK(monitor.state().uplinks() == std::vector<std::uint32_t>{1});
  test::run("ip route replace default via 192.0.2.254 && ip -6 route add default via 2001:db8::fe");
  monitor.drain(base::monotonic_now());
  CHECK(monitor.state().uplinks() == std::vector<std::uint32_t>{::if_nametoindex("up0")});
}

TEST_CASE("monitor: each hop of a multipath route is an uplink, a gateway may be of the other family") {
  Monitor monitor = open_monitor();
  test::run("ip link add mp0 type veth peer name mp1 && ip link set mp0 up && ip link set mp1 up");
  test::run("ip addr add 203.0.113.9/30 dev mp0");
  test::run("ip route replace default nexthop via 192.0.2.254 dev up0 nexthop via 203.0.113.10 dev mp0");
  test::run("ip route add 203.0.113.140/32 via inet6 2001:db8::fe dev up0");
  monitor.drain(base::monotonic_now());
  std::vector<std::uint32_t> hops = {::if_nametoindex("up0"), ::if_nametoindex("mp0")};
  std::ranges::sort(hops);
  CHECK(monitor.state().uplinks() == hops);
  const auto answer = monitor.fib().lookup(ip("203.0.113.140"));
  REQUIRE(answer);
  CHECK_FALSE(answer->on_link());
  CHECK(answer->gateway == ip("2001:db8::fe"));
  test::run("ip route del 203.0.113.140/32 && ip route replace default via 192.0.2.254 && ip link del mp0");
  monitor.drain(base::monotonic_now());
  CHECK(monitor.state().uplinks() == std::vector<std::uint32_t>{::if_nametoindex("up0")});
}

TEST_CASE("fib: classes of destinations") {
  Monitor monitor = open_monitor();
  test::run("ip route add unreachable 203.0.113.64/28 && ip route add prohibit 203.0.113.80/28");
  test::run(
      "ip route add blackhole 203.0.113.96/28 && ip route add 203.0.113.112/28 via 192.0.2.254 mtu 1300");
  test::run("ip route add unreachable 2001:db8:77::/48");
  monitor.drain(base::monotonic_now());
  struct Case {
    std::string_view destination;
    RouteType type;
    bool on_link;
    std::uint32_t mtu;
  };
  const Case cases[] = {
      {"198.51.100.1", RouteType::kUnicast, false, 0},
      {"192.0.2.77", RouteType::kUnicast, true, 0},
      {"192.0.2.1", RouteType::kLocal, false, 0},
      {"127.0.0.5", RouteType::kLocal, false, 0},
      {"192.0.2.255", RouteType::kBroadcast, false, 0},
      {"203.0.113.65", RouteType::kUnreachable, false, 0},
      {"2001:db8:77::1", RouteType::kUnreachable, false, 0},
      {"203.0.113.81", RouteType::kProhibit, false, 0},
      {"203.0.113.97", RouteType::kBlackhole, false, 0},
      {"203.0.113.113", RouteType::kUnicast, false, 1300},
      {"2001:db8:1::1", RouteType::kUnicast, false, 0},
      {"2001:db8::77", RouteType::kUnicast, true, 0},
      {"2001:db8::1", RouteType::kLocal, false, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.destination);
    const auto answer = monitor.fib().lookup(ip(c.destination));
    REQUIRE(answer);
    CHECK(answer->type == c.type);
    CHECK(answer->on_link() == c.on_link);
    CHECK(answer->mtu == c.mtu);
    if (c.type == RouteType::kUnicast) CHECK(answer->interface == ::if_nametoindex("up0"));
  }
  test::run("ip route del unreachable 203.0.113.64/28 && ip route del prohibit 203.0.113.80/28");
  test::run("ip route del blackhole 203.0.113.96/28 && ip route del 203.0.113.112/28");
  test::run("ip route del unreachable 2001:db8:77::/48");
  test::run("ip route del default via 192.0.2.254 && ip route del default via 2001:db8::fe");
  monitor.drain(base::monotonic_now());
  for (const auto* const nowhere : {"198.51.100.1", "2001:db8:1::1"})
    CHECK(monitor.fib().lookup(ip(nowhere))->type == RouteType::kNone);
  test::run("ip route add default via 192.0.2.254 && ip route add default via 2001:db8::fe");
}

TEST_CASE("fib: a cached answer lives until the next route event") {
  Monitor monitor = open_monitor();
  const auto destination = ip("203.0.113.130");
  CHECK(monitor.fib().lookup(destination)->type == RouteType::kUnicast);
  test::run("ip route add local 203.0.113.130/32 dev lo");
  CHECK(monitor.fib().lookup(destination)->type == RouteType::kUnicast);  // cached: the drain comes first
  CHECK(monitor.fib().lookup_fresh(destination)->type == RouteType::kLocal);
  monitor.drain(base::monotonic_now());
  CHECK(monitor.fib().lookup(destination)->type == RouteType::kLocal);
  test::run("ip route del local 203.0.113.130/32 dev lo");
}

TEST_CASE("route socket: a request that does not fit is not sent, and nothing waits for its answer") {
  test::World::get();
  auto socket = RouteSocket::open();
  REQUIRE(socket);
  Request request{RTM_GETROUTE, 0, rtmsg{}};
  const std::vector<std::uint8_t> large(40'000);
  request.attribute(RTA_DST, large).address(RTA_DST, ip("192.0.2.1"));
  CHECK_FALSE(socket->send(request));
  CHECK(socket->receive([](const nlmsghdr&) {}) == ReceiveResult::kEmpty);
}

TEST_CASE("parse: messages cut short or contradictory yield nothing, never more than was sent") {
  struct {
    nlmsghdr message;
    std::array<std::byte, 64> bytes;
  } packet{};
  auto& bytes = packet.bytes;
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = 24;
  header.ifa_index = 2;
  rtattr attribute{.rta_len = 8, .rta_type = IFA_LOCAL};
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, &attribute, sizeof attribute);
  const auto parse = [&](std::size_t size) {
    packet.message.nlmsg_type = RTM_NEWADDR;
    packet.message.nlmsg_len = static_cast<std::uint32_t>(sizeof packet.message + size);
    return parse_event(packet.message);
  };
  CHECK(parse(sizeof header + 8));
  for (std::size_t size = 0; size < sizeof header + 8; ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse(size));
  }
  attribute.rta_len = 9;  // five bytes are no IPv4 address
  std::memcpy(bytes.data() + sizeof header, &attribute, sizeof attribute);
  CHECK_FALSE(parse(sizeof header + 12));
  attribute.rta_len = 3;  // shorter than its own header
  std::memcpy(bytes.data() + sizeof header, &attribute, sizeof attribute);
  CHECK_FALSE(parse(sizeof header + 12));
  attribute.rta_len = 8;
  header.ifa_prefixlen = 33;
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, &attribute, sizeof attribute);
  CHECK_FALSE(parse(sizeof header + 8));
}

}  // namespace cordon::netlink
