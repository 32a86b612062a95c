// BrokerJudge: what becomes an audit record.
#include <poll.h>
#include <unistd.h>

#include <cstdio>

#include "app/broker_judge.h"
#include "app/broker_token.h"
#include "core/base/stderr.h"
#include "core/plane/counters.h"

namespace cordon::app {
namespace {

constexpr base::Duration kAskForSink = std::chrono::seconds{1};

policy::Reason reason_of(sandbox::Limit limit) {
  switch (limit) {
    case sandbox::Limit::kNewFlows: return policy::Reason::kLimitNew;
    case sandbox::Limit::kMemory: return policy::Reason::kLimitMemory;
    case sandbox::Limit::kConnections:
    case sandbox::Limit::kDescriptors: break;
  }
  return policy::Reason::kLimitConnections;
}

policy::Cause name_of(sandbox::control::LoadCause cause) {
  switch (cause) {
    case sandbox::control::LoadCause::kStart: return policy::Cause::kStart;
    case sandbox::control::LoadCause::kSignal: return policy::Cause::kSignal;
    case sandbox::control::LoadCause::kWatch: return policy::Cause::kWatch;
    case sandbox::control::LoadCause::kControl: return policy::Cause::kControl;
  }
  return policy::Cause::kStart;
}

policy::AuditEvent packet_event(flow::PacketDenial why) {
  policy::AuditEvent event{.action = policy::AuditAction::kPacketDenied};
  event.decision.how = flow::RefuseHow::kDrop;
  switch (why) {
    case flow::PacketDenial::kSource: event.decision.reason = policy::Reason::kSourceSpoof; break;
    case flow::PacketDenial::kMalformed: event.decision.reason = policy::Reason::kMalformed; break;
    case flow::PacketDenial::kProtocol: event.decision.reason = policy::Reason::kUnsupportedProtocol; break;
    case flow::PacketDenial::kNoRoom: event.decision.reason = policy::Reason::kLimitConnections; break;
    case flow::PacketDenial::kGroup:
      event.decision.reason = policy::Reason::kSpecialAddress;
      event.decision.dst_class = policy::DstClass::kSpecial;
      break;
  }
  return event;
}

}  // namespace

policy::AuditEvent BrokerJudge::event_for(policy::AuditAction action, const flow::Tuple& tuple,
                                          const policy::Decision& decision) {
  policy::AuditEvent event;
  event.action = action;
  event.tuple = tuple;
  event.decision = decision;
  event.facts = decision.direction == policy::Direction::kIngress ? view_.facts_of_peer(tuple).dial
                                                                  : view_.facts_of(tuple).dial;
  if (const netlink::Link* link = monitor_.state().link(event.facts.oif)) event.oif_name = link->name;
  return event;
}

// The token says which policy's rules the decision names; where that is forgotten it names none.
policy::AuditEvent BrokerJudge::event_for(policy::AuditAction action, const flow::Tuple& tuple,
                                          policy::Decision decision, std::uint64_t token) {
  const policy::PolicySet* policy = policy_of(token);
  if (policy == nullptr) decision.rule = policy::Decision::kNoRule;
  auto event = event_for(action, tuple, decision);
  event.policy = policy;
  return event;
}

void BrokerJudge::record(const policy::AuditEvent& event, base::Instant now) {
  audit_.record(event, now, base::wall_now());
  if (audit_.sink_is_broken() && now >= sink_due_ && ask_for_sink_) {
    sink_due_ = now + kAskForSink;
    ask_for_sink_();
  }
  if (loss_told_ || audit_.counters().events_lost == losses_told_) return;
  pollfd user{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (::poll(&user, 1, 0) != 1) return;  // stderr may be the sink that takes nothing: never wait for it
  loss_told_ = true;
  losses_told_ = audit_.counters().events_lost;
  std::fputs(
      "cordon: audit log: records are lost (disk full, or nobody reads them?); decisions go on, and the next "
      "record tells how many\n",
      stderr);
}

// A loss after this one is worth another line.
void BrokerJudge::set_audit_sink(base::Fd fd) {
  loss_told_ = false;
  losses_told_ = audit_.counters().events_lost;
  audit_.set_sink(std::move(fd), base::monotonic_now(), base::wall_now());
}

void BrokerJudge::on_denied(const flow::Tuple& tuple, const sandbox::Verdict& verdict, base::Instant now) {
  policy::Decision decision = unpack(verdict.token);
  decision.how = verdict.how;
  record(event_for(policy::AuditAction::kFlowDenied, tuple, decision, verdict.token), now);
}

void BrokerJudge::on_limit(const flow::Tuple& tuple, sandbox::Limit limit, base::Instant now) {
  policy::Decision decision;
  decision.reason = reason_of(limit);
  record(event_for(policy::AuditAction::kFlowDenied, tuple, decision), now);
}

void BrokerJudge::on_inbound_limit(const flow::Tuple& seen, sandbox::Limit limit, base::Instant now) {
  policy::Decision decision{.direction = policy::Direction::kIngress};
  decision.reason = reason_of(limit);
  record(event_for(policy::AuditAction::kFlowDenied, seen, decision), now);
}

void BrokerJudge::on_allowed(const sandbox::FlowView& flow, base::Instant now) {
  const policy::Decision decision = unpack(flow.token);
  if (decision.would_deny == 0 && log_of(flow.token) == policy::LogMode::kNone) {
    audit_.count({.action = policy::AuditAction::kFlowAllowed, .decision = decision});
    return;
  }
  auto event = event_for(policy::AuditAction::kFlowAllowed, flow.tuple, decision, flow.token);
  if (flow.dialed != flow.tuple.remote) event.dialed = flow.dialed;
  record(event, now);
}

// Allowed, though nobody was there.
void BrokerJudge::on_unreachable(const sandbox::FlowView& flow, int error, base::Instant now) {
  next_resolver(flow);
  on_allowed(flow, now);
  record_end(flow, now);
  if (flow.tuple.protocol == flow::Protocol::kIcmpEcho && (error == EACCES || error == EPERM) &&
      !ping_hint_given_) {
    ping_hint_given_ = true;
    base::tell(
        "cordon: ping: this user may not open ping sockets: set sysctl net.ipv4.ping_group_range to include "
        "its group\n");
  }
}

// Allowed as well: packets may have left for the destination.
void BrokerJudge::on_aborted(const sandbox::FlowView& flow, base::Instant now) {
  on_allowed(flow, now);
  record_end(flow, now);
}

void BrokerJudge::on_cut(const sandbox::FlowView& flow, const sandbox::Verdict& verdict, sandbox::Cut why,
                         bool granted, bool exposed, base::Instant now) {
  // The launcher's record tells of a translator once; a flow that moved lost nothing.
  if (why == sandbox::Cut::kTranslatorGone) return record_end(flow, now);
  if (why == sandbox::Cut::kMoved) return;
  policy::Decision decision = unpack(verdict.token);
  decision.how = verdict.how;
  if (why == sandbox::Cut::kBecameLocal) {
    decision.allow = false;
    decision.reason = policy::Reason::kHostChanged;
    decision.dst_class = policy::DstClass::kHost;
  }
  if (why == sandbox::Cut::kPathLost) {
    decision.allow = false;
    decision.reason = policy::Reason::kRouteBlocked;
  }
  // Nothing denies it; whoever killed it does.
  if (why == sandbox::Cut::kOperator) {
    decision.allow = false;
    decision.reason = policy::Reason::kPolicyChanged;
  }
  const auto action = granted ? policy::AuditAction::kFlowRevoked : policy::AuditAction::kFlowDenied;
  auto event = event_for(action, flow.tuple, decision, verdict.token);
  if (granted) event.cause = cause_of(flow, verdict, why);
  if (flow.dialed != flow.tuple.remote) event.dialed = flow.dialed;
  if (granted) event.duration = now - flow.started;
  record(event, now);
  static_cast<void>(exposed);  // told at the flow's end, when the number is known
}

// The end of a flow under `log: all`, and of a revoked one, whose volumes belong to what was told when it was
// cut. Datagrams of a flow whose destination became the host's may have reached the host in the instant of
// the change: all that the flow ever sent is the bound that can be proved, and event.count of the
// host-exposure record.
void BrokerJudge::on_ended(const sandbox::FlowView& flow, flow::EndReason reason,
                           const flow::Volumes& volumes, base::Instant now) {
  const bool unanswered = volumes.bytes_to_guest == 0 || reason == flow::EndReason::kError;
  if (unanswered && flow.tuple.protocol == flow::Protocol::kUdp) next_resolver(flow);
  const bool revoked = reason == flow::EndReason::kRevoked;
  if (!revoked && log_of(flow.token) != policy::LogMode::kAll) return;
  auto event = event_for(policy::AuditAction::kFlowEnded, flow.tuple, unpack(flow.token), flow.token);
  event.end = reason;
  event.volumes = volumes;
  event.duration = now - flow.started;
  record(event, now);
  const bool inbound = event.decision.direction == policy::Direction::kIngress;
  if (!revoked) return;
  if (volumes.datagrams_from_guest == 0 || inbound || !event.facts.is_host) return;
  event.action = policy::AuditAction::kHostExposure;
  event.count = volumes.datagrams_from_guest;
  record(event, now);
}

void BrokerJudge::on_packet(const flow::PacketReport& report, base::Instant now) {
  ++packets_recorded_.at(static_cast<std::size_t>(report.why));
  policy::AuditEvent event = packet_event(report.why);
  event.tuple = report.tuple;
  event.source_mac = report.source_mac;
  if (report.ip_protocol != 0) event.ip_protocol = report.ip_protocol;
  record(event, now);
}

// The worker reports some of a flood, and of a packet that cannot be read there is nothing to report: the
// counters say how many there were, and what is not in a record yet comes into one without ends.
void BrokerJudge::record_unreported_packets(base::Instant now) {
  std::array<std::uint64_t, flow::kPacketDenials> denied{};
  for (std::size_t i = 0; i < plane::kCounters; ++i)
    if (const auto why = plane::denial_of(static_cast<plane::Counter>(i)))
      denied.at(static_cast<std::size_t>(*why)) += counters_.at(i);
  for (std::size_t i = 0; i < denied.size(); ++i) {
    if (denied.at(i) <= packets_recorded_.at(i)) continue;
    policy::AuditEvent event = packet_event(static_cast<flow::PacketDenial>(i));
    event.count = denied.at(i) - packets_recorded_.at(i);
    packets_recorded_.at(i) = denied.at(i);
    record(event, now);
  }
}

void BrokerJudge::note_policy_loaded(sandbox::control::LoadCause cause, base::Instant now) {
  if (backstop_.due() != base::Instant::never() && backstop_.look(now)) record_backstop(now);
  const std::string message = "cordon " CORDON_VERSION ": this policy is in force; backstop: " +
                              std::string{to_string(backstop_.state())};
  record({.action = policy::AuditAction::kPolicyLoaded, .cause = name_of(cause), .message = message}, now);
}

void BrokerJudge::note_policy_rejected(sandbox::control::LoadCause cause, std::string_view why,
                                       base::Instant now) {
  record({.action = policy::AuditAction::kPolicyRejected, .cause = name_of(cause), .message = why}, now);
}

void BrokerJudge::record_news(const HostNews::News& news, base::Instant now) {
  const bool again = monitor_.overruns() != overruns_told_;
  overruns_told_ = monitor_.overruns();
  record({.action = policy::AuditAction::kHostStateChanged,
          .message = again ? "announcements were lost; the host state was read anew" : "",
          .host = &news.changes,
          .count = news.count},
         now);
}

// Under `log: all`; nobody can say any more what the flow has carried.
void BrokerJudge::record_end(const sandbox::FlowView& flow, base::Instant now) {
  if (log_of(flow.token) != policy::LogMode::kAll) return;
  auto event = event_for(policy::AuditAction::kFlowEnded, flow.tuple, unpack(flow.token), flow.token);
  event.end = flow::EndReason::kError;
  event.duration = now - flow.started;
  record(event, now);
}

void BrokerJudge::record_backstop(base::Instant now) {
  const std::string message = "backstop: " + std::string{to_string(backstop_.state())};
  record({.action = policy::AuditAction::kHostStateChanged, .message = message}, now);
}

void BrokerJudge::on_counters(const sandbox::CounterValues& values, base::Instant now) {
  counters_ = values;
  record_unreported_packets(now);
}

}  // namespace cordon::app
