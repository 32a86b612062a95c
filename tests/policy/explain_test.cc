// What `cordon policy explain` says, and that it is always what decide() did.
#include "policy/explain.h"

#include <algorithm>

#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

std::string told(const PolicySet& policy, const flow::Tuple& tuple, HostFacts facts,
                 Direction direction = Direction::kEgress) {
  facts.now = WallTime{};
  return render(explain(policy, tuple, facts, direction));
}

}  // namespace

TEST_CASE("policy: explain tells each stage of an allowed flow with file and line") {
  const auto policy = load_ok(
      {file({"deny: any, ports: tcp/25", "allow: 10.0.0.0/8", "allow: internet, limits: {connections: 5}"},
            "limits: {connections: 9}\n"),
       file({"allow: 93.184.216.0/24"})});
  CHECK(
      told(policy, flow_to("93.184.216.34", 443), facts(routed())) ==
      "passed     source      10.0.2.15 is the guest's address\n"
      "passed     destination 93.184.216.34 carries no other address\n"
      "passed     floor       93.184.216.34 is internet; route by interface 2, an uplink, through a gateway\n"
      "no-match   rule        r0 (a.yaml:5) denies internet, but not on tcp/443\n"
      "no-match   rule        (a.yaml) 1 rule is for other destinations\n"
      "allows     rule        r2 (a.yaml:7) allows internet on tcp/443\n"
      "allows     file        test (a.yaml) allowed by \"r2\"\n"
      "allows     rule        r0 (b.yaml:4) allows 93.184.216.0/24 on tcp/443\n"
      "allows     file        test (b.yaml) allowed by \"r0\"\n"
      "passed     limits      test (a.yaml:3) {connections: 9}\n"
      "passed     limits      r2 (a.yaml:7) {connections: 5}\n"
      "verdict    allow, b.yaml:4\n");
}

TEST_CASE("policy: explain says why, for each reason") {
  struct Told {
    std::string_view name;
    flow::Tuple tuple;
    HostFacts facts;
    std::string_view want;
  };
  const auto policy =
      load_ok({file({"allow: host, ports: tcp/22", "allow: [0.0.0.0/0, \"::/0\"], except: 10.1.0.0/16",
                     "deny: private, ports: tcp/80", "allow: internet"})});
  auto spoofed = facts(routed());
  spoofed.source_assigned = false;
  auto sandbox = facts(routed());
  sandbox.sandbox_address = true;
  auto tenant = facts(routed());
  tenant.dial.guest = GuestRelation::kOtherTenant;
  auto bridge = facts({.fib = FibType::kUnicast, .oif = 7});
  auto alias = facts({.is_host = true, .fib = FibType::kUnicast, .has_gateway = true, .oif = 7});
  auto broadcast = facts({.fib = FibType::kBroadcast});
  for (const auto& c : {
           Told{"spoof", flow_to("93.184.216.34", 443), spoofed, "is no address of this guest"},
           Told{"unreadable", flow_to("::ffff:0:1.2.3.4", 443), facts(routed()),
                "cannot be read for certain"},
           Told{"embedded", flow_to("64:ff9b::7f00:1", 443), facts(routed(), routed()),
                "carries 127.0.0.1, which decides\ndenies     floor       127.0.0.1 is loopback (RFC 1122)"},
           Told{"mapped", flow_to("::ffff:8.8.8.8", 443), facts(routed()), "::ffff:8.8.8.8 is 8.8.8.8\n"},
           Told{"sandbox", flow_to("10.0.2.2", 443), sandbox, "our own side of the guest's network"},
           Told{"unassigned", flow_to("4000::1", 443), facts(routed()), "not assigned as unicast"},
           Told{"broadcast", flow_to("93.184.216.255", 443), broadcast, "the kernel's route is broadcast"},
           Told{"tenant", flow_to("10.9.0.1", 443), tenant, "a guest of another tenant"},
           Told{"no uplink", flow_to("10.9.0.1", 443), bridge, "route by interface 7, no uplink"},
           Told{"no route", flow_to("2606::1", 443), facts({}), "no route; only unicast routes"},
           Told{"host, other port", flow_to("10.9.0.1", 23), facts(local()),
                "no-match   rule        r1 (a.yaml:5) allows 0.0.0.0/0, but no address opens host\n"},
           Told{"host, other port", flow_to("10.9.0.1", 23), facts(local()),
                "denies     guarded     test (a.yaml) host opens by its own word"},
           Told{"host, routed out by another way", flow_to("93.184.216.34", 22), alias,
                "passed     guarded     the operator's file opens host\ndenies     floor "},
           Told{"excepted, then denied", flow_to("10.1.2.3", 80), facts(routed()),
                "r1 (a.yaml:5) allows 0.0.0.0/0, except 10.1.0.0/16\n"},
           Told{"excepted, then denied", flow_to("10.1.2.3", 80), facts(routed()),
                "verdict    deny, rule-deny, a.yaml:6; the guest sees a rejection\n"},
           Told{"nothing matches", flow_to("10.1.2.3", 81), facts(routed()),
                "denies     file        test (a.yaml) no rule matches\nverdict    deny, no-rule, a.yaml;"},
       }) {
    CAPTURE(c.name);
    const auto text = told(policy, c.tuple, c.facts);
    CAPTURE(text);
    CHECK(text.find(c.want) != std::string::npos);
  }
  CHECK(told(PolicySet{}, flow_to("93.184.216.34", 443), facts(routed())).find("there is no file") !=
        std::string::npos);
  CHECK(told(load_ok({file({"allow: internet"})}), flow_to("8.8.8.8", 53), facts(routed()))
            .find("allows internet, which leaves out ports 53 and 853") != std::string::npos);
  CHECK(told(load_ok({file({"allow: dns"})}), flow_to("10.0.2.3", 53, flow::Protocol::kUdp), forwarder())
            .find("is the built-in DNS forwarder") != std::string::npos);
}

