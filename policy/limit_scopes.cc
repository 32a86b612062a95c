#include "policy/limit_scopes.h"

#include <algorithm>

#include "core/base/check.h"

namespace cordon::policy {
namespace {

constexpr std::uint16_t kGuestShaper = 1;
constexpr std::array kDirections{Direction::kEgress, Direction::kIngress};

// The lowest rate at the head of an enforcing file; 0: none has one.
std::uint64_t lowest_rate(std::span<const Ruleset> files) {
  std::uint64_t lowest = 0;
  for (const Ruleset& file : files)
    if (file.mode == Mode::kEnforce && file.limits.rate != 0)
      lowest = lowest == 0 ? file.limits.rate : std::min(lowest, file.limits.rate);
  return lowest;
}

}  // namespace

std::size_t count_shapers(std::span<const Ruleset> files) {
  std::size_t count = lowest_rate(files) != 0 ? 1 : 0;
  for (const Ruleset& file : files) {
    if (file.mode == Mode::kAudit) continue;
    for (const Direction direction : kDirections)
      count += static_cast<std::size_t>(std::ranges::count_if(
          file.rules(direction), [](const Rule& rule) { return rule.limits.rate != 0; }));
  }
  return count;
}

LimitScopes::LimitScopes(const PolicySet& policy) : guest_rate_(lowest_rate(policy.files())) {
  CORDON_CHECK(count_shapers(policy.files()) <= flow::kMaxShapers);
  shapers_ = guest_rate_ != 0 ? kGuestShaper : 0;
  const auto files = policy.files();
  files_.resize(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (files[i].mode == Mode::kAudit) continue;
    const auto layer = static_cast<std::int16_t>(i);
    if (!files[i].limits.empty()) {
      files_[i].head = add({.layer = layer, .limits = files[i].limits});
      // The guest's shaper is one for all files; each head only counts.
      if (files[i].limits.rate != 0) scopes_.back().shaper = kGuestShaper;
    }
    for (const Direction direction : kDirections) {
      const auto& rules = files[i].rules(direction);
      auto& ids = files_[i].rules[static_cast<std::size_t>(direction)];
      for (std::size_t r = 0; r < rules.size(); ++r) {
        if (rules[r].limits.empty()) continue;
        ids.resize(rules.size());
        ids[r] = add({.layer = layer,
                      .rule = static_cast<std::int16_t>(r),
                      .direction = direction,
                      .limits = rules[r].limits});
        if (rules[r].limits.rate != 0) scopes_.back().shaper = ++shapers_;
      }
    }
  }
}

std::uint16_t LimitScopes::add(const LimitScope& scope) {
  scopes_.push_back(scope);
  return static_cast<std::uint16_t>(scopes_.size());
}

LimitScopes::Ids LimitScopes::of(const Decision& decision) const {
  Ids ids{};
  if (!decision.allow) return ids;
  std::size_t count = 0;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].head != 0) ids[count++] = files_[i].head;
    const auto& rules = files_[i].rules[static_cast<std::size_t>(decision.direction)];
    const auto rule = static_cast<std::size_t>(decision.rules[i]);
    if (decision.rules[i] != Decision::kNoRule && rule < rules.size() && rules[rule] != 0)
      ids[count++] = rules[rule];
  }
  return ids;
}

flow::Shaping LimitScopes::shaping(const Ids& ids) const {
  flow::Shaping out;
  for (const std::uint16_t id : ids) {
    if (id == 0) break;
    if (scope(id).shaper <= kGuestShaper && guest_rate_ != 0) continue;
    if (scope(id).shaper == 0) continue;
    out.shaper = scope(id).shaper;
    out.rate = scope(id).limits.rate;
  }
  if (guest_rate_ == 0) return out;
  if (out.shaper == 0) return {.shaper = kGuestShaper, .outer = 0, .rate = guest_rate_, .outer_rate = 0};
  out.outer = kGuestShaper;
  out.outer_rate = guest_rate_;
  return out;
}

}  // namespace cordon::policy
