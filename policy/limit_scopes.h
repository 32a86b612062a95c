// Which limits a flow falls under. Every `limits` of an enforcing file is a scope of its own, at the head of
// the file (all flows of the guest, both directions) or in a rule (the flows which that rule admitted), and a
// flow must fit into each: so the narrowest always holds, and no file can widen another's. An audit file's
// limits are not applied.
//
// Shapers: the guest's is the lowest `rate` at the head of a file, each rule with a `rate` has its own. A
// flow draws from its rule's and from the guest's. Only one file may have rates in its rules (the loader sees
// to it), so two are always enough.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/flow/gate.h"
#include "policy/decide.h"
#include "policy/ruleset.h"

namespace cordon::policy {

struct LimitScope {
  std::int16_t layer = 0;
  std::int16_t rule = Decision::kNoRule;     // kNoRule: the head of the file
  Direction direction = Direction::kEgress;  // of the rule
  Limits limits;
  std::uint16_t shaper = 0;  // 0: it has no rate
};

class LimitScopes {
 public:
  // Scope numbers, 1-based, outermost file first, a file's head before its rule; 0: no more.
  static constexpr std::size_t kMaxPerFlow = 2 * PolicySet::kMaxFiles;
  using Ids = std::array<std::uint16_t, kMaxPerFlow>;

  explicit LimitScopes(const PolicySet& policy);

  [[nodiscard]] bool empty() const { return scopes_.empty(); }
  [[nodiscard]] std::size_t size() const { return scopes_.size(); }
  [[nodiscard]] const LimitScope& scope(std::uint16_t id) const { return scopes_[id - 1U]; }
  // The effective limits of an allowed flow; nothing for a denied one.
  [[nodiscard]] Ids of(const Decision& decision) const;
  [[nodiscard]] flow::Shaping shaping(const Ids& ids) const;

 private:
  struct File {
    std::uint16_t head = 0;
    std::array<std::vector<std::uint16_t>, 2> rules;  // by Direction; empty: none has limits
  };
  std::uint16_t add(const LimitScope& scope);

  std::vector<LimitScope> scopes_;
  std::vector<File> files_;
  std::uint64_t guest_rate_ = 0;
  std::uint16_t shapers_ = 0;
};

// How many shapers a policy needs: more than flow::kMaxShapers is an error of the loader.
[[nodiscard]] std::size_t count_shapers(std::span<const Ruleset> files);

}  // namespace cordon::policy