TEST_CASE("policy: explain counts the rules for other places and lists few of the near misses") {
  std::string text = "version: 1\nname: long\negress:\n";
  for (int i = 0; i < 500; ++i)
    text += "  - {name: a" + std::to_string(i) + ", allow: 10.0." + std::to_string(i % 250) + "." +
            std::to_string(i / 250) + "}\n  - {name: b" + std::to_string(i) +
            ", deny: internet, ports: tcp/" + std::to_string(i + 1000) + "}\n";
  text += "  - {name: last, allow: internet}\n";
  const auto e = explain(load_ok({text}), flow_to("93.184.216.34", 443), facts(routed()));
  CHECK(e.decision.rule == 1000);
  CHECK(e.decided_by == "a.yaml:1004");
  CHECK(std::ranges::count(e.steps, "rule", &ExplainStep::stage) == 22);
  CHECK(render(e).find("500 rules are for other destinations, 480 more that do not match\n") !=
        std::string::npos);
}

TEST_CASE("policy: explain of an expired file, an ended rule and an audit file") {
  auto policy = load_ok({file({"allow: internet"}, "mode: audit\n"), file({"allow: internet"})});
  std::vector<Ruleset> files(policy.files().begin(), policy.files().end());
  files[0].expires = WallTime{std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}};
  files[1].egress[0].until = files[0].expires;
  auto now = facts(routed());
  now.now = files[0].expires;
  const auto e = explain(PolicySet{files}, flow_to("93.184.216.34", 443), now);
  const auto text = render(e);
  CAPTURE(text);
  CHECK(
      text.find("would-deny file        test (a.yaml) expired at 2026-01-01T00:00:00Z and denies everything "
                "since; it is in audit mode and only notes that\n") != std::string::npos);
  CHECK(text.find(
            "no-match   rule        r0 (b.yaml:4) allows internet, but only until 2026-01-01T00:00:00Z\n") !=
        std::string::npos);
  CHECK(e.decision.reason == Reason::kNoRule);
}

TEST_CASE("policy: explain of a connection from outside") {
  const auto policy =
      load_ok({"version: 1\nname: in\ningress:\n  - {name: ssh, allow: private, ports: [tcp/22]}\n"});
  flow::Tuple tuple{
      flow::Protocol::kTcp, {ip("10.0.2.15"), net::Port{22}}, {ip("10.7.7.7"), net::Port{40000}}};
  CHECK(told(policy, tuple, facts(routed()), Direction::kIngress)
            .find("allows     rule        ssh (a.yaml:4) allows private on tcp/22\n") != std::string::npos);
  CHECK(told(policy, tuple, facts({}), Direction::kIngress).find("no way back to the peer") !=
        std::string::npos);
  CHECK(told(policy, tuple, facts(local()), Direction::kIngress).find("1 rule is for other sources") !=
        std::string::npos);
}

TEST_CASE("policy: explain as JSON") {
  const auto policy = load_ok({file({"allow: 10.0.0.0/8"}, "refuse: drop\n")});
  CHECK(
      to_json(explain(policy, flow_to("127.0.0.1", 80), facts(local()))) ==
      R"({"verdict":"deny","reason":"special-address","direction":"egress","dst_class":"special",)"
      R"("layer":"floor","rule":null,"decided_by":null,"refuse":"drop","would_deny":[],"steps":[)"
      R"({"stage":"source","outcome":"passed","subject":null,"at":null,"text":"10.0.2.15 is the guest's address"},)"
      R"({"stage":"destination","outcome":"passed","subject":null,"at":null,"text":"127.0.0.1 carries no other address"},)"
      R"({"stage":"floor","outcome":"denies","subject":null,"at":null,"text":"127.0.0.1 is loopback (RFC 1122); no file opens it"}]})");
}
