// How many flows were decided how, exactly, whatever becomes of their records: by verdict, direction, layer,
// rule and reason. The names come from policy files only, never from a guest, so the table is as large as the
// files allow. It outlives a reload: a rule of the same name goes on counting, and what rules counted that
// are gone is kept together under the name "(removed)", so that sums never shrink.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy/decide.h"
#include "policy/ruleset.h"

namespace cordon::policy {

enum class FlowVerdict : std::uint8_t { kAllow, kWouldDeny, kDeny, kRevoked };
[[nodiscard]] std::string_view to_string(FlowVerdict verdict);

// "floor", "operator" (the first file), "tenant" (a later one).
[[nodiscard]] std::string_view layer_name(std::int16_t layer);

struct FlowLabel {
  FlowVerdict verdict = FlowVerdict::kDeny;
  Direction direction = Direction::kEgress;
  Reason reason = Reason::kNone;
  std::string layer;
  std::string ruleset = "-";  // the file's name; "-" for the floor
  std::string rule = "-";     // "-": no rule
  friend auto operator<=>(const FlowLabel&, const FlowLabel&) = default;
};

class FlowCounters {
 public:
  void add(const PolicySet& policy, FlowVerdict verdict, const Decision& decision, std::uint64_t count);
  // A policy took the place of another.
  void keep_names_of(const PolicySet& policy);
  // In a stable order.
  [[nodiscard]] const std::map<FlowLabel, std::uint64_t>& totals() const { return totals_; }
  [[nodiscard]] std::uint64_t sum(FlowVerdict verdict) const;

 private:
  std::map<FlowLabel, std::uint64_t> totals_;
  // Names cost; the same numbers under the same policy are the same label.
  std::unordered_map<std::uint64_t, std::uint64_t*> known_;
  std::uint64_t known_generation_ = 0;
};

}  // namespace cordon::policy
