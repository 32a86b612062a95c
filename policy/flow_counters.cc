#include "policy/flow_counters.h"

#include <set>

namespace cordon::policy {
namespace {

std::uint64_t packed(FlowVerdict verdict, const Decision& decision) {
  return std::uint64_t{static_cast<std::uint16_t>(decision.layer)} |
         std::uint64_t{static_cast<std::uint16_t>(decision.rule)} << 16U |
         std::uint64_t{static_cast<std::uint8_t>(decision.reason)} << 32U |
         std::uint64_t{static_cast<std::uint8_t>(verdict)} << 40U |
         std::uint64_t{static_cast<std::uint8_t>(decision.direction)} << 48U;
}

FlowLabel label_of(const PolicySet& policy, FlowVerdict verdict, const Decision& decision) {
  FlowLabel label{.verdict = verdict,
                  .direction = decision.direction,
                  .reason = decision.reason,
                  .layer = std::string{layer_name(decision.layer)}};
  const auto files = policy.files();
  const auto layer = static_cast<std::size_t>(decision.layer);
  if (decision.layer == Decision::kFloor || layer >= files.size()) return label;
  label.ruleset = files[layer].name;
  const auto& rules = files[layer].rules(decision.direction);
  const auto rule = static_cast<std::size_t>(decision.rule);
  if (decision.rule != Decision::kNoRule && rule < rules.size()) label.rule = rules[rule].name;
  return label;
}

}  // namespace

std::string_view to_string(FlowVerdict verdict) {
  switch (verdict) {
    case FlowVerdict::kAllow: return "allow";
    case FlowVerdict::kWouldDeny: return "would-deny";
    case FlowVerdict::kDeny: return "deny";
    case FlowVerdict::kRevoked: return "revoked";
  }
  return "deny";
}

std::string_view layer_name(std::int16_t layer) {
  return layer == Decision::kFloor ? "floor" : layer == 0 ? "operator" : "tenant";
}

void FlowCounters::add(const PolicySet& policy, FlowVerdict verdict, const Decision& decision,
                       std::uint64_t count) {
  if (policy.generation() != known_generation_) {
    known_.clear();
    known_generation_ = policy.generation();
  }
  const auto [found, fresh] = known_.try_emplace(packed(verdict, decision), nullptr);
  if (fresh) found->second = &totals_[label_of(policy, verdict, decision)];
  *found->second += count;
}

void FlowCounters::keep_names_of(const PolicySet& policy) {
  using Name = std::pair<std::string_view, std::string_view>;
  std::array<std::set<Name>, 2> rules;
  std::set<std::string_view> files{"-"};
  for (const Ruleset& file : policy.files()) {
    files.insert(file.name);
    for (const Direction direction : {Direction::kEgress, Direction::kIngress})
      for (const Rule& rule : file.rules(direction))
        rules.at(static_cast<std::size_t>(direction)).emplace(file.name, rule.name);
  }
  std::map<FlowLabel, std::uint64_t> kept;
  for (const auto& [label, count] : totals_) {
    FlowLabel now = label;
    if (!files.contains(label.ruleset)) now.ruleset = now.rule = "(removed)";
    if (now.rule != "-" && now.rule != "(removed)" &&
        !rules.at(static_cast<std::size_t>(label.direction)).contains(Name{label.ruleset, label.rule}))
      now.rule = "(removed)";
    kept[now] += count;
  }
  known_.clear();
  totals_ = std::move(kept);
}

std::uint64_t FlowCounters::sum(FlowVerdict verdict) const {
  std::uint64_t sum = 0;
  for (const auto& [label, count] : totals_)
    if (label.verdict == verdict) sum += count;
  return sum;
}

}  // namespace cordon::policy
