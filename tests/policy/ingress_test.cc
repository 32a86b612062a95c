// decide_ingress(): sources, files, and what no file lets in.
#include "policy/builtin.h"
#include "policy/decide.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;
using flow::Protocol;

namespace {

flow::Tuple from(std::string_view peer, std::uint16_t guest_port, Protocol protocol = Protocol::kTcp) {
  const auto remote = ip(peer);
  const auto guest = remote.is_v6() ? ip("fd00:c0:2d::15") : ip("10.0.2.15");
  return {protocol, {guest, net::Port{guest_port}}, {remote, net::Port{51000}}};
}

std::string ingress(std::initializer_list<std::string_view> rules, std::string_view top = "") {
  std::string out = "version: 1\nname: test\n" + std::string{top} + "ingress:\n";
  std::size_t i = 0;
  for (const auto rule : rules)
    out += "  - {name: r" + std::to_string(i++) + ", " + std::string{rule} + "}\n";
  return out;
}

}  // namespace

TEST_CASE("policy: what each word covers as a source") {
  struct WordCase {
    std::string_view name;
    flow::Tuple tuple;
    HostFacts facts;
    std::string_view words;  // that let it in
  };
  auto bridge = facts({.fib = FibType::kUnicast, .has_gateway = false, .oif_is_uplink = false});
  auto alias = facts(routed());
  alias.dial.is_host = true;
  for (const auto& c : {
           WordCase{"public", from("93.184.216.34", 22), facts(routed()), "internet any"},
           WordCase{"public v6", from("2606::1", 22), facts(routed()), "internet any"},
           WordCase{"mapped", from("::ffff:93.184.216.34", 22), facts(routed()), "internet any"},
           WordCase{"a service's DNS port is no matter", from("93.184.216.34", 53), facts(routed()),
                    "internet any"},
           WordCase{"10/8", from("10.1.2.3", 22), facts(routed()), "private any"},
           WordCase{"ULA", from("fd12::1", 22), facts(routed()), "private any"},
           WordCase{"neighbour", from("192.168.1.7", 22), facts(on_link()), "onlink any"},
           WordCase{"public neighbour", from("93.184.216.34", 22), facts(on_link()), "onlink any"},
           WordCase{"a container on the host's bridge", from("172.17.0.2", 22), bridge, "onlink any"},
           WordCase{"link-local neighbour", from("fe80::7", 22), facts({}), "onlink any"},
           WordCase{"host", from("10.1.2.3", 22), facts(local()), "host"},
           WordCase{"host, loopback", from("127.0.0.1", 22), facts(local()), "host"},
           WordCase{"host, v6 loopback", from("::1", 22), facts(local()), "host"},
           WordCase{"host, mapped loopback", from("::ffff:127.0.0.1", 22), facts(local()), "host"},
           WordCase{"host, link-local", from("fe80::1", 22), facts(local()), "host"},
           WordCase{"host, alias", from("93.184.216.34", 22), alias, "host"},
           WordCase{"documentation", from("192.0.2.1", 22), facts(on_link()), ""},
       }) {
    for (const std::string_view word : {"internet", "private", "onlink", "host", "any"}) {
      CAPTURE(c.name);
      CAPTURE(word);
      const bool want =
          (" " + std::string{c.words} + " ").find(" " + std::string{word} + " ") != std::string::npos;
      const auto policy = load_ok({ingress({"allow: " + std::string{word}})});
      const auto d = decide_ingress(policy, c.tuple, c.facts);
      CHECK(d.allow == want);
      CHECK(d.direction == Direction::kIngress);
    }
  }
}

TEST_CASE("policy: what no ingress rule lets in") {
  const auto wide = load_ok({ingress({"allow: [any, host, 0.0.0.0/0, \"::/0\"]"})});
  struct FloorCase {
    std::string_view name;
    flow::Tuple tuple;
    HostFacts facts;
    Reason reason;
  };
  auto guest = facts(on_link());
  guest.dial.guest = GuestRelation::kSameTenant;
  auto not_ours = facts(routed());
  not_ours.source_assigned = false;
  for (const auto& c : {
           FloorCase{"a target that is not the guest's", from("93.184.216.34", 22), not_ours,
                     Reason::kSpecialAddress},
           FloorCase{"unspecified", from("0.0.0.0", 22), facts(routed()), Reason::kSpecialAddress},
           FloorCase{"multicast", from("224.0.0.1", 22), facts(routed()), Reason::kSpecialAddress},
           FloorCase{"reserved", from("240.0.0.1", 22), facts(routed()), Reason::kSpecialAddress},
           FloorCase{"a subnet's broadcast", from("192.168.1.255", 22), facts({.fib = FibType::kBroadcast}),
                     Reason::kSpecialAddress},
           FloorCase{"loopback in a wrapping", from("64:ff9b::127.0.0.1", 22), facts(routed(), local()),
                     Reason::kSpecialAddress},
           FloorCase{"the host in a wrapping", from("64:ff9b::10.0.0.5", 22), facts(routed(), local()),
                     Reason::kSpecialAddress},
           FloorCase{"a wrapping nobody can read", from("::ffff:0:93.184.216.34", 22), facts(routed()),
                     Reason::kEmbeddedIpv4},
           FloorCase{"another guest", from("10.5.0.9", 22), guest, Reason::kTenantIsolation},
           FloorCase{"a metadata endpoint", from("169.254.169.254", 22), facts(on_link()), Reason::kMetadata},
           FloorCase{"no way back", from("93.184.216.34", 22), facts({}), Reason::kRouteBlocked},
           FloorCase{"a blackholed peer", from("93.184.216.34", 22), facts({.fib = FibType::kBlackhole}),
                     Reason::kRouteBlocked},
       }) {
    CAPTURE(c.name);
    const auto d = decide_ingress(wide, c.tuple, c.facts);
    CHECK_FALSE(d.allow);
    CHECK(to_string(d.reason) == to_string(c.reason));
    CHECK(d.layer == Decision::kFloor);
  }
  CHECK(decide_ingress(wide, from("192.0.2.1", 22), facts(on_link())).allow);
}

