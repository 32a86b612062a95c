// The walk of a decision, step by step, for people and for `--json`. The steps are those of decide(); the
// Decision is decide()'s own (a property test compares).
#pragma once

#include <string>
#include <vector>

#include "policy/decide.h"

namespace cordon::policy {

struct ExplainStep {
  enum class Outcome : std::uint8_t { kPassed, kNoMatch, kAllows, kDenies, kWouldDeny };
  std::string stage;  // "source", "destination", "floor", "guarded", "file", "rule"
  Outcome outcome = Outcome::kPassed;
  std::string subject;  // a file's name, a rule's name; empty
  std::string at;       // "FILE:LINE"; empty
  std::string text;     // why, for people
};
struct Explanation {
  Decision decision;
  std::vector<ExplainStep> steps;
};
[[nodiscard]] Explanation explain(const PolicySet& policy, const flow::Tuple& tuple, const HostFacts& facts,
                                  Direction direction = Direction::kEgress);

}  // namespace cordon::policy
