// One policy after another, in the real judge: swap, drain, dates, tokens, limits.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "app/broker_judge.h"
#include "app/broker_token.h"
#include "policy/load.h"
#include "policy/parsed_source.h"
#include "tests/support/world.h"

namespace cordon::app {
namespace {

using sandbox::PolicyLoad;
using sandbox::control::LoadCause;
using namespace std::chrono_literals;

GuestPlan plan() {
  GuestPlan guest;
  guest.ipv4 = FamilyPlan{.address = *net::parse_ip("10.0.2.15"),
                          .prefix_length = 24,
                          .gateway = *net::parse_ip("10.0.2.2"),
                          .dns = *net::parse_ip("10.0.2.3")};
  guest.name = "g";
  return guest;
}

// A file whose rule list is in its lines from 4 on.
std::string file(const std::string& rules, const std::string& head = "description: x") {
  return "version: 1\nname: x\n" + head + "\negress:\n" + rules;
}
const std::string kFar = "  - {name: far, allow: [198.51.100.0/24]}\n";
const std::string kOther = "  - {name: other, allow: [203.0.113.0/24]}\n";

flow::Tuple to(std::string_view remote, std::uint16_t port = 80,
               flow::Protocol protocol = flow::Protocol::kTcp) {
  return {
      protocol, {*net::parse_ip("10.0.2.15"), net::Port{40000}}, {*net::parse_ip(remote), net::Port{port}}};
}

struct Rig {
  explicit Rig(const std::string& text) {
    test::World::get();
    REQUIRE(::pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0);
    auto monitor = netlink::Monitor::open(now);
    REQUIRE(monitor);
    judge.emplace(plan(), nullptr, std::move(*monitor), pipe[1]);
    judge->drain(now);
    if (!text.empty()) REQUIRE(load(text) == PolicyLoad::kInForce);
  }
  ~Rig() {
    ::close(pipe[0]);
    ::close(pipe[1]);
  }
  PolicyLoad load(const std::string& text, LoadCause cause = LoadCause::kSignal) {
    const policy::Source source{"x.yaml", text};
    return judge->take_policy(policy::load(std::span(&source, 1), judge->next_generation()), cause, now);
  }
  // A date is written by the second, and tests do not wait for one.
  PolicyLoad load_ending(const std::string& text, base::WallTime expires, base::WallTime until) {
    const policy::Source source{"x.yaml", text};
    auto loaded = policy::load(std::span(&source, 1));
    REQUIRE(loaded.policy);
    std::vector<policy::Ruleset> files(loaded.policy->files().begin(), loaded.policy->files().end());
    files[0].expires = expires;
    if (!files[0].egress.empty()) files[0].egress[0].until = until;
    loaded.policy.emplace(std::move(files), judge->next_generation());
    return judge->take_policy(std::move(loaded), LoadCause::kSignal, now);
  }
  sandbox::Verdict ask(const flow::Tuple& tuple) { return judge->judge(tuple, now); }
  sandbox::Verdict again(const flow::Tuple& tuple, std::uint64_t token) {
    return judge->judge_again({tuple, tuple.remote, token, now}, false, now);
  }
  std::string audit() {
    std::string text(65536, '\0');
    const ssize_t n = ::read(pipe[0], text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  std::string cut(const flow::Tuple& tuple, std::uint64_t token, const sandbox::Verdict& verdict,
                  sandbox::Cut why = sandbox::Cut::kVerdict) {
    (void)audit();
    judge->on_cut({tuple, tuple.remote, token, now}, verdict, why, true, false, now);
    return audit();
  }
  base::Instant now = base::monotonic_now();
  int pipe[2] = {-1, -1};
  std::optional<BrokerJudge> judge;
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
policy::Reason reason_of(const sandbox::Verdict& verdict) { return unpack(verdict.token).reason; }

}  // namespace

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

TEST_CASE("reload: drain lets flows live on, but not new ones, and not against the host") {
  Rig rig{file(kFar + kOther)};
  const auto tuple = to("198.51.100.1");
  const auto token = rig.ask(tuple).token;
  const auto stays = rig.ask(to("203.0.113.9")).token;
  REQUIRE(rig.load(file(kOther, "reload: drain 30s")) == PolicyLoad::kInForce);
  CHECK_FALSE(rig.ask(tuple).allow);
  const auto drains = rig.again(tuple, token);
  CHECK(drains.allow);
  CHECK(drains.dial == tuple.remote);
  CHECK(tag_of(drains.token) == 1);  // still by the old one
  CHECK(tag_of(rig.again(to("203.0.113.9"), stays).token) == 2);
  CHECK(rig.judge->tick_due() <= rig.now + 30s);

  // A review in between forgets nothing that still drains.
  rig.judge->on_reviewed(rig.judge->epoch());
  CHECK(rig.again(tuple, token).allow);

  // The host comes first.
  const auto local = to("198.51.100.78");
  CHECK(rig.again(local, token).allow);
  test::run("ip addr add 198.51.100.78/32 dev lo");
  rig.judge->drain(rig.now);
  CHECK(reason_of(rig.again(local, token)) == policy::Reason::kHostAddress);
  test::run("ip addr del 198.51.100.78/32 dev lo");
  rig.judge->drain(rig.now);
  CHECK(rig.again(tuple, token).allow);

  // Its time is over: exactly then, and the tick asks for a review.
  rig.now = rig.now + 30s - 1ns;
  CHECK(rig.again(tuple, token).allow);
  rig.now = rig.now + 1ns;
  const auto epoch = rig.judge->epoch();
  rig.judge->on_tick(rig.now);
  CHECK(rig.judge->epoch() == epoch + 1);
  const auto over = rig.again(tuple, token);
  CHECK(reason_of(over) == policy::Reason::kNoRule);
  CHECK(has(rig.cut(tuple, token, over), "\"sandbox.cause\":\"policy-changed\""));
  rig.judge->on_tick(rig.now);
  CHECK(rig.judge->epoch() == epoch + 1);
}

TEST_CASE("reload: a later policy shortens a drain and never lengthens it") {
  struct Case {
    std::string_view name;
    std::string_view first;
    std::string_view second;
    base::Duration lives;
  };
  for (const Case& c :
       {Case{"shorter", "drain 30s", "drain 5s", 5s}, Case{"longer", "drain 5s", "drain 60s", 5s},
        Case{"revoke", "drain 30s", "revoke", 0s}}) {
    CAPTURE(c.name);
    Rig rig{file(kFar)};
    const auto tuple = to("198.51.100.1");
    const auto token = rig.ask(tuple).token;
    REQUIRE(rig.load(file(kOther, "reload: " + std::string{c.first})) == PolicyLoad::kInForce);
    REQUIRE(rig.load("\n" + file(kOther, "reload: " + std::string{c.second})) == PolicyLoad::kInForce);
    if (c.lives > 0s) {
      rig.now = rig.now + c.lives - 1ms;
      CHECK(rig.again(tuple, token).allow);
      rig.now = rig.now + 1ms;
    }
    CHECK_FALSE(rig.again(tuple, token).allow);
  }
}

TEST_CASE("reload: inbound flows drain too") {
  const std::string ingress = "ingress:\n  - {name: in, allow: [192.0.2.0/24], ports: [tcp/80]}\n";
  Rig rig{file(kFar) + ingress};
  const flow::Tuple seen{flow::Protocol::kTcp,
                         {*net::parse_ip("10.0.2.15"), net::Port{80}},
                         {*net::parse_ip("192.0.2.10"), net::Port{50000}}};
  const auto before = rig.judge->judge_inbound(seen, rig.now);
  REQUIRE(before.allow);
  REQUIRE(rig.load(file(kFar, "reload: drain 10s")) == PolicyLoad::kInForce);
  CHECK_FALSE(rig.judge->judge_inbound(seen, rig.now).allow);
  const sandbox::FlowView flow{seen, seen.remote, before.token, rig.now};
  CHECK(rig.judge->judge_again(flow, true, rig.now).allow);
  CHECK_FALSE(rig.judge->judge_again(flow, true, rig.now + 10s).allow);
}

TEST_CASE("dates: a rule and a file end at their date, for live flows by a timer") {
  for (const bool whole_file : {false, true}) {
    CAPTURE(whole_file);
    Rig rig{file(kOther)};
    constexpr auto kNever = base::WallTime::max();
    const auto date = base::wall_now() + 300ms;
    REQUIRE(rig.load_ending(file(kFar), whole_file ? date : kNever, whole_file ? kNever : date) ==
            PolicyLoad::kInForce);
    const auto tuple = to("198.51.100.1");
    const auto before = rig.ask(tuple);
    REQUIRE(before.allow);
    const auto epoch = rig.judge->epoch();
    pollfd timer{.fd = rig.judge->clock_fd(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&timer, 1, 0) == 0);
    REQUIRE(::poll(&timer, 1, 5000) == 1);
    CHECK(base::wall_now() >= date);
    rig.judge->on_clock(rig.now);
    CHECK(rig.judge->epoch() != epoch);
    CHECK(::poll(&timer, 1, 0) == 0);
    const auto after = rig.again(tuple, before.token);
    CHECK_FALSE(after.allow);
    CHECK(reason_of(after) == (whole_file ? policy::Reason::kExpired : policy::Reason::kNoRule));
    CHECK(has(rig.cut(tuple, before.token, after), "\"sandbox.cause\":\"expired\""));
  }
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
