#include "policy/match.h"

#include <algorithm>
#include <optional>

#include "policy/rule_index.h"

namespace cordon::policy {

bool is_guarded(DstClass dst_class) {
  return dst_class == DstClass::kHost || dst_class == DstClass::kGuests || dst_class == DstClass::kMetadata;
}

std::optional<Word> word_of(DstClass dst_class) {
  switch (dst_class) {
    case DstClass::kInternet: return Word::kInternet;
    case DstClass::kPrivate: return Word::kPrivate;
    case DstClass::kOnlink: return Word::kOnlink;
    case DstClass::kHost: return Word::kHost;
    case DstClass::kGuests: return Word::kGuests;
    case DstClass::kMetadata: return Word::kMetadata;
    case DstClass::kDns: return Word::kDns;
    case DstClass::kUnknown:
    case DstClass::kDocumentation:
    case DstClass::kSpecial: break;
  }
  return std::nullopt;
}

namespace {

bool in_any(std::span<const net::Prefix> prefixes, const net::IpAddress& address) {
  return std::ranges::any_of(prefixes, [&](const net::Prefix& p) { return p.contains(address); });
}

// A resolver outside, which the word `internet` does not open.
bool is_foreign_dns(const Query& query) {
  return query.direction == Direction::kEgress && query.dst_class == DstClass::kInternet &&
         query.tuple.protocol != flow::Protocol::kIcmpEcho &&
         std::ranges::find(kResolverPorts, query.tuple.remote.port.number()) != kResolverPorts.end();
}

bool word_matches(WordSet words, const Query& query) {
  const auto word = word_of(query.dst_class);
  return word && words.contains(*word);
}

// In doubt a rule narrows. The embedded address decides what a wrapped destination is, so only it can satisfy
// an allow, but either form satisfies a deny; and the other way round for `except`. An allow by `internet`
// leaves DNS ports out (resolvers are reached through the forwarder or by address), a deny by `internet` does
// not, nor does an exception from a deny let them by. An allow by address never reaches a guarded place; the
// forwarder is no address at all.
bool covered(const Rule& rule, const Query& query) {
  const bool allow = rule.action == Action::kAllow;
  if (word_matches(rule.to.words, query) && !(allow && is_foreign_dns(query))) return true;
  if (query.dst_class == DstClass::kDns || (allow && is_guarded(query.dst_class))) return false;
  return in_any(rule.to.prefixes, query.remote.effective()) ||
         (!allow && in_any(rule.to.prefixes, query.remote.dial));
}

bool excepted(const Rule& rule, const Query& query) {
  const bool allow = rule.action == Action::kAllow;
  if (word_matches(rule.except.words, query) && (allow || !is_foreign_dns(query))) return true;
  if (query.dst_class == DstClass::kDns) return false;
  return in_any(rule.except.prefixes, query.remote.effective()) ||
         (allow && in_any(rule.except.prefixes, query.remote.dial));
}

bool on_port(const Rule& rule, const Query& query) {
  return std::ranges::any_of(
      rule.ports, [&](const PortRange& p) { return p.contains(query.tuple.protocol, service_port(query)); });
}

}  // namespace

bool matches(const Rule& rule, const Query& query) {
  return !has_ended(rule.until, query.facts.now) && on_port(rule, query) && covered(rule, query) &&
         !excepted(rule, query);
}

RuleAnswer answer(const Rule& rule, const Query& query) {
  if (!covered(rule, query)) {
    if (word_matches(rule.to.words, query)) return RuleAnswer::kDnsPort;
    const bool by_address =
        query.dst_class != DstClass::kDns && in_any(rule.to.prefixes, query.remote.effective());
    return by_address ? RuleAnswer::kGuarded : RuleAnswer::kOtherPlace;
  }
  if (!on_port(rule, query)) return RuleAnswer::kOtherPort;
  if (excepted(rule, query)) return RuleAnswer::kExcepted;
  return has_ended(rule.until, query.facts.now) ? RuleAnswer::kEnded : RuleAnswer::kMatches;
}

std::int16_t first_match(const PolicySet& policy, std::size_t file, const Query& query) {
  const auto& rules = policy.files()[file].rules(query.direction);
  if (const RuleIndex* index = policy.index(file, query.direction)) return index->first_match(rules, query);
  for (std::size_t i = 0; i < rules.size(); ++i)
    if (matches(rules[i], query)) return static_cast<std::int16_t>(i);
  return Decision::kNoRule;
}

bool allows(const Ruleset& file, const Query& query, std::int16_t rule) {
  return rule != Decision::kNoRule &&
         file.rules(query.direction)[static_cast<std::size_t>(rule)].action == Action::kAllow;
}

bool is_group_route(FibType fib) {
  return fib == FibType::kBroadcast || fib == FibType::kAnycast || fib == FibType::kMulticast;
}

Decision denied(const PolicySet& policy, const Query& query, Reason reason) {
  Decision decision{
      .allow = false, .reason = reason, .direction = query.direction, .dst_class = query.dst_class};
  decision.how = policy.drops() ? flow::RefuseHow::kDrop : flow::RefuseHow::kReject;
  return decision;
}

Decision ask_files(const PolicySet& policy, const Query& query) {
  auto decision = denied(policy, query, Reason::kNoRule);
  const auto files = policy.files();
  for (std::size_t i = 0; i < files.size(); ++i) {
    const Ruleset& file = files[i];
    const bool expired = has_ended(file.expires, query.facts.now);
    const std::int16_t rule = expired ? Decision::kNoRule : first_match(policy, i, query);
    decision.rules[i] = rule;
    const bool allowed = allows(file, query, rule);
    if (!allowed && file.mode == Mode::kAudit)
      decision.would_deny = static_cast<std::uint8_t>(decision.would_deny | (1U << i));
    decision.layer = static_cast<std::int16_t>(i);
    decision.rule = rule;
    if (!allowed && file.mode == Mode::kEnforce) {
      decision.reason = expired                     ? Reason::kExpired
                        : rule == Decision::kNoRule ? Reason::kNoRule
                                                    : Reason::kRuleDeny;
      return decision;
    }
  }
  if (files.empty()) return decision;
  decision.allow = true;
  decision.reason = Reason::kNone;
  return decision;
}

}  // namespace cordon::policy
