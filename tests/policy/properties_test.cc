// Properties that hold for every policy, every flow and every host. Seeded, so that a failure repeats; the
// rules are made as values, so that only decide() is under test and the cases are many.
#include <algorithm>

#include "policy/explain.h"
#include "policy/rule_index.h"
#include "tests/policy/random_policy.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;

namespace {

constexpr int kQuestionsPerPolicy = 100;

// Calls visit(world, files) for as many policies as give `cases` questions, and says how many there were.
template <class Visit>
void for_policies(unsigned seed, int cases, unsigned max_files, unsigned max_rules, Visit&& visit) {
  World world{seed};
  const int policies = cases / kScale / kQuestionsPerPolicy;
  for (int i = 0; i < policies; ++i) visit(world, world.files(max_files, max_rules));
  MESSAGE((policies * kQuestionsPerPolicy) << " cases");
}

template <class Visit>
void ask(World& world, Visit&& visit) {
  for (int i = 0; i < kQuestionsPerPolicy; ++i) visit(world.question());
}

std::string show(const PolicySet& policy, const Question& q) {
  return render(explain(policy, q.tuple, q.facts, q.direction));
}

}  // namespace

TEST_CASE("policy: property: decide, its index and the plain reading of the reference agree") {
  std::array<std::size_t, kReasonCount> seen{};
  for_policies(1, 1'000'000, 3, 8, [&](World& world, const std::vector<Ruleset>& files) {
    const PolicySet plain{files, 1, Indexing::kNone};
    const PolicySet indexed{files, 1, Indexing::kAll};
    ask(world, [&](const Question& q) {
      const auto d = decide(plain, q);
      Reference reference{plain, q};
      const auto reason = reference.reason();
      const bool agree =
          d == decide(indexed, q) && d.reason == reason && d.allow == (reason == Reason::kNone);
      if (!agree) {
        CAPTURE(show(plain, q));
        REQUIRE(to_string(reason) == to_string(d.reason));
        REQUIRE(decide(indexed, q).rules == d.rules);
        REQUIRE(agree);
      }
      if (reference.layer >= 0) {
        REQUIRE(d.layer == reference.layer);
        REQUIRE(d.rule == reference.rule);
      }
      ++seen[static_cast<std::size_t>(reason)];
    });
  });
  // The dice must have reached every branch, or the agreement says little.
  for (const auto reason :
       {Reason::kNone, Reason::kNoRule, Reason::kRuleDeny, Reason::kSourceSpoof, Reason::kSpecialAddress,
        Reason::kEmbeddedIpv4, Reason::kRouteBlocked, Reason::kHostAddress, Reason::kMetadata,
        Reason::kTenantIsolation, Reason::kExpired}) {
    CAPTURE(to_string(reason));
    CHECK(seen[static_cast<std::size_t>(reason)] > 10'000 / kScale / 2);
  }
}

TEST_CASE("policy: property: a long list decides by its index as it does rule by rule") {
  std::size_t matched = 0;
  for_policies(2, 50'000, 1, 900, [&](World& world, const std::vector<Ruleset>& files) {
    const PolicySet plain{files, 1, Indexing::kNone};
    const PolicySet indexed{files, 1, Indexing::kAll};
    ask(world, [&](const Question& q) {
      const auto d = decide(plain, q);
      REQUIRE(d == decide(indexed, q));
      matched += d.rule != Decision::kNoRule ? 1 : 0;
    });
  });
  CHECK(matched > 5'000 / kScale);
}

TEST_CASE("policy: property: adding a file never adds an allowed flow") {
  std::size_t narrowed = 0;
  for_policies(3, 1'000'000, 2, 5, [&](World& world, std::vector<Ruleset> files) {
    const PolicySet before{files};
    if (files.empty()) return;  // without a file nothing is allowed: the first one opens
    files.push_back(world.file(5, false));
    const PolicySet after{files};
    ask(world, [&](const Question& q) {
      const bool was = decide(before, q).allow;
      const bool is = decide(after, q).allow;
      REQUIRE((was || !is));
      narrowed += was && !is ? 1 : 0;
    });
  });
  CHECK(narrowed > 10'000 / kScale);
}

TEST_CASE("policy: property: guarded places open by their own word in the operator's file only") {
  std::size_t guarded = 0;
  std::size_t opened = 0;
  for_policies(4, 500'000, 2, 6, [&](World& world, const std::vector<Ruleset>& files) {
    const PolicySet policy{files};
    ask(world, [&](Question q) {
      q.direction = Direction::kEgress;
      if (q.facts.dns_forwarder) return;
      const auto d = decide(policy, q);
      const auto word = d.dst_class == DstClass::kHost       ? Word::kHost
                        : d.dst_class == DstClass::kGuests   ? Word::kGuests
                        : d.dst_class == DstClass::kMetadata ? Word::kMetadata
                                                             : Word::kDns;
      if (word == Word::kDns) return;
      ++guarded;
      if (!d.allow) return;
      ++opened;
      REQUIRE(d.rules[0] != Decision::kNoRule);
      const Rule& by = policy.files()[0].egress[static_cast<std::size_t>(d.rules[0])];
      REQUIRE(by.action == Action::kAllow);
      REQUIRE(by.to.words.contains(word));
    });
  });
  CHECK(guarded > 50'000 / kScale);
  CHECK(opened > 500 / kScale);
}

TEST_CASE("policy: property: an IPv4 address and its v4-mapped form get the same decision") {
  for_policies(5, 300'000, 3, 6, [&](World& world, const std::vector<Ruleset>& files) {
    const PolicySet policy{files};
    ask(world, [&](Question q) {
      if (!q.tuple.remote.address.is_v4()) return;
      const auto d = decide(policy, q);
      q.tuple.remote.address = ip("::ffff:" + net::to_string(q.tuple.remote.address));
      REQUIRE(d == decide(policy, q));
    });
  });
}

TEST_CASE("policy: property: taking an allow away, or excepting from it, never adds an allowed flow") {
  std::size_t closed = 0;
  for_policies(6, 300'000, 2, 6, [&](World& world, std::vector<Ruleset> files) {
    if (files.empty() || files[0].egress.empty()) return;
    const PolicySet before{files};
    const auto at = world.dice.below(static_cast<unsigned>(files[0].egress.size()));
    Rule& rule = files[0].egress[at];
    if (rule.action == Action::kDeny) return;
    if (world.dice.one_in(2))
      files[0].egress.erase(files[0].egress.begin() + at);
    else
      rule.except.prefixes.push_back(*net::parse_prefix("10.0.0.0/8"));
    const PolicySet after{files};
    ask(world, [&](const Question& q) {
      const bool was = decide(before, q).allow;
      const bool is = decide(after, q).allow;
      REQUIRE((was || !is));
      closed += was && !is ? 1 : 0;
    });
  });
  CHECK(closed > 500 / kScale);
}

