#include "policy/json_line.h"
#include "tests/policy/audit_rig.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;

TEST_CASE("policy: an audit record has every field of the reference, in order") {
  auto policy = load_ok({"version: 1\nname: site\negress:\n  - {name: lan, deny: private}\n"});
  auto event = denied(policy, "10.1.2.3", 22);
  event.oif_name = "eth0";
  event.source_mac = net::parse_mac("52:54:00:12:34:ab");
  auto record = make_record({.guest = "vm-42", .tenant = "blue"}, policy, event);
  record.time = kWall;
  record.sequence = 4711;
  CHECK(
      to_json(record) ==
      R"({"@timestamp":"2026-09-25T10:11:12.123456Z","event.kind":"event","event.category":["network"],)"
      R"("event.type":["connection","denied"],"event.action":"flow-denied","event.reason":"rule-deny",)"
      R"("event.sequence":4711,"event.count":1,"rule.ruleset":"site","rule.name":"lan","sandbox.layer":"operator",)"
      R"("sandbox.rule_at":"a.yaml:4","sandbox.policy.hash":")" +
          policy.hash() +
          R"(","sandbox.policy.generation":1,"sandbox.guest":"vm-42","sandbox.tenant":"blue",)"
          R"("sandbox.verdict":"deny","sandbox.would_deny":[],"sandbox.dst_class":"private",)"
          R"("sandbox.fib.type":"unicast","sandbox.fib.oif":"eth0","network.direction":"outbound",)"
          R"("network.type":"ipv4","network.transport":"tcp","network.community_id":")" +
          community_id(*event.tuple) +
          R"(","source.ip":"10.0.2.15","source.mac":"52-54-00-12-34-AB","source.port":40000,)"
          R"("destination.ip":"10.1.2.3","destination.port":22,"destination.domain":null,"sandbox.names":[],)"
          R"("sandbox.dialed":null,"tls.client.server_name":null})");
}

TEST_CASE("policy: a record of a connection from outside has the peer as its source") {
  auto policy = load_ok({"version: 1\nname: site\ningress:\n  - {name: lan, deny: onlink}\n"});
  const flow::Tuple tuple{
      flow::Protocol::kTcp, {ip("10.0.2.15"), net::Port{22}}, {ip("192.168.1.7"), net::Port{51000}}};
  AuditEvent event{.action = AuditAction::kFlowDenied,
                   .tuple = tuple,
                   .decision = decide_ingress(policy, tuple, facts(on_link())),
                   .facts = on_link(),
                   .volumes = flow::Volumes{.bytes_from_guest = 11, .bytes_to_guest = 22}};
  const auto line = to_json(make_record({.guest = "g", .tenant = ""}, policy, event));
  for (const auto& [key, want] :
       {std::pair{"network.direction", "\"inbound\""}, std::pair{"event.reason", "\"rule-deny\""},
        std::pair{"rule.name", "\"lan\""}, std::pair{"sandbox.rule_at", "\"a.yaml:4\""},
        std::pair{"sandbox.src_class", "\"onlink\""}, std::pair{"sandbox.dst_class", "(absent)"},
        std::pair{"source.ip", "\"192.168.1.7\""}, std::pair{"source.port", "51000"},
        std::pair{"destination.ip", "\"10.0.2.15\""}, std::pair{"destination.port", "22"},
        std::pair{"source.bytes", "22"}, std::pair{"destination.bytes", "11"}}) {
    CAPTURE(key);
    CHECK(field(line, key) == want);
  }
  // The same flow has one community ID, whoever starts it.
  const flow::Tuple other{tuple.protocol, tuple.remote, tuple.guest};
  CHECK(field(line, "network.community_id") == "\"" + community_id(other) + "\"");
}

TEST_CASE("policy: a limit is recorded with its rule, or with the line of the file's own") {
  auto policy =
      load_ok({"version: 1\nname: site\nlimits: {connections: 1}\n"
               "egress:\n  - {name: web, allow: any, limits: {new: 1/s}}\n"});
  const auto tuple = flow_to("93.184.216.34", 443);
  AuditEvent event{.action = AuditAction::kFlowDenied, .tuple = tuple, .facts = routed()};
  event.decision.layer = 0;
  event.decision.reason = Reason::kLimitNew;
  event.decision.rule = 0;
  auto line = to_json(make_record({}, policy, event));
  CHECK(field(line, "event.reason") == "\"limit-new\"");
  CHECK(field(line, "rule.name") == "\"web\"");
  CHECK(field(line, "sandbox.rule_at") == "\"a.yaml:5\"");
  event.decision.reason = Reason::kLimitConnections;
  event.decision.rule = Decision::kNoRule;
  line = to_json(make_record({}, policy, event));
  CHECK(field(line, "rule.name") == "\"-\"");
  CHECK(field(line, "sandbox.rule_at") == "\"a.yaml:3\"");
  CHECK(field(line, "sandbox.layer") == "\"operator\"");
}