TEST_CASE("policy: ingress rules look at the guest's port, and a CIDR is not the host") {
  const auto policy = load_ok({ingress({"deny: 10.1.2.3", "allow: host, ports: tcp/22",
                                        "allow: 10.0.0.0/8, except: 10.9.0.0/16, ports: [tcp/80-90, udp]"})});
  struct RuleCase {
    std::string_view name;
    flow::Tuple tuple;
    AddressFacts peer;
    Reason reason;
    std::int16_t rule;
  };
  for (const auto& c : {
           RuleCase{"host, its port", from("127.0.0.1", 22), local(), Reason::kNone, 1},
           RuleCase{"host, another port", from("127.0.0.1", 80), local(), Reason::kNoRule, -1},
           RuleCase{"the host's address in the CIDR", from("10.0.0.5", 80), local(), Reason::kNoRule, -1},
           RuleCase{"a deny by address meets the host too", from("10.1.2.3", 22), local(), Reason::kRuleDeny,
                    0},
           RuleCase{"a peer in the CIDR", from("10.0.0.6", 80), routed(), Reason::kNone, 2},
           RuleCase{"port range, last", from("10.0.0.6", 90), routed(), Reason::kNone, 2},
           RuleCase{"beside the range", from("10.0.0.6", 91), routed(), Reason::kNoRule, -1},
           RuleCase{"UDP", from("10.0.0.6", 91, Protocol::kUdp), routed(), Reason::kNone, 2},
           RuleCase{"excepted", from("10.9.0.6", 80), routed(), Reason::kNoRule, -1},
       }) {
    CAPTURE(c.name);
    const auto d = decide_ingress(policy, c.tuple, facts(c.peer));
    CHECK(to_string(d.reason) == to_string(c.reason));
    CHECK(d.rule == c.rule);
    CHECK(d.rules[0] == c.rule);
    CHECK(d.layer == 0);
  }
}

TEST_CASE("policy: every file must let a connection in, and a file without ingress lets nothing in") {
  const auto site = ingress({"allow: [host, onlink]"});
  const auto tenant = ingress({"allow: host, ports: tcp/22"});
  const auto both = load_ok({site, tenant});
  CHECK(decide_ingress(both, from("127.0.0.1", 22), facts(local())).allow);
  const auto lan = decide_ingress(both, from("192.168.1.7", 22), facts(on_link()));
  CHECK(lan.reason == Reason::kNoRule);
  CHECK(lan.layer == 1);
  CHECK(lan.rules[0] == 0);
  const auto closed = load_ok({site, file({"allow: any"})});
  CHECK(decide_ingress(closed, from("127.0.0.1", 22), facts(local())).layer == 1);
  CHECK_FALSE(decide_ingress(closed, from("127.0.0.1", 22), facts(local())).allow);
  CHECK_FALSE(decide_ingress(PolicySet{}, from("127.0.0.1", 22), facts(local())).allow);
  CHECK_FALSE(decide_ingress(builtin_internet_only(), from("127.0.0.1", 22), facts(local())).allow);

  const auto audit = load_ok({ingress({"deny: any"}, "mode: audit\n"), site});
  const auto noted = decide_ingress(audit, from("192.168.1.7", 22), facts(on_link()));
  CHECK(noted.allow);
  CHECK(noted.would_deny == 1);
  const auto drop = load_ok({ingress({"deny: any"}, "refuse: drop\n")});
  CHECK(decide_ingress(drop, from("192.168.1.7", 22), facts(on_link())).how == flow::RefuseHow::kDrop);
}

TEST_CASE("policy: ports published without a policy file let everybody in whom the floor lets in") {
  const auto policy = builtin_internet_only_published();
  for (const auto& [peer, about] :
       {std::pair{"127.0.0.1", local()}, std::pair{"192.168.1.7", on_link()}, std::pair{"10.1.2.3", routed()},
        std::pair{"93.184.216.34", routed()}, std::pair{"192.0.2.1", on_link()},
        std::pair{"2001:db8::1", routed()}, std::pair{"fe80::1", AddressFacts{}}}) {
    CAPTURE(peer);
    CHECK(decide_ingress(policy, from(peer, 22), facts(about)).allow);
    CHECK(decide_ingress(policy, from(peer, 22, Protocol::kUdp), facts(about)).allow);
  }
  CHECK_FALSE(decide_ingress(policy, from("169.254.169.254", 22), facts(routed())).allow);
  // Outbound it is the built-in as ever.
  CHECK(decide(policy, flow_to("93.184.216.34", 443), facts(routed())).allow);
  CHECK_FALSE(decide(policy, flow_to("10.1.2.3", 443), facts(routed())).allow);
}
