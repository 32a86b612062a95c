// The walk of a decision, step by step, for people and for `--json`. The Decision is decide()'s own; the
// steps are told from it and from the facts, so they cannot disagree (a property test compares).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "policy/decide.h"

namespace cordon::policy {

struct ExplainStep {
  enum class Outcome : std::uint8_t { kPassed, kNoMatch, kAllows, kDenies, kWouldDeny };
  std::string stage;  // "source", "destination", "floor", "guarded", "file", "rule", "limits"
  Outcome outcome = Outcome::kPassed;
  std::string subject;  // a file's name, a rule's name; empty
  std::string at;       // "FILE:LINE" of a rule, "FILE" of a file; empty
  std::string text;     // why, for people
};
[[nodiscard]] std::string_view to_string(ExplainStep::Outcome outcome);

// Rules that do not name the far end are counted, not listed; the rule that decides is always a step.
struct Explanation {
  Decision decision;
  std::string decided_by;  // "FILE:LINE", or "FILE" where no rule did; empty: the floor
  std::vector<ExplainStep> steps;
};
[[nodiscard]] Explanation explain(const PolicySet& policy, const flow::Tuple& tuple, const HostFacts& facts,
                                  Direction direction = Direction::kEgress);

// One line per step and the verdict last, each ended by a newline.
[[nodiscard]] std::string render(const Explanation& explanation);
// One JSON object: verdict, reason, dst_class, layer, rule, decided_by, refuse, would_deny, steps.
[[nodiscard]] std::string to_json(const Explanation& explanation, int indent = -1);

}  // namespace cordon::policy