TEST_CASE("policy: property: taking a deny away, or enforcing less, never closes a flow") {
  std::size_t opened = 0;
  for_policies(7, 300'000, 2, 6, [&](World& world, std::vector<Ruleset> files) {
    if (files.empty()) return;
    const PolicySet before{files};
    if (world.dice.one_in(2)) {
      files.back().mode = Mode::kAudit;
    } else {
      auto& rules = files.back().egress;
      const auto deny = std::ranges::find(rules, Action::kDeny, &Rule::action);
      if (deny == rules.end()) return;
      rules.erase(deny);
    }
    const PolicySet after{files};
    ask(world, [&](const Question& q) {
      const bool was = decide(before, q).allow;
      const bool is = decide(after, q).allow;
      REQUIRE((!was || is));
      opened += !was && is ? 1 : 0;
    });
  });
  CHECK(opened > 500 / kScale);
}

TEST_CASE("policy: property: no file, no rule and empty lists deny") {
  World world{8};
  Ruleset empty;
  empty.name = "empty";
  const std::array policies{PolicySet{}, PolicySet{{empty}}, PolicySet{{empty, empty}}};
  for (int i = 0; i < 100'000 / kScale; ++i) {
    const auto q = world.question();
    for (const auto& policy : policies) REQUIRE_FALSE(decide(policy, q).allow);
  }
}

TEST_CASE("policy: property: what explain tells is what decide did") {
  for_policies(9, 100'000, 3, 8, [&](World& world, const std::vector<Ruleset>& files) {
    const PolicySet policy{files, 1, Indexing::kAll};
    ask(world, [&](const Question& q) {
      using Outcome = ExplainStep::Outcome;
      const auto e = explain(policy, q.tuple, q.facts, q.direction);
      const Decision& d = e.decision;
      REQUIRE(d == decide(policy, q));
      REQUIRE_FALSE(e.steps.empty());
      CAPTURE(render(e));
      // A stage that denies ends the walk; nothing denies an allowed flow.
      const auto final_no = [](const ExplainStep& s) {
        return s.outcome == Outcome::kDenies && s.stage != "rule";
      };
      REQUIRE(std::ranges::count_if(e.steps, final_no) == (d.allow ? 0 : 1));
      if (!d.allow) REQUIRE(final_no(e.steps.back()));
      // The rules that decided are the ones that are told, in the order of the files.
      if (d.layer == Decision::kFloor || d.reason == Reason::kExpired) return;
      std::vector<std::string> told;
      for (auto at = e.steps.begin(); at != e.steps.end(); ++at)
        if (at->stage == "file") {
          const bool by_rule = at != e.steps.begin() && std::prev(at)->stage == "rule" &&
                               std::prev(at)->outcome != Outcome::kNoMatch;
          told.push_back(by_rule ? std::prev(at)->subject : "");
        }
      for (std::size_t i = 0; i < told.size(); ++i) {
        const auto rule = d.rules[i];
        const auto& rules = policy.files()[i].rules(q.direction);
        REQUIRE(told[i] == (rule == Decision::kNoRule ? "" : rules[static_cast<std::size_t>(rule)].name));
      }
    });
  });
}
