#include "policy/decide.h"

#include <algorithm>

#include "policy/destination.h"
#include "policy/special_purpose.h"

namespace cordon::policy {
namespace {

constexpr std::uint16_t kDnsPort = 53;
constexpr std::uint16_t kDnsTlsPort = 853;  // also DNS over QUIC

// All that rules are matched against.
struct Query {
  const flow::Tuple& tuple;
  const HostFacts& facts;
  Destination destination;
  DstClass dst_class = DstClass::kUnknown;
};

bool in_any(std::span<const net::Prefix> prefixes, const net::IpAddress& address) {
  return std::ranges::any_of(prefixes, [&](const net::Prefix& p) { return p.contains(address); });
}

bool is_dns_port(const flow::Tuple& tuple) {
  return tuple.protocol != flow::Protocol::kIcmpEcho &&
         (tuple.remote.port.number() == kDnsPort || tuple.remote.port.number() == kDnsTlsPort);
}

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

bool word_matches(WordSet words, const Query& query) {
  const auto word = word_of(query.dst_class);
  return word && words.contains(*word);
}

// In doubt a rule narrows. The embedded address decides what a wrapped destination is, so only it can satisfy
// an allow, but either form satisfies a deny; and the other way round for `except`. An allow by `internet`
// leaves DNS ports out (resolvers are reached through the forwarder or by address); a deny by `internet` does
// not. An allow by address never reaches a guarded place; the forwarder is no address at all.
bool covered(const Rule& rule, const Query& query) {
  const bool allow = rule.action == Action::kAllow;
  if (word_matches(rule.to.words, query) &&
      !(allow && query.dst_class == DstClass::kInternet && is_dns_port(query.tuple)))
    return true;
  if (query.dst_class == DstClass::kDns || (allow && is_guarded(query.dst_class))) return false;
  return in_any(rule.to.prefixes, query.destination.effective()) ||
         (!allow && in_any(rule.to.prefixes, query.destination.dial));
}

bool excepted(const Rule& rule, const Query& query) {
  if (word_matches(rule.except.words, query)) return true;
  if (query.dst_class == DstClass::kDns) return false;
  return in_any(rule.except.prefixes, query.destination.effective()) ||
         (rule.action == Action::kAllow && in_any(rule.except.prefixes, query.destination.dial));
}

bool matches(const Rule& rule, const Query& query) {
  return std::ranges::any_of(
             rule.ports,
             [&](const PortRange& p) { return p.contains(query.tuple.protocol, query.tuple.remote.port); }) &&
         covered(rule, query) && !excepted(rule, query);
}

std::int16_t first_match(const Ruleset& file, const Query& query) {
  for (std::size_t i = 0; i < file.egress.size(); ++i)
    if (matches(file.egress[i], query)) return static_cast<std::int16_t>(i);
  return Decision::kNoRule;
}

bool is_group_route(FibType fib) {
  return fib == FibType::kBroadcast || fib == FibType::kAnycast || fib == FibType::kMulticast;
}

// The class of the address rules are about; the widest protection wins.
DstClass classify(const Destination& destination, const HostFacts& facts) {
  const bool wrapped = destination.embedded.has_value();
  const auto kind = kind_of(destination.effective());
  if (kind == AddressKind::kFloor) return DstClass::kSpecial;
  const auto any = [&](auto&& test) { return test(facts.dial) || (wrapped && test(facts.embedded)); };
  if (any([](const AddressFacts& f) { return is_group_route(f.fib); })) return DstClass::kSpecial;
  if (any([](const AddressFacts& f) { return f.is_host || f.fib == FibType::kLocal; }))
    return DstClass::kHost;
  if (any([](const AddressFacts& f) { return f.guest != GuestRelation::kNone; })) return DstClass::kGuests;
  if (kind == AddressKind::kMetadata) return DstClass::kMetadata;
  if (kind == AddressKind::kDocumentation) return DstClass::kDocumentation;
  if (any([](const AddressFacts& f) { return f.fib == FibType::kUnicast && !f.has_gateway; }))
    return DstClass::kOnlink;
  return kind == AddressKind::kPrivate ? DstClass::kPrivate : DstClass::kInternet;
}

bool is_other_tenant(const Destination& destination, const HostFacts& facts) {
  return facts.dial.guest == GuestRelation::kOtherTenant ||
         (destination.embedded && facts.embedded.guest == GuestRelation::kOtherTenant);
}

// Where the socket really goes must be an uplink. The embedded address may well have no IPv4 route here (an
// IPv6-only host behind NAT64); but if it has one, that one must be an uplink too.
bool route_blocked(const Query& query) {
  const bool local_ok = query.dst_class == DstClass::kHost;
  const auto good = [&](const AddressFacts& f) {
    return (f.fib == FibType::kUnicast && f.oif_is_uplink) || (local_ok && f.fib == FibType::kLocal);
  };
  if (!good(query.facts.dial)) return true;
  return query.destination.embedded && query.facts.embedded.fib == FibType::kUnicast &&
         !good(query.facts.embedded);
}

Decision denied(const PolicySet& policy, const Query& query, Reason reason) {
  Decision decision{.allow = false, .reason = reason, .dst_class = query.dst_class};
  decision.how = policy.drops() ? flow::RefuseHow::kDrop : flow::RefuseHow::kReject;
  return decision;
}

// A host without (say) IPv6 is not a matter of policy for the guest: it gets the kernel's own answer.
flow::RefuseHow how_for_route(const PolicySet& policy, FibType fib) {
  if (policy.drops() || fib == FibType::kBlackhole) return flow::RefuseHow::kDrop;
  return fib == FibType::kNone || fib == FibType::kUnreachable ? flow::RefuseHow::kNetworkUnreachable
                                                               : flow::RefuseHow::kReject;
}

// Step 3, and the guarded places of step 4.
std::optional<Decision> floor(const PolicySet& policy, const Query& query) {
  if (query.dst_class == DstClass::kSpecial) return denied(policy, query, Reason::kSpecialAddress);
  if (is_other_tenant(query.destination, query.facts)) return denied(policy, query, Reason::kTenantIsolation);
  if (query.dst_class != DstClass::kHost && route_blocked(query)) {
    auto decision = denied(policy, query, Reason::kRouteBlocked);
    decision.how = how_for_route(policy, query.facts.dial.fib);
    return decision;
  }
  if (!is_guarded(query.dst_class)) return std::nullopt;
  const auto files = policy.files();
  const std::int16_t rule = files.empty() ? Decision::kNoRule : first_match(files.front(), query);
  const bool opened = rule != Decision::kNoRule &&
                      files.front().egress[static_cast<std::size_t>(rule)].action == Action::kAllow;
  if (!opened) {
    const auto reason = query.dst_class == DstClass::kHost       ? Reason::kHostAddress
                        : query.dst_class == DstClass::kMetadata ? Reason::kMetadata
                                                                 : Reason::kTenantIsolation;
    auto decision = denied(policy, query, reason);
    decision.rule = Decision::kNoRule;
    decision.rules[0] = rule;
    return decision;
  }
  // Only an alias, or an address in another routing table, is host without a local route.
  if (route_blocked(query)) return denied(policy, query, Reason::kRouteBlocked);
  return std::nullopt;
}

Decision ask_files(const PolicySet& policy, const Query& query) {
  auto decision = denied(policy, query, Reason::kNoRule);
  const auto files = policy.files();
  for (std::size_t i = 0; i < files.size(); ++i) {
    const Ruleset& file = files[i];
    const std::int16_t rule = first_match(file, query);
    decision.rules[i] = rule;
    const bool allowed =
        rule != Decision::kNoRule && file.egress[static_cast<std::size_t>(rule)].action == Action::kAllow;
    if (!allowed && file.mode == Mode::kAudit)
      decision.would_deny = static_cast<std::uint8_t>(decision.would_deny | (1U << i));
    decision.layer = static_cast<std::int16_t>(i);
    decision.rule = rule;
    if (!allowed && file.mode == Mode::kEnforce) {
      decision.reason = rule == Decision::kNoRule ? Reason::kNoRule : Reason::kRuleDeny;
      return decision;
    }
  }
  if (files.empty()) return decision;
  decision.allow = true;
  decision.reason = Reason::kNone;
  return decision;
}

}  // namespace

Decision decide(const PolicySet& policy, const flow::Tuple& tuple, const HostFacts& facts) {
  Query query{.tuple = tuple, .facts = facts, .destination = normalise(tuple.remote.address)};
  if (!facts.source_assigned) {
    auto decision = denied(policy, query, Reason::kSourceSpoof);
    decision.how = flow::RefuseHow::kDrop;  // whoever sent it is not who would get the answer
    return decision;
  }
  if (facts.dns_forwarder) {
    query.dst_class = DstClass::kDns;
    return ask_files(policy, query);
  }
  query.dst_class = DstClass::kSpecial;
  if (query.destination.unreadable_embedding) return denied(policy, query, Reason::kEmbeddedIpv4);
  if (!facts.sandbox_address) query.dst_class = classify(query.destination, facts);
  if (const auto decision = floor(policy, query)) return *decision;
  return ask_files(policy, query);
}

std::string_view to_string(Reason reason) {
  switch (reason) {
    case Reason::kNone: return "none";
    case Reason::kNoRule: return "no-rule";
    case Reason::kRuleDeny: return "rule-deny";
    case Reason::kSourceSpoof: return "source-spoof";
    case Reason::kSpecialAddress: return "special-address";
    case Reason::kEmbeddedIpv4: return "embedded-ipv4";
    case Reason::kRouteBlocked: return "route-blocked";
    case Reason::kHostAddress: return "host-address";
    case Reason::kMetadata: return "metadata";
    case Reason::kTenantIsolation: return "tenant-isolation";
    case Reason::kDnsName: return "dns-name";
    case Reason::kDnsType: return "dns-type";
    case Reason::kDnsAnswerFiltered: return "dns-answer-filtered";
    case Reason::kDnsLimit: return "dns-limit";
    case Reason::kNotNamed: return "not-named";
    case Reason::kSniMismatch: return "sni-mismatch";
    case Reason::kSniMissing: return "sni-missing";
    case Reason::kEch: return "ech";
    case Reason::kLimitConnections: return "limit-connections";
    case Reason::kLimitNew: return "limit-new";
    case Reason::kLimitRate: return "limit-rate";
    case Reason::kLimitBytes: return "limit-bytes";
    case Reason::kExpired: return "expired";
    case Reason::kPolicyChanged: return "policy-changed";
    case Reason::kHostChanged: return "host-changed";
    case Reason::kMalformed: return "malformed";
    case Reason::kUnsupportedProtocol: return "unsupported-protocol";
    case Reason::kNoResolver: return "no-resolver";
    case Reason::kEngineError: return "engine-error";
  }
  return "engine-error";
}

std::string_view to_string(DstClass dst_class) {
  switch (dst_class) {
    case DstClass::kUnknown: return "unknown";
    case DstClass::kInternet: return "internet";
    case DstClass::kPrivate: return "private";
    case DstClass::kOnlink: return "onlink";
    case DstClass::kHost: return "host";
    case DstClass::kGuests: return "guests";
    case DstClass::kMetadata: return "metadata";
    case DstClass::kDns: return "dns";
    case DstClass::kDocumentation: return "documentation";
    case DstClass::kSpecial: return "special";
  }
  return "unknown";
}

}  // namespace cordon::policy
