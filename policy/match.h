// How rules meet a flow: shared by decide.cc and decide_ingress.cc.
#pragma once

#include <array>
#include <optional>

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
// DNS, and DNS over TLS and QUIC: an allow by `internet` leaves them out.
inline constexpr std::array<std::uint16_t, 2> kResolverPorts{53, 853};
// The service's port, wherever the service is.
[[nodiscard]] inline net::Port service_port(const Query& query) {
  return query.direction == Direction::kEgress ? query.tuple.remote.port : query.tuple.guest.port;
}

// How one rule meets a flow, for explain(); kMatches exactly when it could decide.
enum class RuleAnswer : std::uint8_t {
  kMatches,
  kOtherPlace,  // does not name the far end
  kGuarded,     // an allow that names its address, but the place opens by its word only
  kDnsPort,     // an allow by `internet`, which leaves resolvers out
  kOtherPort,   // or protocol
  kExcepted,
  kEnded,
};
[[nodiscard]] RuleAnswer answer(const Rule& rule, const Query& query);
// The plain evaluator: all that a rule says, of one rule.
[[nodiscard]] bool matches(const Rule& rule, const Query& query);
// Index of the rule that decides in this file, which has not expired; Decision::kNoRule.
[[nodiscard]] std::int16_t first_match(const PolicySet& policy, std::size_t file, const Query& query);
[[nodiscard]] bool allows(const Ruleset& file, const Query& query, std::int16_t rule);
// host, guests, metadata: inside no wider word and no CIDR.
[[nodiscard]] bool is_guarded(DstClass dst_class);
[[nodiscard]] bool is_group_route(FibType fib);
[[nodiscard]] Decision denied(const PolicySet& policy, const Query& query, Reason reason);
[[nodiscard]] std::optional<Word> word_of(DstClass dst_class);
// Step 5: the files, outermost first.
[[nodiscard]] Decision ask_files(const PolicySet& policy, const Query& query);

}  // namespace cordon::policy
