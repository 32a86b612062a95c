// The index is really used, stays small, and gives way where it would not. That it decides alike is a
// property (properties_test.cc).
#include "policy/rule_index.h"

#include <algorithm>

#include "policy/prefix_nest.h"
#include "tests/policy/dice.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

Rule rule_for(std::string_view prefix, PortRange port, Action action = Action::kAllow) {
  Rule rule;
  rule.action = action;
  rule.to.prefixes.push_back(*net::parse_prefix(prefix));
  rule.ports.push_back(port);
  return rule;
}

std::string dotted(std::size_t number) {
  return "10." + std::to_string(number / 65536 % 256) + "." + std::to_string(number / 256 % 256) + "." +
         std::to_string(number % 256);
}

// What first_match() of one list costs for a flow to the public Internet's class.
RuleIndex::Visits visits(const std::vector<Rule>& rules, std::string_view address, std::uint16_t port,
                         std::int16_t want) {
  const auto index = RuleIndex::build(rules, Direction::kEgress);
  REQUIRE(index != nullptr);
  const auto tuple = flow_to(address, port);
  const auto host = facts(routed());
  const Query query{.tuple = tuple,
                    .facts = host,
                    .remote = normalise(tuple.remote.address),
                    .dst_class = DstClass::kInternet};
  RuleIndex::Visits out;
  CHECK(index->first_match(rules, query, &out) == want);
  return out;
}

}  // namespace

