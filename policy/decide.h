// decide(): the one place where a flow is allowed or refused. Pure: the same policy, tuple and facts give the
// same Decision; no clock, no I/O, no memory. Enforcing, re-deciding live flows, the tests of shipped
// policies and (later) explain and replay all call it.
//
// The order is fixed:
//   1 source        not an assigned address                                   -> source-spoof
//   2 destination   un-map, un-embed; a wrapping we cannot read               -> embedded-ipv4
//   3 floor         unspecified, loopback, link-local, multicast, broadcast, reserved, our own side of the
//                   guest's LAN -> special-address; another tenant's guest -> tenant-isolation; no unicast
//                   route, or not through an uplink -> route-blocked. No file opens any of these.
//   4 guarded       host, metadata, guests: only when the first rule of the operator's file that matches is
//                   an allow by that very word -> host-address, metadata, tenant-isolation; when that file
//                   has expired -> expired
//   5 files         outermost first; in each the first matching rule decides, none = deny (rule-deny,
//                   no-rule); past its `expires` a file denies everything (expired). A rule past its `until`
//                   matches nothing. An enforcing file's deny is final, an audit file's is noted.
// A destination that the command line maps is decided about as what it is mapped to; loopback, reached so, is
// `host`. The built-in DNS forwarder is no address of the host's network: it skips 2-4 and needs the word
// `dns`.
//
// decide_ingress() is the same for a connection from outside to a published port; decide_ingress.cc has its
// order.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "core/flow/types.h"
#include "policy/host_facts.h"
#include "policy/ruleset.h"

namespace cordon::policy {

// The closed list of policy reference, "Reasons". Order and texts are stable: metrics and records carry them.
enum class Reason : std::uint8_t {
  kNone,  // allowed
  kNoRule,
  kRuleDeny,
  kSourceSpoof,
  kSpecialAddress,
  kEmbeddedIpv4,
  kRouteBlocked,
  kHostAddress,
  kMetadata,
  kTenantIsolation,
  kDnsName,
  kDnsType,
  kDnsAnswerFiltered,
  kDnsLimit,
  kNotNamed,
  kSniMismatch,
  kSniMissing,
  kEch,
  kLimitConnections,
  kLimitNew,
  kLimitRate,
  kLimitBytes,
  kExpired,
  kPolicyChanged,
  kHostChanged,
  kMalformed,
  kUnsupportedProtocol,
  kNoResolver,
  kLimitMemory,
  kEngineError,
};
inline constexpr std::size_t kReasonCount = 30;
[[nodiscard]] std::string_view to_string(Reason reason);

enum class DstClass : std::uint8_t {
  kUnknown,
  kInternet,
  kPrivate,
  kOnlink,
  kHost,
  kGuests,
  kMetadata,
  kDns,
  kDocumentation,  // documentation and benchmark prefixes: no word covers them, an explicit address or CIDR
                   // does
  kSpecial,        // the floor
};
[[nodiscard]] std::string_view to_string(DstClass dst_class);

struct Decision {
  static constexpr std::int16_t kFloor = -1;  // as `layer`
  static constexpr std::int16_t kNoRule = -1;

  bool allow = false;
  Reason reason = Reason::kEngineError;
  std::int16_t layer = kFloor;  // file index whose word is final; kFloor; for an allow the last file
  std::int16_t rule = kNoRule;  // index in that file's list of this direction
  Direction direction = Direction::kEgress;
  flow::RefuseHow how = flow::RefuseHow::kReject;  // meaningless when allowed
  DstClass dst_class = DstClass::kUnknown;         // of the remote end
  std::uint8_t would_deny = 0;                     // bit i: audit-mode file i said no
  // The rule each file decided by; kNoRule for files without a match or not asked.
  std::array<std::int16_t, PolicySet::kMaxFiles> rules{kNoRule, kNoRule, kNoRule, kNoRule,
                                                       kNoRule, kNoRule, kNoRule, kNoRule};
  friend bool operator==(const Decision&, const Decision&) = default;
};

[[nodiscard]] Decision decide(const PolicySet& policy, const flow::Tuple& tuple, const HostFacts& facts);
// `tuple.remote` is the peer as the listening socket saw it, `tuple.guest` where the forward leads; rules
// match the peer's address and the guest's port. Facts: `source_assigned` says that the target is the guest's
// address, `dial` and `embedded` are about the peer.
[[nodiscard]] Decision decide_ingress(const PolicySet& policy, const flow::Tuple& tuple,
                                      const HostFacts& facts);

}  // namespace cordon::policy
