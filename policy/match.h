// How rules meet a flow: shared by decide.cc and decide_ingress.cc.
#pragma once

#include "policy/decide.h"
#include "policy/destination.h"

namespace cordon::policy {

// All that rules are matched against.
struct Query {
  const flow::Tuple& tuple;
  const HostFacts& facts;
  Direction direction = Direction::kEgress;
  Destination remote;  // the far end: the destination, or the peer that came
  DstClass dst_class = DstClass::kUnknown;
};

// Of `until` and `expires`; max() is "no end", even at a time that nobody filled in.
[[nodiscard]] constexpr bool has_ended(WallTime end, WallTime now) {
  return end != WallTime::max() && end <= now;
}
// Index of the rule that decides in this file, which has not expired; Decision::kNoRule.
[[nodiscard]] std::int16_t first_match(const Ruleset& file, const Query& query);
[[nodiscard]] bool allows(const Ruleset& file, const Query& query, std::int16_t rule);
// host, guests, metadata: inside no wider word and no CIDR.
[[nodiscard]] bool is_guarded(DstClass dst_class);
[[nodiscard]] bool is_group_route(FibType fib);
[[nodiscard]] Decision denied(const PolicySet& policy, const Query& query, Reason reason);
// Step 5: the files, outermost first.
[[nodiscard]] Decision ask_files(const PolicySet& policy, const Query& query);

}  // namespace cordon::policy
