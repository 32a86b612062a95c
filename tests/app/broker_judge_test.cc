#include "app/broker_judge.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <net/if.h>
#include <unistd.h>

#include <array>
#include <string>

#include "policy/load.h"
#include "tests/app/guest_plan.h"
#include "tests/support/world.h"

namespace cordon::app {
namespace {

// Everything an explicit CIDR can open is open: what is refused below is refused by something else.
constexpr const char* kOpenPolicy =
    "version: 1\nname: open\negress:\n  - {name: all, allow: [0.0.0.0/0, \"::/0\", dns], ports: [tcp, udp, "
    "icmp/echo]}\n";

struct Rig {
  explicit Rig(const std::string& policy = kOpenPolicy) {
    test::World::get();
    REQUIRE(::pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0);
    const policy::Source source{"open.yaml", policy};
    auto loaded = policy::load(std::span(&source, 1));
    REQUIRE(loaded.policy);
    auto monitor = netlink::Monitor::open(now);
    REQUIRE(monitor);
    judge.emplace(dual_stack_plan(), std::make_shared<const policy::PolicySet>(std::move(*loaded.policy)),
                  std::move(*monitor), pipe[1]);
    judge->drain(now);
  }
  ~Rig() {
    ::close(pipe[0]);
    ::close(pipe[1]);
  }
  std::string audit() {
    std::string text(65536, '\0');
    const ssize_t n = ::read(pipe[0], text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  base::Instant now = base::monotonic_now();
  int pipe[2] = {-1, -1};
  std::optional<BrokerJudge> judge;
};

flow::Tuple to(std::string_view remote, std::uint16_t port, flow::Protocol protocol = flow::Protocol::kTcp) {
  const auto address = *net::parse_ip(remote);
  return {protocol,
          {*net::parse_ip(address.is_v4() ? "10.0.2.15" : "fd00:c0:2d::15"), net::Port{40000}},
          {address, net::Port{port}}};
}

TEST_CASE("judge: our own side of the guest's network is refused in every disguise") {
  Rig rig;
  // The control: the address beside the gateway's is dialled through the uplink, un-mapped.
  const auto open = rig.judge->judge(to("::ffff:10.0.2.4", 80), rig.now);
  REQUIRE(open.allow);
  CHECK(open.dial == net::Endpoint{*net::parse_ip("10.0.2.4"), net::Port{80}});
  for (const std::string_view remote :
       {"10.0.2.2", "10.0.2.3", "10.0.2.15", "fd00:c0:2d::2", "fd00:c0:2d::3", "::ffff:10.0.2.2",
        "::ffff:10.0.2.3", "::ffff:10.0.2.15", "64:ff9b::10.0.2.2", "2002:a00:202::1"}) {
    CAPTURE(remote);
    CHECK_FALSE(rig.judge->judge(to(remote, 80), rig.now).allow);
  }
}

TEST_CASE("judge: DNS goes to the host's resolver, and only by its own address and port") {
  Rig rig;
  CHECK_FALSE(rig.judge->judge(to("10.0.2.3", 53, flow::Protocol::kUdp), rig.now).allow);  // no resolver yet
  const sandbox::control::Resolver resolver{*net::parse_ip("198.51.100.1"), 0};
  rig.judge->set_resolvers(std::span(&resolver, 1));
  const auto verdict = rig.judge->judge(to("10.0.2.3", 53, flow::Protocol::kUdp), rig.now);
  CHECK(verdict.allow);
  CHECK(verdict.dial == net::Endpoint{*net::parse_ip("198.51.100.1"), net::Port{53}});
  CHECK_FALSE(rig.judge->judge(to("10.0.2.3", 54, flow::Protocol::kUdp), rig.now).allow);
  CHECK_FALSE(rig.judge->judge(to("::ffff:10.0.2.3", 53, flow::Protocol::kUdp), rig.now).allow);
}

TEST_CASE("judge: what a cut UDP flow sent is recorded as exposure when its destination is the host's") {
  Rig rig;
  struct Case {
    std::string_view name;
    std::string_view remote;
    std::uint64_t datagrams;
    bool exposed;
  };
  for (const Case& c : {Case{"the host's address", "192.0.2.1", 7, true},
                        Case{"the host's address, nothing sent", "192.0.2.1", 0, false},
                        Case{"cut for another reason", "198.51.100.1", 7, false}}) {
    CAPTURE(c.name);
    const auto tuple = to(c.remote, 7000, flow::Protocol::kUdp);
    const sandbox::FlowView flow{tuple, tuple.remote, 0, rig.now};
    (void)rig.audit();
    rig.judge->on_ended(flow, flow::EndReason::kRevoked, {700, 0, c.datagrams}, rig.now);
    const std::string text = rig.audit();
    CHECK((text.find("\"host-exposure\"") != std::string::npos) == c.exposed);
    if (c.exposed) CHECK(text.find("\"event.count\":7") != std::string::npos);
  }
}

TEST_CASE("judge: the way out of a live flow") {
  Rig rig;
  const auto tuple = to("198.51.100.1", 80);
  const auto run = [&](const char* command) {
    test::run(command);
    rig.judge->drain(rig.now);
  };
  const std::uint32_t up0 = ::if_nametoindex("up0");
  sandbox::PathQuery flow{.tuple = tuple,
                          .dialed = tuple.remote,
                          .local = *net::parse_ip("192.0.2.1"),
                          .interface = up0,
                          .local_service = false};
  const auto path = [&] { return rig.judge->path(flow, rig.judge->judge(tuple, rig.now)); };
  CHECK(path() == sandbox::Path::kGood);

  run("ip link add alt0 type veth peer name alt1 && ip link set alt0 up && ip link set alt1 up && "
      "ip addr add 203.0.113.1/24 dev alt0");
  run("ip route add default via 203.0.113.2 metric 5 && ip route del default via 192.0.2.254 && "
      "ip route add default via 192.0.2.254 metric 50");
  REQUIRE(rig.judge->judge(tuple, rig.now).bind_interface == ::if_nametoindex("alt0"));
  CHECK(path() == sandbox::Path::kWorse);

  run("ip route del default via 192.0.2.254 metric 50");
  CHECK(path() == sandbox::Path::kLost);
  CHECK(rig.judge->judge(tuple, rig.now).allow);

  run("ip route del default via 203.0.113.2 metric 5");
  const auto without = rig.judge->judge(tuple, rig.now);
  CHECK_FALSE(without.allow);
  CHECK(without.no_route);
  CHECK(without.how == flow::RefuseHow::kNetworkUnreachable);

  // A reject route is somebody's word, not a lost way.
  for (const char* const kind : {"unreachable", "prohibit", "blackhole"}) {
    CAPTURE(std::string{kind});
    run((std::string{"ip route add "} + kind + " 198.51.100.0/24").c_str());
    const auto rejected = rig.judge->judge(tuple, rig.now);
    CHECK_FALSE(rejected.allow);
    CHECK_FALSE(rejected.no_route);
    run((std::string{"ip route del "} + kind + " 198.51.100.0/24").c_str());
  }
  run("ip route add default via 192.0.2.254");
  CHECK(path() == sandbox::Path::kGood);
  // Rule Q remembers the address for host protection; packets to it do not arrive all the same.
  flow.local = *net::parse_ip("192.0.2.7");
  CHECK(path() == sandbox::Path::kLost);
  run("ip addr add 192.0.2.7/24 dev up0");
  CHECK(path() == sandbox::Path::kGood);
  run("ip addr del 192.0.2.7/24 dev up0");
  CHECK(path() == sandbox::Path::kLost);
  flow.local = *net::parse_ip("192.0.2.1");

  flow.interface = ::if_nametoindex("alt0");
  run("ip link del alt0");
  CHECK(path() == sandbox::Path::kGone);
}

TEST_CASE("judge: without a resolver the forwarder says so, and a flow to one that is none any more ends") {
  Rig rig;
  const auto tuple = to("10.0.2.3", 53, flow::Protocol::kUdp);
  const auto denied = rig.judge->judge(tuple, rig.now);
  CHECK_FALSE(denied.allow);
  CHECK_FALSE(denied.no_route);
  CHECK(denied.how == flow::RefuseHow::kNetworkUnreachable);
  rig.judge->on_denied(tuple, denied, rig.now);
  CHECK(rig.audit().find("\"no-resolver\"") != std::string::npos);

  const std::array<sandbox::control::Resolver, 2> two{
      sandbox::control::Resolver{*net::parse_ip("198.51.100.1"), 0},
      sandbox::control::Resolver{*net::parse_ip("198.51.100.2"), 0}};
  const std::uint32_t before = rig.judge->epoch();
  rig.judge->set_resolvers(two);
  CHECK(rig.judge->epoch() != before);
  const net::Endpoint second{*net::parse_ip("198.51.100.2"), net::Port{53}};
  const sandbox::PathQuery flow{.tuple = tuple,
                                .dialed = second,
                                .local = *net::parse_ip("192.0.2.1"),
                                .interface = ::if_nametoindex("up0"),
                                .local_service = false};
  CHECK(rig.judge->path(flow, rig.judge->judge(tuple, rig.now)) == sandbox::Path::kGood);
  rig.judge->set_resolvers(std::span(two).first(1));
  CHECK(rig.judge->path(flow, rig.judge->judge(tuple, rig.now)) == sandbox::Path::kGone);
}

flow::Tuple from(std::string_view peer, std::uint16_t guest_port) {
  const auto address = *net::parse_ip(peer);
  return {flow::Protocol::kTcp,
          {*net::parse_ip(address.is_v4() ? "10.0.2.15" : "fd00:c0:2d::15"), net::Port{guest_port}},
          {address, net::Port{51000}}};
}

TEST_CASE("judge: who may come in is judged by the kernel's view of the peer") {
  struct Case {
    std::string_view name;
    std::string_view peer;
    std::string_view words;  // that let it in
    bool host;
  };
  for (const std::string_view word : {"host", "onlink", "any", "198.51.100.0/24"}) {
    Rig rig{"version: 1\nname: in\ningress:\n  - {name: a, allow: " + std::string{word} +
            ", ports: tcp/22}\n"};
    for (const Case& c :
         {Case{"loopback", "127.0.0.1", "host", true}, Case{"IPv6 loopback", "::1", "host", true},
          Case{"mapped loopback", "::ffff:127.0.0.1", "host", true},
          Case{"the uplink's own address", "192.0.2.1", "host", true},
          Case{"a peer behind the gateway", "198.51.100.1", "198.51.100.0/24", false},
          Case{"the same, mapped", "::ffff:198.51.100.1", "198.51.100.0/24", false},
          Case{"a link-local neighbour", "fe80::7", "onlink any", false}}) {
      CAPTURE(word);
      CAPTURE(c.name);
      const auto verdict = rig.judge->judge_inbound(from(c.peer, 22), rig.now);
      const bool want =
          (" " + std::string{c.words} + " ").find(" " + std::string{word} + " ") != std::string::npos;
      CHECK(verdict.allow == want);
      CHECK(verdict.local_service == c.host);
      CHECK_FALSE(rig.judge->judge_inbound(from(c.peer, 23), rig.now).allow);
    }
    auto elsewhere = from("198.51.100.1", 22);
    elsewhere.guest.address = *net::parse_ip("10.0.2.99");
    CHECK_FALSE(rig.judge->judge_inbound(elsewhere, rig.now).allow);
  }
}

TEST_CASE("judge: a flow over a limit is refused and recorded with the limit's file and line") {
  Rig rig{
      "version: 1\nname: in\nlimits: {connections: 3, rate: 9MB/s}\negress:\n"
      "  - {name: all, allow: 0.0.0.0/0, limits: {connections: 1, bytes: 1KB, rate: 1MB/s}}\n"
      "ingress:\n  - {name: ssh, allow: host}\n"};
  (void)rig.audit();
  const auto tuple = to("198.51.100.1", 80);
  auto first = rig.judge->judge(tuple, rig.now);
  REQUIRE(first.allow);
  rig.judge->admit(tuple, first, rig.now);
  REQUIRE(first.allow);
  CHECK(first.account != 0);
  CHECK(first.metered);
  CHECK(first.shaping == flow::Shaping{.shaper = 2, .outer = 1, .rate = 1'000'000, .outer_rate = 9'000'000});

  auto second = rig.judge->judge(tuple, rig.now);
  rig.judge->admit(tuple, second, rig.now);
  CHECK_FALSE(second.allow);
  CHECK(second.account == 0);
  CHECK(second.how == flow::RefuseHow::kReject);
  rig.judge->on_denied(tuple, second, rig.now);
  auto text = rig.audit();
  CHECK(text.find("\"limit-connections\"") != std::string::npos);
  CHECK(text.find("\"open.yaml:5\"") != std::string::npos);

  // Inbound ones fill the file's limit, not the rule's.
  const auto inbound = from("127.0.0.1", 22);
  for (const bool want : {true, true, false}) {
    auto verdict = rig.judge->judge_inbound(inbound, rig.now);
    REQUIRE(verdict.allow);
    rig.judge->admit(inbound, verdict, rig.now);
    CHECK(verdict.allow == want);
    if (want) continue;
    rig.judge->on_denied(inbound, verdict, rig.now);
    text = rig.audit();
    CHECK(text.find("\"open.yaml:3\"") != std::string::npos);
    CHECK(text.find("\"inbound\"") != std::string::npos);
  }

  const sandbox::FlowView flow{tuple, tuple.remote, first.token, rig.now};
  rig.judge->on_volume(first.account, 999);
  CHECK_FALSE(rig.judge->over_budget(flow, first.account));
  rig.judge->on_volume(first.account, 1000);
  const auto over = rig.judge->over_budget(flow, first.account);
  REQUIRE(over);
  CHECK_FALSE(over->allow);
  rig.judge->on_cut(flow, *over, sandbox::Cut::kLimit, true, false, rig.now);
  text = rig.audit();
  CHECK(text.find("\"flow-revoked\",\"event.reason\":\"limit-bytes\"") != std::string::npos);
  rig.judge->release(first.account);
  auto third = rig.judge->judge(tuple, rig.now);
  rig.judge->admit(tuple, third, rig.now);
  CHECK_FALSE(third.allow);  // the budget is for the life of the guest
}

}  // namespace
}  // namespace cordon::app