TEST_CASE("policy: connections from one peer to one port are one kind, whatever port they come from") {
  Pipe pipe;
  auto policy = shared(load_ok({"version: 1\nname: site\n"}));
  AuditLog log{{.guest = "g", .tenant = ""}, pipe.fd(), policy};
  for (std::uint16_t port = 50000; port < 50010; ++port) {
    for (const std::uint16_t target : {std::uint16_t{22}, std::uint16_t{23}}) {
      const flow::Tuple tuple{
          flow::Protocol::kTcp, {ip("10.0.2.15"), net::Port{target}}, {ip("192.168.1.7"), net::Port{port}}};
      log.record({.action = AuditAction::kFlowDenied,
                  .tuple = tuple,
                  .decision = decide_ingress(*policy, tuple, facts(on_link())),
                  .facts = on_link()},
                 kStart, kWall);
    }
  }
  CHECK(pipe.lines().size() == 2);
  log.finish(kStart, kWall);
  const auto rest = pipe.lines();
  REQUIRE(rest.size() == 2);
  for (const auto& line : rest) CHECK(field(line, "event.count") == "9");
}

TEST_CASE("policy: each spoofed source has records of its own, wherever its packets were going") {
  auto policy = load_ok({"version: 1\nname: p\negress:\n  - {name: r, deny: internet}\n"});
  Pipe pipe;
  AuditLog log{{.guest = "g", .tenant = {}}, pipe.fd(), shared(std::move(policy))};
  const auto spoof = [&](std::string_view source, std::string_view destination, std::uint16_t port) {
    AuditEvent event{
        .action = AuditAction::kPacketDenied,
        .tuple = flow::Tuple{
            flow::Protocol::kUdp, {ip(source), net::Port{port}}, {ip(destination), net::Port{port}}}};
    event.decision.reason = Reason::kSourceSpoof;
    log.record(event, kStart, kWall);
  };
  spoof("10.9.9.9", "192.0.2.1", 1);
  spoof("10.9.9.9", "192.0.2.2", 2);
  spoof("10.9.9.8", "192.0.2.1", 1);
  const auto lines = pipe.lines();
  REQUIRE(lines.size() == 2);
  CHECK(field(lines[0], "source.ip") == "\"10.9.9.9\"");
  CHECK(field(lines[1], "source.ip") == "\"10.9.9.8\"");
  log.finish(kStart, kWall);
  CHECK(field(pipe.lines().at(0), "event.count") == "1");
}

