#include "policy/decide.h"

#include "policy/match.h"
#include "policy/special_purpose.h"

namespace cordon::policy {
namespace {

// The class of the address rules are about; the widest protection wins.
DstClass classify(const Destination& destination, const HostFacts& facts) {
  const bool wrapped = destination.embedded.has_value();
  if (facts.mapped && !wrapped && net::is_loopback(destination.dial)) return DstClass::kHost;
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
  return query.remote.embedded && query.facts.embedded.fib == FibType::kUnicast &&
         !good(query.facts.embedded);
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
  if (is_other_tenant(query.remote, query.facts)) return denied(policy, query, Reason::kTenantIsolation);
  if (query.dst_class != DstClass::kHost && route_blocked(query)) {
    auto decision = denied(policy, query, Reason::kRouteBlocked);
    decision.how = how_for_route(policy, query.facts.dial.fib);
    return decision;
  }
  if (!is_guarded(query.dst_class)) return std::nullopt;
  const auto files = policy.files();
  if (!files.empty() && has_ended(files.front().expires, query.facts.now)) {
    auto decision = denied(policy, query, Reason::kExpired);
    decision.layer = 0;
    return decision;
  }
  const std::int16_t rule = files.empty() ? Decision::kNoRule : first_match(policy, 0, query);
  if (files.empty() || !allows(files.front(), query, rule)) {
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

}  // namespace

Decision decide(const PolicySet& policy, const flow::Tuple& tuple, const HostFacts& facts) {
  Query query{.tuple = tuple, .facts = facts, .remote = normalise(tuple.remote.address)};
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
  if (query.remote.unreadable_embedding) return denied(policy, query, Reason::kEmbeddedIpv4);
  if (!facts.sandbox_address) query.dst_class = classify(query.remote, facts);
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
    case Reason::kLimitMemory: return "limit-memory";
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
