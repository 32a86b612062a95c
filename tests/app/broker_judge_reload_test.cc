// One policy after another, in the real judge: swap, tokens, limits.
#include "tests/app/reload_rig.h"

namespace cordon::app {
using namespace reload;

TEST_CASE("reload: without a policy everything is denied, and a first bad one changes nothing") {
  Rig rig{""};
  CHECK_FALSE(rig.judge->has_policy());
  CHECK(reason_of(rig.ask(to("198.51.100.1"))) == policy::Reason::kEngineError);
  CHECK(rig.load("version: 1\n") == PolicyLoad::kRejected);
  CHECK_FALSE(rig.judge->has_policy());
  CHECK_FALSE(rig.ask(to("198.51.100.1")).allow);
  CHECK(has(rig.audit(), "\"policy-rejected\""));

  const auto epoch = rig.judge->epoch();
  CHECK(rig.load(file(kFar), LoadCause::kStart) == PolicyLoad::kInForce);
  CHECK(rig.judge->has_policy());
  CHECK(rig.judge->epoch() != epoch);
  CHECK(rig.judge->policy().generation() == 1);
  CHECK(rig.ask(to("198.51.100.1")).allow);
  const std::string record = rig.audit();
  CHECK(has(record, "\"policy-loaded\""));
  CHECK(has(record, "\"sandbox.cause\":\"start\""));
}

TEST_CASE("reload: what counts as another policy") {
  struct Case {
    std::string_view name;
    std::string text;
    PolicyLoad outcome;
  };
  const std::string first = file(kFar);
  for (const Case& c :
       {Case{"the same text", first, PolicyLoad::kUnchanged},
        Case{"a comment at the end", first + "# end\n", PolicyLoad::kUnchanged},
        Case{"a comment before: the rule is in another line", "# begin\n" + first, PolicyLoad::kInForce},
        Case{"another rule", file(kOther), PolicyLoad::kInForce},
        Case{"the rule logs", file("  - {name: far, allow: [198.51.100.0/24], log: all}\n"),
             PolicyLoad::kInForce},
        Case{"the rule ends some day",
             file("  - {name: far, allow: [198.51.100.0/24], until: 2099-01-01T00:00:00Z}\n"),
             PolicyLoad::kInForce},
        Case{"a limit", file("  - {name: far, allow: [198.51.100.0/24], limits: {connections: 5}}\n"),
             PolicyLoad::kInForce},
        Case{"the file ends some day", file(kFar, "expires: 2099-01-01T00:00:00Z"), PolicyLoad::kInForce},
        Case{"an uplink is named", file(kFar, "host: {uplinks: [up0]}"), PolicyLoad::kInForce},
        Case{"an alias", file(kFar, "host: {aliases: [203.0.113.7]}"), PolicyLoad::kInForce},
        Case{"a tenant", file(kFar, "guests: {tenant: blue}"), PolicyLoad::kInForce},
        Case{"drain", file(kFar, "reload: drain 30s"), PolicyLoad::kInForce},
        Case{"on_reload_error", file(kFar, "on_reload_error: deny"), PolicyLoad::kInForce},
        Case{"an error", file("  - {name: far, allow: nowhere}\n"), PolicyLoad::kRejected},
        Case{"a test that fails", file(kFar, "tests: [{to: 198.51.100.1, port: tcp/80, expect: deny}]"),
             PolicyLoad::kRejected},
        Case{"nothing", "", PolicyLoad::kRejected}}) {
    CAPTURE(c.name);
    Rig rig{first};
    const auto epoch = rig.judge->epoch();
    const auto generation = rig.judge->policy().generation();
    CHECK(rig.load(c.text) == c.outcome);
    const bool moved = c.outcome == PolicyLoad::kInForce;
    CHECK((rig.judge->epoch() != epoch) == moved);
    CHECK(rig.judge->policy().generation() == generation + (moved ? 1 : 0));
    CHECK(rig.judge->policy_status().outcome == c.outcome);
    if (c.outcome == PolicyLoad::kRejected) {
      CHECK(rig.ask(to("198.51.100.1")).allow);
      CHECK_FALSE(rig.judge->policy_status().diagnostics.empty());
    }
  }
}

TEST_CASE("reload: a bundle is read from its start, and what is none is refused") {
  Rig rig{file(kFar)};
  const auto memory = [](std::string_view text, off_t offset) {
    base::Fd fd{::memfd_create("bundle", MFD_CLOEXEC)};
    REQUIRE(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    ::lseek(fd.get(), offset, SEEK_SET);
    return fd;
  };
  const auto load = [&](base::Fd fd) {
    return rig.judge->load_policy(std::move(fd), LoadCause::kControl, rig.now);
  };
  const policy::EncodedFile encoded{"x.yaml", policy::encode(policy::parse({"x.yaml", file(kOther)}))};
  const std::string bundle = policy::encode_bundle(std::span(&encoded, 1));
  CHECK(load(memory("", 0)) == PolicyLoad::kRejected);
  CHECK(load(memory("garbage", 0)) == PolicyLoad::kRejected);
  CHECK(load(memory(bundle.substr(0, bundle.size() - 1), 0)) == PolicyLoad::kRejected);
  CHECK(load(base::Fd{}) == PolicyLoad::kRejected);
  CHECK(rig.ask(to("198.51.100.1")).allow);
  CHECK(rig.judge->policy_status().rejected == 4);
  CHECK(rig.judge->policy_status().loads[static_cast<std::size_t>(LoadCause::kControl)] == 4);
  CHECK(load(memory(bundle, 7)) == PolicyLoad::kInForce);
  CHECK(rig.ask(to("203.0.113.9")).allow);
}

TEST_CASE("reload: on_reload_error: deny denies everything until a good policy comes") {
  Rig rig{file(kFar, "on_reload_error: deny")};
  const auto token = rig.ask(to("198.51.100.1")).token;
  const auto epoch = rig.judge->epoch();
  CHECK(rig.load("nonsense") == PolicyLoad::kRejected);
  CHECK(rig.judge->epoch() == epoch + 1);
  const auto denied = rig.again(to("198.51.100.1"), token);
  CHECK_FALSE(denied.allow);
  CHECK(reason_of(denied) == policy::Reason::kPolicyChanged);
  CHECK_FALSE(rig.judge->judge_inbound(to("198.51.100.1"), rig.now).allow);
  const std::string record = rig.cut(to("198.51.100.1"), token, denied);
  CHECK(has(record, "\"event.reason\":\"policy-changed\""));
  CHECK(has(record, "\"sandbox.cause\":\"policy-changed\""));
  // A second bad one changes nothing more; the same good one as before lifts it.
  CHECK(rig.load("nonsense") == PolicyLoad::kRejected);
  CHECK(rig.judge->epoch() == epoch + 1);
  CHECK(rig.judge->policy_status().denying);
  CHECK(rig.load(file(kFar, "on_reload_error: deny")) == PolicyLoad::kInForce);
  CHECK(rig.judge->epoch() == epoch + 2);
  CHECK(rig.ask(to("198.51.100.1")).allow);
}

TEST_CASE("reload: records of a flow name the rule of the policy that admitted it") {
  Rig rig{"# one\n# two\n" + file(kOther + kFar)};
  const auto tuple = to("198.51.100.1");
  const auto token = rig.ask(tuple).token;
  REQUIRE(rig.load(file("  - {name: new, allow: [198.51.100.7]}\n" + kFar)) == PolicyLoad::kInForce);
  const auto ended = [&] {
    (void)rig.audit();
    rig.judge->on_ended({tuple, tuple.remote, token, rig.now}, flow::EndReason::kRevoked, {1, 2, 0}, rig.now);
    return rig.audit();
  };
  const std::string record = ended();
  CHECK(has(record, "\"rule.name\":\"far\""));
  CHECK(has(record, "\"sandbox.rule_at\":\"x.yaml:8\""));
  CHECK(has(record, "\"sandbox.policy.generation\":1,"));

  // After many more it is forgotten, and the record says so instead of naming another rule.
  for (int i = 0; i < 20; ++i) rig.load(std::string(static_cast<std::size_t>(i), '\n') + file(kFar));
  CHECK(rig.judge->policy_of(token) == nullptr);
  const std::string late = ended();
  CHECK(has(late, "\"rule.name\":\"-\""));
  CHECK_FALSE(has(late, "\"rule.name\":\"far\""));
}

TEST_CASE("reload: what every flow was judged by is forgotten, but for the last one") {
  Rig rig{file(kFar)};
  std::vector<std::uint64_t> tokens;
  for (int i = 0; i < 4; ++i) {
    tokens.push_back(rig.ask(to("198.51.100.1")).token);
    REQUIRE(rig.load(std::string(static_cast<std::size_t>(i + 1), '\n') + file(kFar)) ==
            PolicyLoad::kInForce);
  }
  for (const auto token : tokens) CHECK(rig.judge->policy_of(token) != nullptr);
  rig.judge->on_reviewed(rig.judge->epoch() - 1);  // not of the last policy's epoch
  CHECK(rig.judge->policy_of(tokens[3]) != nullptr);
  rig.judge->on_reviewed(rig.judge->epoch());
  for (int i = 0; i < 3; ++i) CHECK(rig.judge->policy_of(tokens[static_cast<std::size_t>(i)]) == nullptr);
  CHECK(rig.judge->policy_of(tokens[3]) != nullptr);
}

TEST_CASE("reload: why a live flow is denied now") {
  struct Case {
    std::string_view name;
    std::string next;
    std::string_view reason;
    std::string_view cause;
  };
  const std::string rules = "  - {name: far, allow: [198.51.100.0/24, 203.0.113.0/24]}\n";
  for (const Case& c : {Case{"no rule any more", file(kOther), "no-rule", "policy-changed"},
                        Case{"a deny before it", file("  - {name: no, deny: [198.51.100.1]}\n" + rules),
                             "rule-deny", "policy-changed"},
                        Case{"an alias covers it", file(rules, "host: {aliases: [198.51.100.0/24]}"),
                             "host-address", "policy-changed"},
                        Case{"its uplink is none any more", file(rules, "host: {uplinks: [lo]}"),
                             "route-blocked", "policy-changed"},
                        Case{"the file has ended long ago", file(rules, "expires: 2020-01-01T00:00:00Z"),
                             "expired", "expired"}}) {
    CAPTURE(c.name);
    Rig rig{file(rules)};
    const auto tuple = to("198.51.100.1");
    const auto before = rig.ask(tuple);
    REQUIRE(before.allow);
    REQUIRE(rig.load(c.next) == PolicyLoad::kInForce);
    const auto now = rig.again(tuple, before.token);
    CHECK_FALSE(now.allow);
    const std::string record = rig.cut(tuple, before.token, now);
    CHECK(has(record, "\"event.action\":\"flow-revoked\""));
    CHECK(has(record, "\"event.reason\":\"" + std::string{c.reason} + "\""));
    CHECK(has(record, "\"sandbox.cause\":\"" + std::string{c.cause} + "\""));
    CHECK(has(record, "\"sandbox.policy.generation\":2,"));
  }
}

TEST_CASE("reload: a host that changes is the cause also when a reload came between") {
  Rig rig{file(kFar)};
  const auto tuple = to("198.51.100.77");
  const auto token = rig.ask(tuple).token;
  REQUIRE(rig.load("\n" + file(kFar)) == PolicyLoad::kInForce);
  test::run("ip addr add 198.51.100.77/32 dev lo");
  rig.judge->drain(rig.now);
  const auto now = rig.again(tuple, token);
  CHECK_FALSE(now.allow);
  const std::string record = rig.cut(tuple, token, now);
  CHECK(has(record, "\"event.reason\":\"host-address\""));
  CHECK(has(record, "\"sandbox.cause\":\"host-changed\""));
  test::run("ip addr del 198.51.100.77/32 dev lo");
  rig.judge->drain(rig.now);
}

TEST_CASE("reload: limits go over, and flows move to the scopes of the rule that admits them now") {
  const auto limited = [](std::string_view name, std::string_view limits) {
    return "  - {name: " + std::string{name} + ", allow: [198.51.100.0/24], limits: {" + std::string{limits} +
           "}}\n";
  };
  Rig rig{file(limited("far", "bytes: 1000B, connections: 3"))};
  const auto tuple = to("198.51.100.1");
  auto verdict = rig.ask(tuple);
  rig.judge->admit(tuple, verdict, rig.now);
  REQUIRE(verdict.account != 0);
  CHECK(verdict.metered);
  rig.judge->on_volume(verdict.account, 600);
  const sandbox::FlowView flow{tuple, tuple.remote, verdict.token, rig.now};

  // The same rule with more room: 600 stay counted.
  REQUIRE(rig.load(file(limited("far", "bytes: 700B, connections: 1"))) == PolicyLoad::kInForce);
  auto next = rig.again(tuple, verdict.token);
  rig.judge->readmit(flow, verdict.account, next);
  CHECK(next.account == verdict.account);
  CHECK(next.metered);
  CHECK_FALSE(rig.judge->over_budget(flow, next.account));
  auto second = rig.ask(tuple);
  rig.judge->admit(tuple, second, rig.now);
  CHECK_FALSE(second.allow);  // a connection is there already
  CHECK(reason_of(second) == policy::Reason::kLimitConnections);
  rig.judge->on_volume(next.account, 700);
  CHECK(rig.judge->over_budget(flow, next.account));

  // Another rule: its budget begins with what comes now.
  REQUIRE(rig.load(file(limited("renamed", "bytes: 500B"))) == PolicyLoad::kInForce);
  next = rig.again(tuple, next.token);
  rig.judge->readmit(flow, verdict.account, next);
  CHECK_FALSE(rig.judge->over_budget(flow, next.account));
  rig.judge->on_volume(next.account, 1199);
  CHECK_FALSE(rig.judge->over_budget(flow, next.account));
  rig.judge->on_volume(next.account, 1200);
  CHECK(rig.judge->over_budget(flow, next.account));
  rig.judge->release(next.account);
}

TEST_CASE("reload: a hundred in a row keep what is in force and what is remembered bounded") {
  Rig rig{file(kFar)};
  rig.judge->be_quiet();
  for (int i = 1; i <= 100; ++i)
    REQUIRE(rig.load(std::string(static_cast<std::size_t>(i), '\n') + file(kFar)) == PolicyLoad::kInForce);
  CHECK(rig.judge->policy().generation() == 101);
  CHECK(tag_of(rig.ask(to("198.51.100.1")).token) == 101);
  CHECK(rig.ask(to("198.51.100.1")).allow);
}

TEST_CASE("token: everything comes back, at the ends of its range") {
  for (const std::int16_t layer : std::initializer_list<std::int16_t>{-1, 0, 7})
    for (const std::int16_t rule : std::initializer_list<std::int16_t>{-1, 0, 10'000, 32'767})
      for (const std::uint64_t generation : {1U, 0xfffU, 0x1000U, 0xffffU, 0x10000U}) {
        policy::Decision d;
        d.layer = layer;
        d.rule = rule;
        d.allow = true;
        d.reason = policy::Reason::kEngineError;
        d.dst_class = policy::DstClass::kSpecial;
        d.would_deny = 0xff;
        d.direction = policy::Direction::kIngress;
        const auto token = pack(d, policy::LogMode::kAll, generation);
        const policy::Decision back = unpack(token);
        CHECK(back.layer == layer);
        CHECK(back.rule == rule);
        CHECK(back.allow);
        CHECK(back.reason == d.reason);
        CHECK(back.dst_class == d.dst_class);
        CHECK(back.would_deny == 0xff);
        CHECK(back.direction == d.direction);
        CHECK(log_of(token) == policy::LogMode::kAll);
        CHECK(tag_of(token) == static_cast<std::uint16_t>(generation));
      }
}

}  // namespace cordon::app