TEST_CASE("policy: records of the floor, of audit mode, of ended flows and of the policy itself") {
  auto policy = load_ok({file({"allow: any"}), "version: 1\nname: watch\nmode: audit\negress: []\n"});
  const auto json = [&](const AuditEvent& event) {
    return to_json(make_record({.guest = "g", .tenant = ""}, policy, event));
  };

  const auto tuple = flow_to("2606::1", 0, flow::Protocol::kIcmpEcho);
  auto event =
      AuditEvent{.tuple = tuple, .decision = decide(policy, tuple, facts(local())), .facts = local()};
  auto line = json(event);
  CHECK(field(line, "event.reason") == "\"host-address\"");
  CHECK(field(line, "sandbox.layer") == "\"floor\"");
  CHECK(field(line, "rule.ruleset") == "\"test\"");
  CHECK(field(line, "rule.name") == "\"-\"");
  CHECK(field(line, "sandbox.rule_at") == "null");
  CHECK(field(line, "sandbox.tenant") == "null");
  CHECK(field(line, "network.transport") == "\"ipv6-icmp\"");
  CHECK(field(line, "source.port") == "null");
  CHECK(field(line, "destination.port") == "null");
  CHECK(field(line, "sandbox.fib.type") == "\"local\"");

  event = denied(policy, "93.184.216.34", 443);
  event.action = AuditAction::kFlowAllowed;
  line = json(event);
  CHECK(field(line, "sandbox.verdict") == "\"would-deny\"");
  CHECK(field(line, "sandbox.would_deny") == "[\"watch\"]");
  CHECK(field(line, "sandbox.layer") == "\"tenant\"");
  CHECK(field(line, "event.reason") == "null");
  CHECK(line.find(R"("event.type":["connection","allowed"])") != std::string::npos);

  event.action = AuditAction::kFlowEnded;
  event.volumes = flow::Volumes{.bytes_from_guest = 10, .bytes_to_guest = 18446744073709551615U};
  event.duration = 1500ms;
  event.end = flow::EndReason::kReset;
  event.dialed = net::Endpoint{ip("2606::5"), net::Port{53}};
  line = json(event);
  CHECK(field(line, "source.bytes") == "10");
  CHECK(field(line, "destination.bytes") == "18446744073709551615");
  CHECK(field(line, "event.duration") == "1500000000");
  CHECK(field(line, "sandbox.end") == "\"rst\"");
  CHECK(field(line, "sandbox.dialed") == "\"[2606::5]:53\"");

  line = json({.action = AuditAction::kPolicyRejected, .message = "a.yaml:1:1: error\nsecond line"});
  CHECK(field(line, "event.action") == "\"policy-rejected\"");
  CHECK(field(line, "sandbox.verdict") == "null");
  CHECK(field(line, "event.reason") == "null");
  CHECK(field(line, "source.ip") == "(absent)");
  CHECK(line.find('\n') == std::string::npos);
  CHECK(line.find(R"("message":"a.yaml:1:1: error\nsecond line")") != std::string::npos);
}

TEST_CASE("policy: strings in records cannot break a line and are cut at 255 bytes") {
  struct Case {
    std::string_view name;
    std::string text, want;
  };
  for (const auto& c : {
           Case{"quotes", R"(a"b\c)", R"("a\"b\\c")"},
           Case{"control", std::string("\0\n\x1b\x7f", 4), R"("\u0000\n\u001b\u007f")"},
           Case{"C1 and line separators", "\xc2\x9b\xe2\x80\xa8\xe2\x80\xa9", R"("\u009b\u2028\u2029")"},
           Case{"UTF-8 keeps its meaning", "caf\xc3\xa9 \xf0\x9f\x98\x80", R"("caf\u00e9 \ud83d\ude00")"},
           Case{"broken UTF-8", "\xff\xc3(\xe2\x80\xed\xa0\x80\xc0\xaf",
                R"("\ufffd\ufffd(\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd")"},
           Case{"255 bytes", std::string(255, 'x'), "\"" + std::string(255, 'x') + "\""},
           Case{"256 bytes", std::string(256, 'x'), "\"" + std::string(255, 'x') + "...\""},
           Case{"not cut inside a character", std::string(254, 'x') + "\xc3\xa9",
                "\"" + std::string(254, 'x') + "...\""},
           Case{"not cut inside a long character", std::string(252, 'x') + "\xf0\x9f\x98\x80!",
                "\"" + std::string(252, 'x') + "...\""},
           Case{"the last character fits", std::string(253, 'x') + "\xc3\xa9!",
                "\"" + std::string(253, 'x') + "\\u00e9...\""},
       }) {
    CAPTURE(c.name);
    JsonLine line;
    line.text("k", c.text);
    CHECK(line.take() == "{\"k\":" + c.want + "}");
  }
}

TEST_CASE("policy: community ids are those of the specification's baseline") {
  const auto id = [](std::string_view from, std::uint16_t sport, std::string_view to, std::uint16_t dport,
                     flow::Protocol p) {
    return community_id({p, {ip(from), net::Port{sport}}, {ip(to), net::Port{dport}}});
  };
  CHECK(id("128.232.110.120", 34855, "66.35.250.204", 80, flow::Protocol::kTcp) ==
        "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
  CHECK(id("66.35.250.204", 80, "128.232.110.120", 34855, flow::Protocol::kTcp) ==
        "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
  CHECK(id("192.168.1.52", 54585, "8.8.8.8", 53, flow::Protocol::kUdp) == "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
  CHECK(id("192.168.0.89", 7, "192.168.0.1", 0, flow::Protocol::kIcmpEcho) ==
        "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
}
