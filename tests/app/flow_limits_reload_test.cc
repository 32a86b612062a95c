// What of the counts and shapers goes over to the next policy.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

#include "app/flow_limits.h"
#include "policy/load.h"

namespace cordon::app {
namespace {

using base::Instant;
using policy::Reason;
using namespace std::chrono_literals;

constexpr Instant kStart = Instant::from_nanos(1'000'000'000'000);

policy::PolicySet load(const std::vector<std::string>& texts) {
  std::vector<policy::Source> sources;
  for (const auto& text : texts) sources.push_back({"f" + std::to_string(sources.size()), text});
  auto loaded = policy::load(sources);
  REQUIRE_MESSAGE(loaded.policy.has_value(), policy::render(loaded.diagnostics));
  return std::move(*loaded.policy);
}

struct RuleText {
  std::string name;
  std::string limits;
};
// Rule i admits 10.i.0.0/16.
std::string file(const std::string& name, const std::string& head, const std::vector<RuleText>& rules) {
  std::string text = "version: 1\nname: " + name + "\n";
  if (!head.empty()) text += "limits: " + head + "\n";
  text += "egress:\n";
  for (std::size_t i = 0; i < rules.size(); ++i) {
    text += "  - {name: " + rules[i].name + ", allow: [10." + std::to_string(i) + ".0.0/16]";
    if (!rules[i].limits.empty()) text += ", limits: " + rules[i].limits;
    text += "}\n";
  }
  return text;
}

policy::Decision allowed(std::initializer_list<std::int16_t> rules) {
  policy::Decision d;
  d.allow = true;
  d.reason = Reason::kNone;
  std::size_t i = 0;
  for (const auto rule : rules) d.rules.at(i++) = rule;
  return d;
}

struct Rig {
  explicit Rig(const std::vector<std::string>& texts) : limits(load(texts)) {}
  void replace(const std::vector<std::string>& texts, Instant now = kStart) {
    limits.replace(load(texts), now);
  }
  FlowLimits::Admission ask(std::initializer_list<std::int16_t> rules, Instant now = kStart) {
    return limits.admit(limits.scopes().of(allowed(rules)), now);
  }
  FlowLimits::Admission move(std::uint32_t account, std::initializer_list<std::int16_t> rules) {
    return limits.move(account, limits.scopes().of(allowed(rules)));
  }
  Reason refusal(std::initializer_list<std::int16_t> rules, Instant now = kStart) {
    const auto admission = ask(rules, now);
    return admission.refused ? admission.refused->reason : Reason::kNone;
  }
  FlowLimits limits;
};

}  // namespace

TEST_CASE("limits: scopes are known again by file, rule and direction") {
  struct Case {
    std::string_view name;
    std::vector<std::string> next;
    std::uint32_t connections;  // of scope 1 afterwards
    std::uint64_t bytes;
  };
  const std::string limits = "{connections: 9, bytes: 5000B}";
  const std::string first = file("x", "", {{"a", limits}});
  for (const Case& c :
       {Case{"the same", {first}, 1, 700},
        Case{"other numbers", {file("x", "", {{"a", "{connections: 1, bytes: 1B}"}})}, 1, 700},
        Case{"another place", {file("x", "", {{"z", ""}, {"a", limits}})}, 1, 700},
        Case{"another name", {file("x", "", {{"b", limits}})}, 0, 0},
        Case{"another file", {file("y", "", {{"a", limits}})}, 0, 0},
        Case{"the head of the file", {file("x", limits, {{"a", ""}})}, 0, 0},
        Case{"a file before it, of the same name",
             {file("x", "", {{"z", ""}}), file("x", "", {{"a", limits}})},
             0,
             0}}) {
    CAPTURE(c.name);
    Rig rig{{first}};
    const auto flow = rig.ask({0});
    rig.limits.on_volume(flow.account, 700);
    rig.replace(c.next);
    REQUIRE(rig.limits.scopes().size() == 1);
    CHECK(rig.limits.connections(1) == c.connections);
    CHECK(rig.limits.bytes(1) == c.bytes);
    CHECK(rig.limits.accounts() == 1);
    rig.limits.release(flow.account);
    CHECK(rig.limits.connections(1) == 0);
    CHECK(rig.limits.accounts() == 0);
  }
}

TEST_CASE("limits: fewer connections refuse new ones and cut nobody") {
  Rig rig{{file("x", "", {{"a", "{connections: 3}"}})}};
  const auto one = rig.ask({0});
  const auto two = rig.ask({0});
  rig.replace({file("x", "", {{"a", "{connections: 1}"}})});
  CHECK(rig.limits.connections(1) == 2);
  CHECK(rig.move(one.account, {0}).account == one.account);
  CHECK_FALSE(rig.limits.over_budget(one.account));
  CHECK(rig.refusal({0}) == Reason::kLimitConnections);
  rig.limits.release(one.account);
  CHECK(rig.refusal({0}) == Reason::kLimitConnections);
  rig.limits.release(two.account);
  CHECK(rig.refusal({0}) == Reason::kNone);
}

TEST_CASE("limits: a flow that another rule admits now is counted there") {
  Rig rig{{file("x", "", {{"a", "{connections: 2}"}, {"b", "{connections: 2}"}})}};
  const auto flow = rig.ask({0});
  CHECK(rig.limits.connections(1) == 1);
  rig.move(flow.account, {1});
  CHECK(rig.limits.connections(1) == 0);
  CHECK(rig.limits.connections(2) == 1);
  rig.move(flow.account, {1});
  CHECK(rig.limits.connections(2) == 1);

  // No limit is about it any more, and then one is again.
  rig.replace({file("x", "", {{"z", ""}, {"a", "{connections: 2}"}})});
  CHECK(rig.move(flow.account, {0}).account == flow.account);
  CHECK(rig.limits.connections(1) == 0);
  rig.move(flow.account, {1});
  CHECK(rig.limits.connections(1) == 1);
  rig.limits.release(flow.account);
  CHECK(rig.limits.connections(1) == 0);

  // One that had no account gets one, and without limits none.
  CHECK(rig.move(0, {0}).account == 0);
  const auto late = rig.move(0, {1});
  CHECK(late.account != 0);
  CHECK(rig.limits.connections(1) == 1);
  rig.limits.release(late.account);
  CHECK(rig.limits.accounts() == 0);
}

TEST_CASE("limits: what passed before a budget began is charged to nobody") {
  Rig rig{{file("x", "", {{"a", "{connections: 2}"}})}};
  const auto flow = rig.ask({0});
  CHECK_FALSE(flow.metered);
  rig.replace({file("x", "", {{"a", "{connections: 2, bytes: 1000B}"}})});
  CHECK(rig.move(flow.account, {0}).metered);
  rig.limits.on_volume(flow.account, 50'000);
  CHECK(rig.limits.bytes(1) == 0);
  rig.limits.on_volume(flow.account, 50'999);
  CHECK_FALSE(rig.limits.over_budget(flow.account));
  rig.limits.on_volume(flow.account, 51'000);
  CHECK(rig.limits.over_budget(flow.account));

  // A flow of which nothing has passed yet begins at zero, although nothing could be measured.
  const auto fresh = rig.move(0, {0});
  rig.limits.on_volume(fresh.account, 0);
  rig.limits.on_volume(fresh.account, 10);
  CHECK(rig.limits.bytes(1) == 1010);
}

TEST_CASE("limits: a smaller budget is used up at once, and a larger one opens again") {
  Rig rig{{file("x", "", {{"a", "{bytes: 1000B}"}})}};
  const auto flow = rig.ask({0});
  rig.limits.on_volume(flow.account, 900);
  rig.replace({file("x", "", {{"a", "{bytes: 500B}"}})});
  rig.move(flow.account, {0});
  CHECK(rig.limits.over_budget(flow.account) == 1);
  CHECK(rig.refusal({0}) == Reason::kLimitBytes);
  rig.replace({file("x", "", {{"a", "{bytes: 901B}"}})});
  CHECK_FALSE(rig.limits.over_budget(flow.account));
  CHECK(rig.refusal({0}) == Reason::kNone);
}

TEST_CASE("limits: the meter of new flows goes on, without the debt of a slower one") {
  const auto rule = [](std::string_view limit) {
    return std::vector{file("x", "", {{"a", "{new: " + std::string{limit} + "}"}})};
  };
  Rig rig{rule("2/min")};
  CHECK(rig.refusal({0}) == Reason::kNone);
  CHECK(rig.refusal({0}) == Reason::kNone);
  CHECK(rig.refusal({0}) == Reason::kLimitNew);
  rig.replace(rule("2/min"));
  CHECK(rig.refusal({0}) == Reason::kLimitNew);  // no reload refills it
  rig.replace(rule("100/s"));
  CHECK(rig.refusal({0}) == Reason::kLimitNew);
  CHECK(rig.refusal({0}, kStart + 1s) == Reason::kNone);
}

TEST_CASE("limits: a shaper keeps its number while it is the same, and no other meaning while it is used") {
  Rig rig{{file("x", "{rate: 9MB/s}", {{"a", "{rate: 1MB/s}"}, {"b", "{rate: 2MB/s}"}})}};
  const auto a = rig.ask({0});
  const auto b = rig.ask({1});
  REQUIRE(a.shaping.shaper != 0);
  REQUIRE(a.shaping.outer != 0);
  REQUIRE(std::set{a.shaping.shaper, b.shaping.shaper, a.shaping.outer}.size() == 3);

  // `a` is faster, `b` is gone, `c` is new.
  rig.replace({file("x", "{rate: 8MB/s}", {{"a", "{rate: 3MB/s}"}, {"c", "{rate: 4MB/s}"}})});
  const auto faster = rig.move(a.account, {0});
  CHECK(faster.shaping.shaper == a.shaping.shaper);
  CHECK(faster.shaping.rate == 3'000'000);
  CHECK(faster.shaping.outer == a.shaping.outer);
  CHECK(faster.shaping.outer_rate == 8'000'000);
  const auto c = rig.ask({1});
  CHECK(std::set{c.shaping.shaper, a.shaping.shaper, b.shaping.shaper, a.shaping.outer}.size() == 4);
  // Who stays by the old rule keeps its rate, under the guest's of now.
  const auto stays = rig.limits.stay(b.account);
  CHECK(stays.shaping.shaper == b.shaping.shaper);
  CHECK(stays.shaping.rate == 2'000'000);
  CHECK(stays.shaping.outer_rate == 8'000'000);

  // Without a rate for the whole guest there is no outer one, for nobody.
  rig.replace({file("x", "", {{"a", "{rate: 3MB/s}"}})});
  CHECK(rig.limits.stay(b.account).shaping.outer == 0);
  CHECK(rig.limits.stay(b.account).shaping.outer_rate == 0);
  CHECK(rig.move(a.account, {0}).shaping ==
        flow::Shaping{.shaper = a.shaping.shaper, .outer = 0, .rate = 3'000'000});

  // Without any rate: none.
  rig.replace({file("x", "", {{"a", "{connections: 5}"}})});
  CHECK(rig.move(a.account, {0}).shaping == flow::Shaping{});
}

TEST_CASE("limits: more shapers than numbers share, and never without a rate") {
  const auto many = [](std::string_view prefix) {
    std::vector<RuleText> rules;
    for (int i = 0; i < flow::kMaxShapers; ++i)
      rules.push_back({std::string{prefix} + std::to_string(i), "{rate: 1MB/s}"});
    return std::vector{file("x", "", rules)};
  };
  Rig rig{many("a")};
  std::vector<std::uint32_t> accounts;
  std::set<std::uint16_t> numbers;
  for (std::int16_t i = 0; i < flow::kMaxShapers; ++i) {
    const auto flow = rig.ask({i});
    accounts.push_back(flow.account);
    numbers.insert(flow.shaping.shaper);
  }
  CHECK(numbers.size() == flow::kMaxShapers);
  rig.replace(many("b"));
  numbers.clear();
  for (std::int16_t i = 0; i < flow::kMaxShapers; ++i) {
    const auto flow = rig.ask({i});
    CHECK(flow.shaping.rate == 1'000'000);
    numbers.insert(flow.shaping.shaper);
  }
  CHECK(numbers.size() == flow::kMaxShapers);
  for (const std::uint32_t account : accounts) CHECK(rig.limits.stay(account).shaping.rate == 1'000'000);
}

// The books against a simple model, over random policies and flows.
TEST_CASE("limits: through random reloads every flow is counted exactly once in each of its scopes") {
  std::mt19937 random{20261122};
  const std::vector<std::string> names{"a", "b", "c", "d"};
  const std::vector<std::string> choices{"", "{connections: 100000}", "{bytes: 1GB}", "{rate: 1MB/s}",
                                         "{connections: 100000, rate: 2MB/s, bytes: 2GB}"};
  const auto draw = [&] {
    std::vector<RuleText> rules;
    auto order = names;
    std::shuffle(order.begin(), order.end(), random);
    for (const auto& name : order) rules.push_back({name, choices.at(random() % choices.size())});
    return std::vector{file("x", choices.at(random() % choices.size()), rules),
                       file("y", random() % 2 == 0 ? "{connections: 100000}" : "", {{"all", ""}})};
  };
  struct Live {
    std::uint32_t account;
    std::int16_t rule;
  };
  Rig rig{draw()};
  std::vector<Live> flows;
  for (int round = 0; round < 300; ++round) {
    for (auto n = random() % 20; n-- > 0;) {
      const auto rule = static_cast<std::int16_t>(random() % names.size());
      const auto admission = rig.ask({rule, 0});
      CHECK_FALSE(admission.refused);
      flows.push_back({admission.account, rule});
    }
    while (!flows.empty() && random() % 16 != 0) {
      const std::size_t victim = random() % flows.size();
      rig.limits.release(flows[victim].account);
      flows.erase(flows.begin() + static_cast<std::ptrdiff_t>(victim));
    }
    rig.replace(draw());
    for (Live& flow : flows) {
      flow.rule = static_cast<std::int16_t>(random() % names.size());
      flow.account = rig.move(flow.account, {flow.rule, 0}).account;
    }
    std::map<std::uint16_t, std::uint32_t> expected;
    for (const Live& flow : flows)
      for (const auto id : rig.limits.scopes().of(allowed({flow.rule, 0})))
        if (id != 0) ++expected[id];
    for (std::uint16_t id = 1; id <= rig.limits.scopes().size(); ++id)
      CHECK(rig.limits.connections(id) == expected[id]);
    for (const Live& flow : flows) {
      const auto shaping = rig.limits.stay(flow.account).shaping;
      CHECK((shaping.shaper == 0) == (shaping.rate == 0));
      CHECK((shaping.outer == 0) == (shaping.outer_rate == 0));
      CHECK((shaping.outer == 0 || (shaping.shaper != 0 && shaping.shaper != shaping.outer)));
    }
  }
  for (const Live& flow : flows) rig.limits.release(flow.account);
  CHECK(rig.limits.accounts() == 0);
}

}  // namespace cordon::app
