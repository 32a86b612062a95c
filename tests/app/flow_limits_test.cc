#include "app/flow_limits.h"

#include <doctest/doctest.h>

#include <array>
#include <random>
#include <string>

#include "policy/load.h"

namespace cordon::app {
namespace {

using base::Instant;
using policy::Reason;
using namespace std::chrono_literals;

policy::PolicySet load(std::initializer_list<std::string> texts) {
  std::vector<policy::Source> sources;
  for (const auto& text : texts) sources.push_back({"f" + std::to_string(sources.size()), text});
  auto loaded = policy::load(sources);
  REQUIRE_MESSAGE(loaded.policy.has_value(), policy::render(loaded.diagnostics));
  return std::move(*loaded.policy);
}

std::string head(const std::string& limits) {
  return "version: 1\nname: x\nlimits: " + limits + "\negress: [{name: a, allow: any}]\n";
}

policy::Decision allowed(std::initializer_list<std::int16_t> rules) {
  policy::Decision d;
  d.allow = true;
  d.reason = Reason::kNone;
  std::size_t i = 0;
  for (const auto rule : rules) d.rules[i++] = rule;
  return d;
}

constexpr Instant kStart = Instant::from_nanos(1'000'000'000'000);

struct Rig {
  explicit Rig(std::initializer_list<std::string> texts) : limits(load(texts)) {}
  // An account, or the reason.
  FlowLimits::Admission ask(const policy::Decision& d, Instant now = kStart) {
    return limits.admit(limits.scopes().of(d), now);
  }
  Reason refusal(const policy::Decision& d, Instant now = kStart) {
    const auto admission = ask(d, now);
    return admission.refused ? admission.refused->reason : Reason::kNone;
  }
  FlowLimits limits;
};

}  // namespace

TEST_CASE("limits: a policy without limits counts nothing") {
  Rig rig{"version: 1\nname: x\negress: [{name: a, allow: any}]\n"};
  const auto admission = rig.ask(allowed({0}));
  CHECK_FALSE(admission.refused);
  CHECK(admission.account == 0);
  CHECK_FALSE(admission.metered);
  rig.limits.release(admission.account);
  rig.limits.on_volume(admission.account, 5);
  CHECK_FALSE(rig.limits.over_budget(admission.account));
  CHECK(rig.limits.accounts() == 0);
}

TEST_CASE("limits: connections are refused at the limit and free again when one ends") {
  Rig rig{head("{connections: 2}")};
  const auto first = rig.ask(allowed({0}));
  const auto second = rig.ask(allowed({0}));
  CHECK(first.account != 0);
  CHECK(second.account != 0);
  CHECK(rig.refusal(allowed({0})) == Reason::kLimitConnections);
  CHECK(rig.limits.connections(1) == 2);
  rig.limits.release(first.account);
  rig.limits.release(first.account);  // a second time is nothing
  CHECK(rig.limits.connections(1) == 1);
  CHECK(rig.refusal(allowed({0})) == Reason::kNone);
  CHECK(rig.refusal(allowed({0})) == Reason::kLimitConnections);
}

TEST_CASE("limits: new flows at the edges of their time") {
  struct EdgeCase {
    std::string_view name;
    std::string limit;
    std::uint32_t burst;
    base::Duration interval;
  };
  for (const auto& c : {EdgeCase{"one a second", "1/s", 1, 1s}, EdgeCase{"five a second", "5/s", 5, 200ms},
                        EdgeCase{"one a minute", "1/min", 1, 60s}, EdgeCase{"six a minute", "6/min", 6, 10s},
                        EdgeCase{"three a second, rounded up", "3/s", 3, 333'333'334ns}}) {
    CAPTURE(c.name);
    Rig rig{head("{new: " + c.limit + "}")};
    for (std::uint32_t i = 0; i < c.burst; ++i) CHECK(rig.refusal(allowed({0})) == Reason::kNone);
    CHECK(rig.refusal(allowed({0})) == Reason::kLimitNew);
    CHECK(rig.refusal(allowed({0}), kStart + c.interval - 1ns) == Reason::kLimitNew);
    CHECK(rig.refusal(allowed({0}), kStart + c.interval) == Reason::kNone);
    CHECK(rig.refusal(allowed({0}), kStart + c.interval) == Reason::kLimitNew);
    // A long pause saves up no more than one burst.
    const Instant later = kStart + 10'000s;
    for (std::uint32_t i = 0; i < c.burst; ++i) CHECK(rig.refusal(allowed({0}), later) == Reason::kNone);
    CHECK(rig.refusal(allowed({0}), later) == Reason::kLimitNew);
  }
}

TEST_CASE("limits: a refused flow is counted nowhere") {
  // The rule's burst is used up first; the file's must not be drained by those who were refused.
  Rig rig{
      "version: 1\nname: x\nlimits: {new: 3/s, connections: 9}\n"
      "egress: [{name: a, allow: 10.0.0.0/8, limits: {new: 1/s}}, {name: b, allow: any}]\n"};
  CHECK(rig.refusal(allowed({0})) == Reason::kNone);
  for (int i = 0; i < 5; ++i) CHECK(rig.refusal(allowed({0})) == Reason::kLimitNew);
  CHECK(rig.limits.connections(1) == 1);
  CHECK(rig.refusal(allowed({1})) == Reason::kNone);
  CHECK(rig.refusal(allowed({1})) == Reason::kNone);
  CHECK(rig.refusal(allowed({1})) == Reason::kLimitNew);
}

TEST_CASE("limits: a byte budget is summed over flows, never goes back, and outlives them") {
  Rig rig{
      "version: 1\nname: x\negress: [{name: a, allow: 10.0.0.0/8, limits: {bytes: 1KB}}, {name: b, allow: "
      "any}]\n"};
  const auto first = rig.ask(allowed({0}));
  const auto second = rig.ask(allowed({0}));
  const auto other = rig.ask(allowed({1}));
  CHECK(first.metered);
  CHECK(other.account == 0);
  rig.limits.on_volume(first.account, 400);
  rig.limits.on_volume(first.account, 100);  // less than before
  rig.limits.on_volume(first.account, 400);
  rig.limits.on_volume(second.account, 599);
  CHECK(rig.limits.bytes(1) == 999);
  CHECK_FALSE(rig.limits.over_budget(first.account));
  rig.limits.on_volume(second.account, 600);
  CHECK(rig.limits.over_budget(first.account) == 1);
  CHECK(rig.limits.over_budget(second.account) == 1);
  CHECK(rig.refusal(allowed({0})) == Reason::kLimitBytes);
  CHECK(rig.refusal(allowed({1})) == Reason::kNone);
  rig.limits.release(first.account);
  rig.limits.release(second.account);
  CHECK(rig.refusal(allowed({0})) == Reason::kLimitBytes);
  CHECK(rig.limits.connections(1) == 0);
  Rig huge{head("{bytes: 2B}")};
  const auto one = huge.ask(allowed({0}));
  huge.limits.on_volume(one.account, UINT64_MAX);
  huge.limits.release(one.account);
  CHECK(huge.limits.bytes(1) == UINT64_MAX);
}

TEST_CASE("limits: each file's limit holds by itself, outermost first") {
  Rig rig{head("{connections: 3}"), head("{connections: 2}")};
  CHECK(rig.refusal(allowed({0, 0})) == Reason::kNone);
  CHECK(rig.refusal(allowed({0, 0})) == Reason::kNone);
  const auto admission = rig.ask(allowed({0, 0}));
  REQUIRE(admission.refused);
  CHECK(rig.limits.scopes().scope(admission.refused->scope).layer == 1);
  Rig wide{head("{connections: 1}"), head("{connections: 100}")};
  CHECK(wide.refusal(allowed({0, 0})) == Reason::kNone);
  const auto refused = wide.ask(allowed({0, 0}));
  REQUIRE(refused.refused);
  CHECK(wide.limits.scopes().scope(refused.refused->scope).layer == 0);
}

TEST_CASE("limits: counts never leak and never exceed their limit over random lives of flows") {
  std::mt19937 dice{20261122};
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>{0, n - 1}(dice);
  };
  Rig rig{
      "version: 1\nname: x\nlimits: {connections: 20, new: 50/s, bytes: 1TB}\n"
      "egress: [{name: a, allow: 10.0.0.0/8, limits: {connections: 5}}, {name: b, allow: any}]\n"
      "ingress: [{name: c, allow: any, limits: {connections: 3, bytes: 100MB}}]\n",
      head("{connections: 15}")};
  auto inbound = allowed({0});
  struct Live {
    std::uint32_t account;
    int kind;
    std::uint64_t volume;
  };
  std::vector<Live> live;
  std::array<std::size_t, 3> count{};
  std::array<std::size_t, policy::kReasonCount> seen{};
  Instant now = kStart;
  std::uint64_t bytes = 0;
  for (int step = 0; step < 50'000; ++step) {
    now = now + base::Duration{static_cast<std::int64_t>(below(20'000'000))};
    const auto choice = below(10);
    if (choice < 5) {
      const int kind = static_cast<int>(below(3));
      auto d = kind == 0 ? allowed({0, 0}) : kind == 1 ? allowed({1, 0}) : inbound;
      if (kind == 2) d.direction = policy::Direction::kIngress;
      const auto admission = rig.ask(d, now);
      ++seen[static_cast<std::size_t>(admission.refused ? admission.refused->reason : Reason::kNone)];
      if (admission.refused) continue;
      REQUIRE(admission.account != 0);
      for (const Live& other : live) REQUIRE(other.account != admission.account);
      live.push_back({admission.account, kind, 0});
      ++count[static_cast<std::size_t>(kind)];
    } else if (!live.empty() && choice < 8) {
      const auto which = below(live.size());
      rig.limits.release(live[which].account);
      --count[static_cast<std::size_t>(live[which].kind)];
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(which));
    } else if (!live.empty()) {
      Live& flow = live[below(live.size())];
      const std::uint64_t more = below(5000);
      flow.volume += more;
      bytes += more;
      rig.limits.on_volume(flow.account, flow.volume);
    }
    REQUIRE(rig.limits.accounts() == live.size());
    REQUIRE(count[0] <= 5);
    REQUIRE(count[2] <= 3);
    REQUIRE(live.size() <= 15);
    REQUIRE(rig.limits.connections(1) == live.size());
    REQUIRE(rig.limits.connections(2) == count[0]);
    REQUIRE(rig.limits.connections(3) == count[2]);
    REQUIRE(rig.limits.connections(4) == live.size());
    REQUIRE(rig.limits.bytes(1) == bytes);
  }
  CHECK(seen[static_cast<std::size_t>(Reason::kNone)] > 1000);
  CHECK(seen[static_cast<std::size_t>(Reason::kLimitConnections)] > 1000);
  while (!live.empty()) {
    rig.limits.release(live.back().account);
    live.pop_back();
  }
  for (std::uint16_t scope = 1; scope <= 4; ++scope) CHECK(rig.limits.connections(scope) == 0);
}

TEST_CASE("limits: new flows of any window stay within two bursts") {
  std::mt19937 dice{7};
  Rig rig{head("{new: 10/s}")};
  std::vector<Instant> admitted;
  Instant now = kStart;
  for (int i = 0; i < 20'000; ++i) {
    now = now + base::Duration{std::uniform_int_distribution<std::int64_t>{0, 60'000'000}(dice)};
    if (rig.refusal(allowed({0}), now) == Reason::kNone) admitted.push_back(now);
  }
  for (std::size_t i = 0; i + 20 < admitted.size(); ++i) REQUIRE(admitted[i + 20] - admitted[i] >= 1s);
  // And what was promised is given: on average the full rate.
  const double seconds = std::chrono::duration<double>(now - kStart).count();
  CHECK(static_cast<double>(admitted.size()) > 9.5 * seconds);
}

}  // namespace cordon::app
