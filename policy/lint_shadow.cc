// P301. A rule is hidden by one that contains each of its places, so it is enough to ask those that contain
// one of them.
#include <algorithm>
#include <bit>
#include <optional>

#include "policy/lint.h"
#include "policy/prefix_nest.h"

namespace cordon::policy {
namespace {

// Comparisons for one list of rules. Warnings are not worth more of the broker's time; only a file that was
// made to be slow needs as many.
constexpr std::size_t kMaxWork = 10'000'000;

class Shadows {
 public:
  explicit Shadows(const std::vector<Rule>& rules) : rules_(rules) {
    std::vector<net::Prefix> all;
    for (const Rule& rule : rules) all.insert(all.end(), rule.to.prefixes.begin(), rule.to.prefixes.end());
    nest_ = PrefixNest{std::move(all)};
    by_prefix_.resize(nest_.size());
  }

  // Rules in their order: hands out the first one that hides `number`, then knows that rule too.
  std::optional<std::size_t> next(std::size_t number) {
    const Rule& rule = rules_[number];
    std::optional<std::size_t> best;
    if (!rule.to.prefixes.empty()) {
      for (auto at = nest_.longest(rule.to.prefixes.front()); at != PrefixNest::kNone; at = nest_.parent(at))
        look(by_prefix_[at], rule, best);
    } else if (!rule.to.words.empty()) {
      for (std::size_t w = 0; w < by_word_.size(); ++w)
        if (rule.to.words.contains(static_cast<Word>(1U << w))) {
          look(by_word_[w], rule, best);
          break;
        }
    }
    if (rule.except.empty()) add(rule, static_cast<std::uint16_t>(number));
    return best;
  }

 private:
  using Numbers = std::vector<std::uint16_t>;

  void add(const Rule& rule, std::uint16_t number) {
    for (const net::Prefix& prefix : rule.to.prefixes) {
      Numbers& numbers = by_prefix_[nest_.longest(prefix)];
      if (numbers.empty() || numbers.back() != number) numbers.push_back(number);
    }
    for (std::size_t w = 0; w < by_word_.size(); ++w)
      if (rule.to.words.contains(static_cast<Word>(1U << w))) by_word_[w].push_back(number);
  }

  void look(const Numbers& numbers, const Rule& rule, std::optional<std::size_t>& best) {
    for (const std::uint16_t number : numbers) {
      if (work_ > kMaxWork || (best && *best <= number)) return;
      if (hides(rules_[number], rule)) best = number;
    }
  }

  bool covers(const PortRange& outer, const PortRange& inner) {
    ++work_;
    return outer.protocol == inner.protocol && outer.first <= inner.first && inner.last <= outer.last;
  }
  bool contains(const net::Prefix& outer, const net::Prefix& inner) {
    ++work_;
    return outer.contains(inner);
  }

  // `first` is matched whenever `second` is. A deny also looks at wrapped forms, guarded places and DNS ports
  // that an allow leaves out (match.cc, covered()), so an allow hides a deny only by words that have no such
  // difference.
  bool hides(const Rule& first, const Rule& second) {
    if (first.until < second.until) return false;  // it goes first
    if (!first.to.words.contains(second.to.words)) return false;
    const bool wider_second = first.action == Action::kAllow && second.action == Action::kDeny;
    if (wider_second && (!second.to.prefixes.empty() || second.to.words.contains(Word::kInternet)))
      return false;
    const bool ports = std::ranges::all_of(second.ports, [&](const PortRange& inner) {
      return std::ranges::any_of(first.ports, [&](const PortRange& outer) { return covers(outer, inner); });
    });
    return ports && std::ranges::all_of(second.to.prefixes, [&](const net::Prefix& inner) {
             return std::ranges::any_of(first.to.prefixes,
                                        [&](const net::Prefix& outer) { return contains(outer, inner); });
           });
  }

  const std::vector<Rule>& rules_;
  PrefixNest nest_;
  std::vector<Numbers> by_prefix_;  // rules without `except`, by the places they name
  std::array<Numbers, 8> by_word_;
  std::size_t work_ = 0;
};

void report_shadowed(const std::vector<Rule>& rules, Report& report) {
  Shadows shadows{rules};
  for (std::size_t i = 0; i < rules.size(); ++i)
    if (const auto by = shadows.next(i))
      report.add(Code::kShadowed, rules[i].at, shadow_message(rules[*by], rules[i]));
}

}  // namespace

void report_shadowed(const Ruleset& ruleset, Report& report) {
  report_shadowed(ruleset.egress, report);
  report_shadowed(ruleset.ingress, report);
}

}  // namespace cordon::policy
