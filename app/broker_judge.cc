#include "app/broker_judge.h"

#include <algorithm>

#include "app/broker_token.h"
#include "policy/destination.h"

namespace cordon::app {
namespace {

constexpr std::uint32_t kReportBytes = 256 * 1024;  // of a datagram flow under a byte budget

// A guest may talk to a link-local gateway by its own link-local address, which leaves the link for nowhere
// but where that gateway is mapped or forwarded to.
bool is_link_local_to_mapped(const flow::Tuple& tuple, const policy::HostFacts& facts) {
  const auto local = [](const net::IpAddress& a) { return a.is_v6() && net::is_link_local(a); };
  return (facts.mapped || facts.dns_forwarder) && local(tuple.guest.address) && local(tuple.remote.address);
}

}  // namespace

BrokerJudge::BrokerJudge(const GuestPlan& guest, std::shared_ptr<const policy::PolicySet> policy,
                         netlink::Monitor monitor, int audit_fd, policy::SinkKind sink)
    : sources_(guest),
      has_policy_(policy != nullptr),
      policy_(policy != nullptr ? std::move(policy) : std::make_shared<const policy::PolicySet>()),
      monitor_(std::move(monitor)),
      live_(monitor_),
      view_(live_, guest.families(), guest.map),
      fixed_resolvers_(guest.resolvers),
      audit_({.guest = guest.name, .tenant = {}}, audit_fd, policy_, sink),
      limits_(*policy_) {
  settle(*policy_);
  watch_dates();
  news_.start(monitor_.state());
}

sandbox::HostChange BrokerJudge::drain(base::Instant now) {
  switch (monitor_.drain(now)) {
    case netlink::DrainResult::kUnchanged: return sandbox::HostChange::kUnchanged;
    case netlink::DrainResult::kChanged:
      ++epoch_;
      view_.refresh();
      old_.refresh();
      news_.note(now);
      expiry_due_ = monitor_.state().next_expiry();
      return sandbox::HostChange::kChanged;
    case netlink::DrainResult::kStale: break;
  }
  ++epoch_;
  return sandbox::HostChange::kStale;
}

// Nothing is known, or nothing is allowed whatever is known.
sandbox::Verdict BrokerJudge::refusal_of_all(policy::Direction direction) const {
  policy::Decision decision{.direction = direction};  // engine-error
  if (status_.denying && !monitor_.stale()) decision.reason = policy::Reason::kPolicyChanged;
  sandbox::Verdict verdict;
  verdict.how = policy_->drops() ? flow::RefuseHow::kDrop : flow::RefuseHow::kReject;
  verdict.token = pack(decision, policy::LogMode::kNone, policy_->generation());
  return verdict;
}

sandbox::Verdict BrokerJudge::decided(const policy::PolicySet& policy, const policy::Decision& decision,
                                      const policy::HostFacts& facts, const flow::Tuple& tuple) const {
  const bool inbound = decision.direction == policy::Direction::kIngress;
  sandbox::Verdict verdict;
  verdict.allow = decision.allow;
  verdict.how = decision.how;
  verdict.token = pack(decision, policy::log_mode(policy, decision), policy.generation());
  verdict.dial = {policy::normalise(tuple.remote.address).dial, tuple.remote.port};
  // An `unreachable` route is somebody's word; and a socket that is bound to its interface would ignore it,
  // as IPv4 takes for on-link what no route leads to (net/ipv4/route.c).
  verdict.no_route = !inbound && decision.reason == policy::Reason::kRouteBlocked &&
                     facts.dial.fib == policy::FibType::kNone;
  if (!verdict.allow && !inbound) return verdict;
  verdict.local_service = inbound ? decision.dst_class == policy::DstClass::kHost
                                  : facts.dial.is_host || facts.dial.fib == policy::FibType::kLocal;
  verdict.bind_interface = verdict.local_service ? 0 : facts.dial.oif;
  for (const net::IpAddress& source : outbound_)
    if (!inbound && source.family() == verdict.dial.address.family()) verdict.source = source;
  return verdict;
}

sandbox::Verdict BrokerJudge::judge(const flow::Tuple& tuple, base::Instant now) {
  if (cannot_judge()) return refusal_of_all(policy::Direction::kEgress);
  policy::HostFacts facts = view_.facts_of(tuple);
  facts.source_assigned = sources_.admit(tuple.guest.address, now) || is_link_local_to_mapped(tuple, facts);
  facts.now = base::wall_now();
  const flow::Tuple meant = view_.meant(tuple);
  const policy::Decision decision = policy::decide(*policy_, meant, facts);
  sandbox::Verdict verdict = decided(*policy_, decision, facts, meant);
  verdict.scopes = limits_.scopes().of(decision);
  return verdict.allow && facts.dns_forwarder ? dial_resolver(verdict) : verdict;
}

sandbox::Verdict BrokerJudge::judge_inbound(const flow::Tuple& seen, base::Instant /*now*/) {
  if (cannot_judge()) return refusal_of_all(policy::Direction::kIngress);
  policy::HostFacts facts = view_.facts_of_peer(seen);
  facts.now = base::wall_now();
  const policy::Decision decision = policy::decide_ingress(*policy_, seen, facts);
  sandbox::Verdict verdict = decided(*policy_, decision, facts, seen);
  verdict.scopes = limits_.scopes().of(decision);
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
  verdict.token = pack(decision, log_of(token), policy_->generation());
  return verdict;
}

void BrokerJudge::admit(const flow::Tuple& tuple, sandbox::Verdict& verdict, base::Instant now) {
  const FlowLimits::Admission admission = limits_.admit(verdict.scopes, now);
  if (admission.refused) {
    verdict = over_limit(verdict.token, *admission.refused);
    return;
  }
  take_standing(tuple.protocol, admission, verdict);
}

void BrokerJudge::take_standing(flow::Protocol protocol, const FlowLimits::Admission& standing,
                                sandbox::Verdict& verdict) {
  verdict.account = standing.account;
  verdict.metered = standing.metered;
  verdict.shaping = standing.shaping;
  if (verdict.metered && protocol != flow::Protocol::kTcp) verdict.shaping.report = kReportBytes;
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
    verdict.token = pack(decision, policy::LogMode::kNone, policy_->generation());
    return verdict;
  }
  const sandbox::control::Resolver& resolver = resolvers_[resolver_ % resolvers_.size()];
  verdict.dial = {resolver.address, verdict.dial.port};
  verdict.scope_id = resolver.scope_id;
  const policy::AddressFacts facts = view_.look_up(resolver.address);
  verdict.local_service =
      facts.is_host || facts.fib == policy::FibType::kLocal || net::is_loopback(resolver.address);
  if (!verdict.local_service) verdict.bind_interface = resolver.scope_id != 0 ? resolver.scope_id : facts.oif;
  return verdict;
}

void BrokerJudge::next_resolver(const sandbox::FlowView& flow) {
  if (resolvers_.empty() || !view_.is_forwarder(flow.tuple)) return;
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
  if (!fixed_resolvers_.empty()) {
    resolvers_.clear();
    for (const net::IpAddress& address : fixed_resolvers_) resolvers_.push_back({.address = address});
  }
  resolver_ = 0;
  ++epoch_;
}

void BrokerJudge::on_tick(base::Instant now) {
  audit_.tick(now, base::wall_now());
  if (now >= backstop_.due() && backstop_.look(now)) record_backstop(now);
  if (old_.end_drains(now)) ++epoch_;
  if (const auto news = news_.take(monitor_.state(), now)) record_news(*news, now);
  if (now < expiry_due_) return;
  // Only ever widens what is allowed, so no flow needs another look.
  if (monitor_.expire(now)) news_.note(now);
  expiry_due_ = monitor_.state().next_expiry();
}

base::Instant BrokerJudge::tick_due() const {
  return std::min({audit_.next_deadline(), expiry_due_, backstop_.due(), old_.next_end(), news_.due()});
}

void BrokerJudge::finish(base::Instant now) { audit_.finish(now, base::wall_now()); }

}  // namespace cordon::app