TEST_CASE("policy: a decision over 10,000 rules looks at one place and asks no rule") {
  std::vector<Rule> rules;
  for (std::size_t i = 0; i < 10'000; ++i)
    rules.push_back(rule_for(dotted(i), {.first = static_cast<std::uint16_t>(i % 1000), .last = 1000}));
  for (const std::size_t at : {0U, 5'000U, 9'999U}) {
    CAPTURE(at);
    const auto v = visits(rules, dotted(at), 1000, static_cast<std::int16_t>(at));
    CHECK(v.nodes <= 2);  // the prefix, and the word's empty node
    CHECK(v.asked == 0);
  }
  const auto none = visits(rules, "10.255.0.1", 1000, Decision::kNoRule);
  CHECK(none.nodes <= 2);
  CHECK(none.asked == 0);
}

TEST_CASE("policy: rules of one place with ports of their own are found without asking the others") {
  std::vector<Rule> rules;
  for (std::uint16_t i = 0; i < 5'000; ++i) rules.push_back(rule_for("0.0.0.0/0", {.first = i, .last = i}));
  CHECK(visits(rules, "93.184.216.34", 4'999, 4'999).asked == 0);
  CHECK(visits(rules, "93.184.216.34", 5'000, Decision::kNoRule).asked == 0);
}

TEST_CASE("policy: rules with exceptions are asked up to the first that has none") {
  std::vector<Rule> rules;
  for (int i = 0; i < 5; ++i) {
    rules.push_back(rule_for("0.0.0.0/0", {.first = 443, .last = 443}));
    rules.back().except.prefixes.push_back(*net::parse_prefix("93.0.0.0/8"));
  }
  for (int i = 0; i < 100; ++i) rules.push_back(rule_for("0.0.0.0/0", {}));
  CHECK(visits(rules, "93.184.216.34", 443, 5).asked == 5);
  CHECK(visits(rules, "8.8.8.8", 443, 0).asked == 1);
  CHECK(visits(rules, "93.184.216.34", 80, 5).asked == 0);
  // More of them than a list holds: the plain evaluator goes on behind the last, up to the one that matches.
  for (int i = 0; i < 100; ++i) rules.insert(rules.begin(), rules.front());
  CHECK(visits(rules, "93.184.216.34", 443, 105).asked == 106);
}

TEST_CASE("policy: short lists are read through, long ones and long lists of addresses are not") {
  std::vector<Rule> rules(64, rule_for("10.0.0.0/8", {}));
  CHECK_FALSE(RuleIndex::pays(rules));
  rules.resize(65, rules.front());
  CHECK(RuleIndex::pays(rules));
  std::vector<Rule> few(2, rules.front());
  few[0].to.prefixes.resize(200, few[0].to.prefixes[0]);
  CHECK(RuleIndex::pays(few));
  const auto text = [](int count) {
    std::string out = "version: 1\nname: long\negress:\n";
    for (int i = 0; i < count; ++i)
      out += "  - {name: r" + std::to_string(i) + ", allow: 10.0." + std::to_string(i) + ".0/24}\n";
    return out;
  };
  CHECK(load_ok({text(64)}).index(0, Direction::kEgress) == nullptr);
  const auto both = load_ok({text(64), text(65)});
  CHECK(both.index(0, Direction::kEgress) == nullptr);
  CHECK(both.index(1, Direction::kEgress) != nullptr);
  CHECK(both.index(1, Direction::kIngress) == nullptr);
  const PolicySet copy = both;
  CHECK(copy.index(1, Direction::kEgress) == both.index(1, Direction::kEgress));
}

TEST_CASE("policy: an index is bounded whatever a file holds") {
  // Each stands for what 256 KiB of YAML can hold.
  std::vector<std::vector<Rule>> hostile;
  std::vector<Rule> many_of_both;  // addresses times ports
  for (int i = 0; i < 50; ++i) {
    auto rule = rule_for("10.0.0.0/8", {.first = 1, .last = 1}, Action::kDeny);
    for (std::uint16_t p = 2; p < 32; p = static_cast<std::uint16_t>(p + 2))
      rule.ports.push_back({.first = p, .last = p});
    for (std::size_t a = 0; a < 255; ++a)
      rule.to.prefixes.push_back(net::Prefix::single(ip(dotted(static_cast<std::size_t>(i) * 256 + a))));
    many_of_both.push_back(rule);
  }
  CHECK(RuleIndex::build(many_of_both, Direction::kEgress) == nullptr);
  hostile.push_back(many_of_both);
  hostile.back().resize(4);
  std::vector<Rule> crossed;  // ranges that all overlap, none of them unconditional
  for (std::uint16_t i = 0; i < 4'096; ++i) {
    crossed.push_back(rule_for("10.0.0.0/8", {.first = i, .last = static_cast<std::uint16_t>(i + 30'000)}));
    crossed.back().except.words.add(Word::kOnlink);
  }
  hostile.push_back(crossed);
  std::vector<Rule> nested;  // the longest paths
  for (int round = 0; round < 30; ++round)
    for (unsigned length = 0; length <= 128; ++length)
      nested.push_back(rule_for("::/0", {.first = static_cast<std::uint16_t>(round), .last = 60'000})),
          nested.back().to.prefixes[0] = net::Prefix::containing(ip("2606::1"), length);
  hostile.push_back(nested);
  for (const auto& rules : hostile) {
    const auto index = RuleIndex::build(rules, Direction::kEgress);
    REQUIRE(index != nullptr);
    MESSAGE(rules.size() << " rules, " << index->bytes() / 1024 << " KiB");
    CHECK(index->bytes() < 4'000'000);
  }
  CHECK(visits(nested, "2606::1", 60'000, 0).nodes <= 130);
}

TEST_CASE("policy: a list too large for an index decides rule by rule") {
  Ruleset file;
  for (int i = 0; i < 200; ++i) {
    auto rule = rule_for("10.0.0.0/8", {.first = 1, .last = 1});
    for (std::size_t a = 0; a < 255; ++a)
      rule.to.prefixes.push_back(net::Prefix::single(ip(dotted(static_cast<std::size_t>(i) * 256 + a))));
    file.egress.push_back(rule);
  }
  file.egress.push_back(rule_for("93.184.216.34", {}));
  const PolicySet policy{{file}};
  CHECK(policy.index(0, Direction::kEgress) == nullptr);
  CHECK(decide(policy, flow_to("93.184.216.34", 443), facts(routed())).rule == 200);
}

TEST_CASE("policy: nested prefixes are found as by looking at each") {
  Dice dice{12};
  for (int round = 0; round < 200; ++round) {
    std::vector<net::Prefix> all;
    const auto address = [&] {
      const bool v4 = dice.one_in(2);
      std::array<std::uint8_t, 16> bytes{};
      for (auto& byte : bytes)
        byte = dice.one_in(2) ? std::uint8_t{0} : static_cast<std::uint8_t>(dice.below(3) * 64);
      return v4 ? net::IpAddress{net::Ipv4Address{bytes[0], bytes[1], bytes[2], bytes[3]}}
                : net::IpAddress{net::Ipv6Address{bytes}};
    };
    for (unsigned i = 0, n = dice.below(60); i < n; ++i) {
      const auto a = address();
      all.push_back(net::Prefix::containing(a, dice.below(a.bit_count() + 1)));
    }
    const PrefixNest nest{all};
    for (int i = 0; i < 50; ++i) {
      const auto a = address();
      std::vector<unsigned> want;
      for (const auto& prefix : all)
        if (prefix.contains(a)) want.push_back(prefix.length());
      std::ranges::sort(want, std::greater{});
      want.erase(std::ranges::unique(want).begin(), want.end());
      std::size_t depth = 0;
      for (auto at = nest.longest(a); at != PrefixNest::kNone; at = nest.parent(at)) ++depth;
      REQUIRE(depth == want.size());
      if (!want.empty()) REQUIRE(nest.longest(a) == nest.longest(net::Prefix::containing(a, want.front())));
    }
  }
}
