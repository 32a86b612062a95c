// One audit record: what happened to a flow (or to the policy itself) and who decided, as one flat JSON line
// with ECS field names; what ECS has no name for lives under `sandbox.`. docs/policy-reference.md lists the
// fields. Strings that a guest can influence are escaped and cut at 255 bytes; payload is never recorded.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/time.h"
#include "core/flow/types.h"
#include "core/net/mac_address.h"
#include "policy/decide.h"
#include "policy/flow_counters.h"
#include "policy/host_facts.h"
#include "policy/ruleset.h"

namespace cordon::policy {

enum class AuditAction : std::uint8_t {
  kFlowDenied,
  kFlowAllowed,  // also an audit-mode file's "would deny"
  kFlowEnded,
  kFlowRevoked,
  kPacketDenied,  // no flow: spoofed source, malformed
  kPolicyLoaded,
  kPolicyRejected,
  kHostStateChanged,
  kHostExposure,    // datagrams that may have reached an address before it was known to be the host's
  kEngineFailed,    // broker or translator died; written by whoever notices
  kGuestConnected,  // a virtual machine's end of the link
  kGuestDisconnected,
  kAuditDropped,  // events were lost; event.count says how many
};
[[nodiscard]] std::string_view to_string(AuditAction action);

// What set it off, `sandbox.cause`.
enum class Cause : std::uint8_t {
  kNone,
  // Of a revoked flow:
  kPolicyChanged,
  kHostChanged,
  kExpired,
  kLimit,
  kOperator,
  kPath,
  // Of policy files that were loaded or rejected:
  kStart,
  kSignal,
  kWatch,
  kControl,
  // Of a guest that was disconnected:
  kViolation  // it broke the rules of its link
};
[[nodiscard]] std::string_view to_string(Cause cause);

// What the host has now and had not before, or the other way round; for host-state-changed.
struct HostChanges {
  std::vector<std::string> addresses_gained, addresses_lost, links_gained, links_lost, uplinks;
};

// What the broker hands over. Borrowed strings only need to live through the call.
struct AuditEvent {
  AuditAction action = AuditAction::kFlowDenied;
  std::optional<flow::Tuple> tuple;
  Decision decision;
  AddressFacts facts;  // of the dialled address
  std::string_view oif_name;
  std::optional<net::MacAddress> source_mac;
  std::optional<net::Endpoint> dialed;  // when it is not tuple.remote: a resolver, an un-mapped address
  std::optional<flow::EndReason> end;
  std::optional<flow::Volumes> volumes;
  std::optional<base::Duration> duration;
  std::optional<std::uint8_t> ip_protocol;  // of a packet whose protocol is not carried
  Cause cause = Cause::kNone;
  std::string_view message;  // for people: why a policy was rejected, which process died
  // The policy that the decision's layer and rule are indexes of; null: the log's own of now.
  const PolicySet* policy = nullptr;
  const HostChanges* host = nullptr;
  std::uint64_t count = 1;
};

// Of an event about a flow or a packet.
[[nodiscard]] FlowVerdict verdict_of(const AuditEvent& event);

[[nodiscard]] bool is_limit(Reason reason);

// Which records an admitted flow gets: the most that a rule that admitted it asks for, over all files.
[[nodiscard]] LogMode log_mode(const PolicySet& policy, const Decision& decision);

// Same in every record of a process.
struct AuditIdentity {
  std::string guest;
  std::string tenant;  // empty: what the operator's file says
};

// Ready to be written: names resolved, so that it outlives the policy it was made under.
struct AuditRecord {
  WallTime time;
  std::uint64_t sequence = 0;
  std::uint64_t dropped = 0;  // events lost since the record before
  AuditEvent event;           // its views and pointers are empty; what they meant is below
  bool wide = false;          // stands for events of many ends, so none is told
  std::string oif_name;
  std::string message;
  std::string guest;
  std::string tenant;
  std::string ruleset;
  std::string rule = "-";
  std::string rule_at;  // "FILE:LINE"
  std::vector<std::string> would_deny;
  std::vector<std::string> files;  // of policy-loaded: their paths
  std::optional<HostChanges> host;
  std::string policy_hash;
  std::uint64_t policy_generation = 0;
};

[[nodiscard]] AuditRecord make_record(const AuditIdentity& identity, const PolicySet& policy,
                                      const AuditEvent& event);
// Without the newline.
[[nodiscard]] std::string to_json(const AuditRecord& record);

// Community ID version 1, seed 0: the same for both directions and for any tool that sees the flow.
[[nodiscard]] std::string community_id(const flow::Tuple& tuple);

}  // namespace cordon::policy
