#include "app/broker_judge.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "policy/destination.h"

namespace cordon::app {
namespace {

constexpr std::uint16_t kDnsPort = 53;
constexpr std::uint32_t kReportBytes = 256 * 1024;  // of a datagram flow under a byte budget

policy::WallTime wall_now() {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

// The parts of a Decision that a record needs, in the verdict's token.
std::uint64_t pack(const policy::Decision& d) {
  return std::uint64_t{static_cast<std::uint16_t>(d.layer)} |
         (std::uint64_t{static_cast<std::uint16_t>(d.rule)} << 16U) |
         (std::uint64_t{static_cast<std::uint8_t>(d.reason)} << 32U) |
         (std::uint64_t{static_cast<std::uint8_t>(d.dst_class)} << 40U) |
         (std::uint64_t{d.would_deny} << 48U) | (std::uint64_t{d.allow ? 1U : 0U} << 56U) |
         (std::uint64_t{d.direction == policy::Direction::kIngress ? 1U : 0U} << 57U);
}

policy::Decision unpack(std::uint64_t token) {
  policy::Decision d;
  d.layer = static_cast<std::int16_t>(token);
  d.rule = static_cast<std::int16_t>(token >> 16U);
  d.reason = static_cast<policy::Reason>(static_cast<std::uint8_t>(token >> 32U));
  d.dst_class = static_cast<policy::DstClass>(static_cast<std::uint8_t>(token >> 40U));
  d.would_deny = static_cast<std::uint8_t>(token >> 48U);
  d.allow = (token >> 56U & 1U) != 0;
  d.direction = (token >> 57U & 1U) != 0 ? policy::Direction::kIngress : policy::Direction::kEgress;
  return d;
}

policy::Reason reason_of(sandbox::Limit limit) {
  switch (limit) {
    case sandbox::Limit::kNewFlows: return policy::Reason::kLimitNew;
    case sandbox::Limit::kMemory: return policy::Reason::kLimitMemory;
    case sandbox::Limit::kConnections:
    case sandbox::Limit::kDescriptors: break;
  }
  return policy::Reason::kLimitConnections;
}

policy::FibType to_fib_type(netlink::RouteType type) {
  switch (type) {
    case netlink::RouteType::kUnicast: return policy::FibType::kUnicast;
    case netlink::RouteType::kLocal: return policy::FibType::kLocal;
    case netlink::RouteType::kBroadcast: return policy::FibType::kBroadcast;
    case netlink::RouteType::kAnycast: return policy::FibType::kAnycast;
    case netlink::RouteType::kMulticast: return policy::FibType::kMulticast;
    case netlink::RouteType::kBlackhole: return policy::FibType::kBlackhole;
    case netlink::RouteType::kUnreachable: return policy::FibType::kUnreachable;
    case netlink::RouteType::kProhibit: return policy::FibType::kProhibit;
    case netlink::RouteType::kOther: return policy::FibType::kOther;
  }
  return policy::FibType::kOther;
}

}  // namespace

BrokerJudge::BrokerJudge(const GuestPlan& guest, std::shared_ptr<const policy::PolicySet> policy,
                         netlink::Monitor monitor, int audit_fd)
    : families_(guest.families()),
      sources_(guest),
      policy_(std::move(policy)),
      monitor_(std::move(monitor)),
      audit_({.guest = guest.name, .tenant = {}}, audit_fd, policy_),
      limits_(*policy_),
      uplinks_(monitor_.state().uplinks()) {}

sandbox::HostChange BrokerJudge::drain(base::Instant now) {
  switch (monitor_.drain(now)) {
    case netlink::DrainResult::kUnchanged: return sandbox::HostChange::kUnchanged;
    case netlink::DrainResult::kChanged:
      ++epoch_;
      uplinks_ = monitor_.state().uplinks();
      expiry_due_ = monitor_.state().next_expiry();
      return sandbox::HostChange::kChanged;
    case netlink::DrainResult::kStale: break;
  }
  ++epoch_;
  return sandbox::HostChange::kStale;
}

policy::AddressFacts BrokerJudge::look_up(const net::IpAddress& address) {
  policy::AddressFacts facts;
  facts.is_host = monitor_.state().is_host(address);
  const auto route = monitor_.fib().lookup(address);
  if (!route) return facts;  // the kernel could not be asked: no route
  facts.fib = monitor_.state().is_broadcast(address) ? policy::FibType::kBroadcast : to_fib_type(route->type);
  facts.has_gateway = route->gateway.has_value();
  facts.oif = route->interface;
  facts.oif_is_uplink = std::ranges::binary_search(uplinks_, route->interface);
  return facts;
}

bool BrokerJudge::is_forwarder(const flow::Tuple& tuple) const {
  return tuple.protocol != flow::Protocol::kIcmpEcho && tuple.remote.port.number() == kDnsPort &&
         std::ranges::any_of(families_, [&](const FamilyPlan& f) { return f.dns == tuple.remote.address; });
}

policy::HostFacts BrokerJudge::facts_of(const flow::Tuple& tuple) {
  policy::HostFacts facts;
  const policy::Destination destination = policy::normalise(tuple.remote.address);
  const net::IpAddress embedded =
      destination.embedded ? net::IpAddress{*destination.embedded} : destination.dial;
  for (const FamilyPlan& family : families_) {
    // In every disguise: ::ffff:10.0.2.2 is the gateway too, never the host network's 10.0.2.2.
    for (const net::IpAddress& remote : {destination.dial, embedded})
      facts.sandbox_address |= family.gateway == remote || family.dns == remote || family.is_guest(remote);
  }
  if (is_forwarder(tuple)) {
    facts.dns_forwarder = true;
    facts.sandbox_address = false;
    return facts;
  }
  facts.dial = look_up(destination.dial);
  if (destination.embedded) facts.embedded = look_up(*destination.embedded);
  return facts;
}

// About a connection from outside: the remote end is the peer.
policy::HostFacts BrokerJudge::facts_of_peer(const flow::Tuple& seen) {
  policy::HostFacts facts;
  facts.source_assigned = std::ranges::any_of(
      families_, [&](const FamilyPlan& family) { return family.is_guest(seen.guest.address); });
  const policy::Destination peer = policy::normalise(seen.remote.address);
  facts.dial = look_up(peer.dial);
  if (peer.embedded) facts.embedded = look_up(*peer.embedded);
  return facts;
}

sandbox::Verdict BrokerJudge::judge(const flow::Tuple& tuple, base::Instant now) {
  sandbox::Verdict verdict;
  if (monitor_.stale()) {
    verdict.token = pack(policy::Decision{});  // engine-error
    return verdict;
  }
  policy::HostFacts facts = facts_of(tuple);
  facts.source_assigned = sources_.admit(tuple.guest.address, now);
  const policy::Decision decision = policy::decide(*policy_, tuple, facts);
  verdict.allow = decision.allow;
  verdict.how = decision.how;
  verdict.token = pack(decision);
  verdict.scopes = limits_.scopes().of(decision);
  verdict.dial = {policy::normalise(tuple.remote.address).dial, tuple.remote.port};
  verdict.no_route =
      decision.reason == policy::Reason::kRouteBlocked &&
      (facts.dial.fib == policy::FibType::kNone || facts.dial.fib == policy::FibType::kUnreachable);
  if (!verdict.allow) return verdict;
  if (facts.dns_forwarder) return dial_resolver(verdict);
  verdict.local_service = facts.dial.is_host || facts.dial.fib == policy::FibType::kLocal;
  verdict.bind_interface = verdict.local_service ? 0 : facts.dial.oif;
  return verdict;
}

sandbox::Verdict BrokerJudge::judge_inbound(const flow::Tuple& seen, base::Instant /*now*/) {
  policy::Decision decision{.direction = policy::Direction::kIngress};  // engine-error
  sandbox::Verdict verdict;
  const policy::HostFacts facts = facts_of_peer(seen);
  if (!monitor_.stale()) decision = policy::decide_ingress(*policy_, seen, facts);
  verdict.allow = decision.allow;
  verdict.how = decision.how;
  verdict.token = pack(decision);
  verdict.scopes = limits_.scopes().of(decision);
  verdict.dial = {policy::normalise(seen.remote.address).dial, seen.remote.port};
  verdict.local_service = decision.dst_class == policy::DstClass::kHost;
  verdict.bind_interface = verdict.local_service ? 0 : facts.dial.oif;
  return verdict;
}

static_assert(sandbox::Verdict::kMaxScopes == policy::LimitScopes::kMaxPerFlow);

// A refusal by a limit is the deny of the file, or of the rule, that sets it.
sandbox::Verdict BrokerJudge::over_limit(std::uint64_t token, const FlowLimits::Refusal& refusal) const {
  const policy::LimitScope& scope = limits_.scopes().scope(refusal.scope);
  policy::Decision decision = unpack(token);
  decision.allow = false;
  decision.reason = refusal.reason;
  decision.layer = scope.layer;
  decision.rule = scope.rule;
  sandbox::Verdict verdict;
  verdict.how = policy_->drops() ? flow::RefuseHow::kDrop : flow::RefuseHow::kReject;
  verdict.token = pack(decision);
  return verdict;
}

void BrokerJudge::admit(const flow::Tuple& tuple, sandbox::Verdict& verdict, base::Instant now) {
  const FlowLimits::Admission admission = limits_.admit(verdict.scopes, now);
  if (admission.refused) {
    verdict = over_limit(verdict.token, *admission.refused);
    return;
  }
  verdict.account = admission.account;
  verdict.metered = admission.metered;
  verdict.shaping = limits_.scopes().shaping(verdict.scopes);
  if (verdict.metered && tuple.protocol != flow::Protocol::kTcp) verdict.shaping.report = kReportBytes;
}

std::optional<sandbox::Verdict> BrokerJudge::over_budget(const sandbox::FlowView& flow,
                                                         std::uint32_t account) const {
  const auto scope = limits_.over_budget(account);
  if (!scope) return std::nullopt;
  return over_limit(flow.token, {.scope = *scope, .reason = policy::Reason::kLimitBytes});
}

// Resolvers on the host itself (127.0.0.53) are reachable by this path alone.
sandbox::Verdict BrokerJudge::dial_resolver(sandbox::Verdict verdict) {
  if (resolvers_.empty()) {
    verdict.allow = false;
    verdict.how = flow::RefuseHow::kNetworkUnreachable;
    policy::Decision decision = unpack(verdict.token);
    decision.allow = false;
    decision.reason = policy::Reason::kNoResolver;
    verdict.token = pack(decision);
    return verdict;
  }
  const sandbox::control::Resolver& resolver = resolvers_[resolver_ % resolvers_.size()];
  verdict.dial = {resolver.address, net::Port{kDnsPort}};
  verdict.scope_id = resolver.scope_id;
  const policy::AddressFacts facts = look_up(resolver.address);
  verdict.local_service =
      facts.is_host || facts.fib == policy::FibType::kLocal || net::is_loopback(resolver.address);
  if (!verdict.local_service) verdict.bind_interface = resolver.scope_id != 0 ? resolver.scope_id : facts.oif;
  return verdict;
}

void BrokerJudge::next_resolver(const sandbox::FlowView& flow) {
  if (resolvers_.empty() || !is_forwarder(flow.tuple)) return;
  // Only the first of many failed queries moves on.
  if (resolvers_[resolver_ % resolvers_.size()].address == flow.dialed.address)
    resolver_ = (resolver_ + 1) % resolvers_.size();
}

bool BrokerJudge::route_is_remote(const flow::Tuple& /*tuple*/, const sandbox::Verdict& verdict) {
  const auto route = monitor_.fib().lookup_fresh(verdict.dial.address);
  if (!route || route->type != netlink::RouteType::kUnicast) return false;
  const netlink::Link* link = monitor_.state().link(route->interface);
  return link != nullptr && !link->loopback;
}

void BrokerJudge::set_resolvers(std::span<const sandbox::control::Resolver> resolvers) {
  resolvers_.assign(resolvers.begin(), resolvers.end());
  resolver_ = 0;
  ++epoch_;
}

policy::AuditEvent BrokerJudge::event_for(policy::AuditAction action, const flow::Tuple& tuple,
                                          const policy::Decision& decision) {
  policy::AuditEvent event;
  event.action = action;
  event.tuple = tuple;
  event.decision = decision;
  event.facts =
      decision.direction == policy::Direction::kIngress ? facts_of_peer(tuple).dial : facts_of(tuple).dial;
  if (const netlink::Link* link = monitor_.state().link(event.facts.oif)) event.oif_name = link->name;
  return event;
}

void BrokerJudge::record(const policy::AuditEvent& event, base::Instant now) {
  audit_.record(event, now, wall_now());
  if (loss_told_ || audit_.counters().events_lost == 0) return;
  pollfd user{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (::poll(&user, 1, 0) != 1) return;  // stderr may be the sink that takes nothing: never wait for it
  loss_told_ = true;
  std::fputs(
      "cordon: audit log: records are lost (disk full, or nobody reads them?); decisions go on, and the next "
      "record tells how many\n",
      stderr);
}

void BrokerJudge::on_denied(const flow::Tuple& tuple, const sandbox::Verdict& verdict, base::Instant now) {
  policy::Decision decision = unpack(verdict.token);
  decision.how = verdict.how;
  record(event_for(policy::AuditAction::kFlowDenied, tuple, decision), now);
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
  if (decision.would_deny == 0) return;
  auto event = event_for(policy::AuditAction::kFlowAllowed, flow.tuple, decision);
  if (flow.dialed != flow.tuple.remote) event.dialed = flow.dialed;
  record(event, now);
}

void BrokerJudge::on_unreachable(const sandbox::FlowView& flow, int error, base::Instant /*now*/) {
  next_resolver(flow);
  if (flow.tuple.protocol == flow::Protocol::kIcmpEcho && (error == EACCES || error == EPERM) &&
      !ping_hint_given_) {
    ping_hint_given_ = true;
    std::fputs(
        "cordon: ping: this user may not open ping sockets: set sysctl net.ipv4.ping_group_range to include "
        "its "
        "group\n",
        stderr);
  }
}

void BrokerJudge::on_cut(const sandbox::FlowView& flow, const sandbox::Verdict& verdict, sandbox::Cut why,
                         bool granted, bool exposed, base::Instant now) {
  // The launcher's record tells of a translator once; a flow that moved lost nothing.
  if (why == sandbox::Cut::kTranslatorGone || why == sandbox::Cut::kMoved) return;
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
  const auto action = granted ? policy::AuditAction::kFlowRevoked : policy::AuditAction::kFlowDenied;
  auto event = event_for(action, flow.tuple, decision);
  if (flow.dialed != flow.tuple.remote) event.dialed = flow.dialed;
  if (granted) event.duration = now - flow.started;
  record(event, now);
  static_cast<void>(exposed);  // told at the flow's end, when the number is known
}

// Only a revoked flow's end is a record: its volumes belong to what was told when it was cut. Datagrams of a
// flow whose destination became the host's may have reached the host in the instant of the change: all that
// the flow ever sent is the bound that can be proved, and event.count of the host-exposure record.
void BrokerJudge::on_ended(const sandbox::FlowView& flow, flow::EndReason reason,
                           const flow::Volumes& volumes, base::Instant now) {
  const bool unanswered = volumes.bytes_to_guest == 0 || reason == flow::EndReason::kError;
  if (unanswered && flow.tuple.protocol == flow::Protocol::kUdp) next_resolver(flow);
  if (reason != flow::EndReason::kRevoked) return;
  auto event = event_for(policy::AuditAction::kFlowEnded, flow.tuple, unpack(flow.token));
  event.end = reason;
  event.volumes = volumes;
  event.duration = now - flow.started;
  record(event, now);
  const bool inbound = event.decision.direction == policy::Direction::kIngress;
  if (volumes.datagrams_from_guest == 0 || inbound || !event.facts.is_host) return;
  event.action = policy::AuditAction::kHostExposure;
  event.count = volumes.datagrams_from_guest;
  record(event, now);
}

void BrokerJudge::on_spoof(const flow::SpoofReport& report, base::Instant now) {
  policy::AuditEvent event;
  event.action = policy::AuditAction::kPacketDenied;
  event.tuple = report.tuple;
  event.decision.reason = policy::Reason::kSourceSpoof;
  event.decision.how = flow::RefuseHow::kDrop;
  event.source_mac = report.source_mac;
  record(event, now);
}

void BrokerJudge::on_counters(const sandbox::CounterValues& values, base::Instant /*now*/) {
  counters_ = values;
}

void BrokerJudge::on_tick(base::Instant now) {
  audit_.tick(now, wall_now());
  if (now < expiry_due_) return;
  // Only ever widens what is allowed, so no flow needs another look.
  monitor_.expire(now);
  expiry_due_ = monitor_.state().next_expiry();
}

base::Instant BrokerJudge::tick_due() const { return std::min(audit_.next_deadline(), expiry_due_); }

void BrokerJudge::finish(base::Instant now) { audit_.finish(now, wall_now()); }

}  // namespace cordon::app
