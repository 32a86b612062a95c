// BrokerJudge: one policy after another.
//
// New files are decoded and compiled here and their own tests run; then one pointer is swapped and the epoch
// moves, and the broker judges every live flow again. A bad set changes nothing, unless the policy in force
// says `on_reload_error: deny`: then everything is denied until a good one comes.
//
// Under `reload: drain` a flow that the rules of the new files deny, and that the policy it was admitted by
// still allows on the host of now, lives on for the time given. What the floor or a guarded place denies is
// cut at once, whatever changed.
#include <algorithm>
#include <array>
#include <functional>

#include "app/broker_judge.h"
#include "app/broker_policy.h"
#include "app/broker_token.h"
#include "core/base/stderr.h"

namespace cordon::app {
namespace {

std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

// A comment more moves the rules that records point at.
bool same_places(const policy::PolicySet& a, const policy::PolicySet& b) {
  return std::ranges::equal(a.files(), b.files(), [](const policy::Ruleset& x, const policy::Ruleset& y) {
    const auto places = [](const policy::Rule& left, const policy::Rule& right) {
      return left.at.line == right.at.line;
    };
    return x.path == y.path && std::ranges::equal(x.egress, y.egress, places) &&
           std::ranges::equal(x.ingress, y.ingress, places);
  });
}

bool is_by_rule(policy::Reason reason) {
  return reason == policy::Reason::kNoRule || reason == policy::Reason::kRuleDeny;
}

}  // namespace

void BrokerJudge::settle(const policy::PolicySet& policy) {
  policy::HostSettings settings =
      policy.files().empty() ? policy::HostSettings{} : policy.files().front().host;
  if (!outbound_interfaces_.empty()) {
    const auto wanted = [this](const std::string& name) {
      return std::ranges::find(outbound_interfaces_, name) != outbound_interfaces_.end();
    };
    const bool any = settings.uplinks.empty() ||
                     std::ranges::find(settings.uplinks, policy::kEveryInterface) != settings.uplinks.end();
    if (any)
      settings.uplinks = outbound_interfaces_;
    else if (std::erase_if(settings.uplinks, std::not_fn(wanted)); settings.uplinks.empty())
      settings.uplinks.emplace_back();  // which is no interface
  }
  view_.set_settings(settings);
  view_.refresh();
}

void BrokerJudge::set_outbound(std::vector<std::string> interfaces, std::vector<net::IpAddress> sources) {
  outbound_interfaces_ = std::move(interfaces);
  outbound_ = std::move(sources);
  settle(*policy_);
}

void BrokerJudge::watch_dates() {
  std::vector<std::shared_ptr<const policy::PolicySet>> policies{policy_};
  for (const OldPolicy& old : old_.all())
    if (old.draining) policies.push_back(old.policy);
  clock_.watch(policies, base::wall_now());
}

void BrokerJudge::on_clock(base::Instant /*now*/) {
  bool moved = clock_.wake(base::wall_now());
  // Set between reading the clock and arming the timer, it would wake nobody.
  moved |= clock_.wake(base::wall_now());
  if (moved) ++epoch_;
}

sandbox::PolicyLoad BrokerJudge::load_policy(base::Fd bundle, sandbox::control::LoadCause cause,
                                             base::Instant now) {
  return take_policy(read_bundle(bundle, next_generation(), layer_), cause, now);
}

sandbox::PolicyLoad BrokerJudge::take_policy(policy::Loaded loaded, sandbox::control::LoadCause cause,
                                             base::Instant now) {
  using sandbox::PolicyLoad;
  const std::string diagnostics = policy::render(loaded.diagnostics);
  ++status_.loads.at(static_cast<std::size_t>(cause));
  status_.found_nothing = false;
  status_.at = base::wall_now();
  status_.cause = cause;
  status_.diagnostics = std::move(loaded.diagnostics);
  if (!loaded.policy) return reject(diagnostics, cause, now);

  auto fresh = std::make_shared<const policy::PolicySet>(std::move(*loaded.policy));
  if (!quiet_) base::tell(diagnostics);
  const bool again = has_policy_;
  if (again && !status_.denying && fresh->hash() == policy_->hash() && same_places(*fresh, *policy_)) {
    if (!quiet_)
      base::tell("cordon: policy: unchanged, generation " + std::to_string(policy_->generation()) +
                 " stays\n");
    return status_.outcome = PolicyLoad::kUnchanged;
  }
  const auto files = fresh->files();
  if (again)
    old_.push(policy_, view_, epoch_, files.empty() ? base::Duration{} : files.front().reload.drain, now);
  policy_ = std::move(fresh);
  has_policy_ = true;
  status_.denying = false;
  status_.in_force_since = status_.at;
  status_.in_force_by = cause;
  ++epoch_;
  settle(*policy_);
  limits_.replace(*policy_, now);
  watch_dates();
  audit_.set_policy(policy_);
  note_policy_loaded(cause, now);
  if (again && !quiet_)
    base::tell("cordon: policy: loaded, generation " + std::to_string(policy_->generation()) +
               " is in force\n");
  return status_.outcome = PolicyLoad::kInForce;
}

void BrokerJudge::on_nothing_to_load() {
  ++status_.nothing;
  status_.found_nothing = true;
}

sandbox::PolicyLoad BrokerJudge::reject(const std::string& diagnostics, sandbox::control::LoadCause cause,
                                        base::Instant now) {
  const auto files = policy_->files();
  const bool deny = has_policy_ && !files.empty() && files.front().reload.deny_on_error;
  std::string outcome = "rejected";
  if (deny)
    outcome += "; on_reload_error: deny, so everything is denied until a good policy comes";
  else if (has_policy_)
    outcome += "; the policy in force stays, generation " + std::to_string(policy_->generation());
  base::tell(diagnostics + "cordon: policy: " + outcome + "\n");
  note_policy_rejected(cause, std::string{first_line(diagnostics)} + " (" + outcome + ")", now);
  if (deny && !std::exchange(status_.denying, true)) ++epoch_;
  ++status_.rejected;
  return status_.outcome = sandbox::PolicyLoad::kRejected;
}

const policy::PolicySet* BrokerJudge::policy_of(std::uint64_t token) const {
  const PolicyTag tag = tag_of(token);
  if (tag == tag_of_generation(policy_->generation())) return policy_.get();
  const OldPolicy* old = old_.find(tag);
  return old == nullptr ? nullptr : old->policy.get();
}

BrokerJudge::Opinion BrokerJudge::opinion_of(const policy::PolicySet& policy, const HostView& view,
                                             const sandbox::FlowView& flow, bool inbound,
                                             base::WallTime wall) {
  Opinion out;
  out.facts = inbound ? view.facts_of_peer(flow.tuple) : view.facts_of(flow.tuple);
  out.meant = inbound ? flow.tuple : view.meant(flow.tuple);
  if (!inbound) out.facts.source_assigned = true;  // judge() has looked
  out.facts.now = wall;
  out.decision = inbound ? policy::decide_ingress(policy, flow.tuple, out.facts)
                         : policy::decide(policy, out.meant, out.facts);
  return out;
}

sandbox::Verdict BrokerJudge::judge_again(const sandbox::FlowView& flow, bool inbound, base::Instant now) {
  const sandbox::Verdict verdict = inbound ? judge_inbound(flow.tuple, now) : judge(flow.tuple, now);
  if (verdict.allow || cannot_judge() || !is_by_rule(unpack(verdict.token).reason)) return verdict;
  const OldPolicy* old = old_.find(tag_of(flow.token));
  if (old == nullptr || !old->draining || old->drain_until <= now) return verdict;
  const Opinion before = opinion_of(*old->policy, old->view, flow, inbound, base::wall_now());
  if (!before.decision.allow) return verdict;
  sandbox::Verdict kept = decided(*old->policy, before.decision, before.facts, before.meant);
  if (before.facts.dns_forwarder) kept = dial_resolver(kept);
  return kept.allow ? kept : verdict;
}

void BrokerJudge::readmit(const sandbox::FlowView& flow, std::uint32_t account, sandbox::Verdict& verdict) {
  const bool drains = tag_of(verdict.token) != tag_of_generation(policy_->generation());
  take_standing(flow.tuple.protocol, drains ? limits_.stay(account) : limits_.move(account, verdict.scopes),
                verdict);
}

policy::Cause BrokerJudge::cause_of(const sandbox::FlowView& flow, const sandbox::Verdict& verdict,
                                    sandbox::Cut why) const {
  switch (why) {
    case sandbox::Cut::kLimit: return policy::Cause::kLimit;
    case sandbox::Cut::kOperator: return policy::Cause::kOperator;
    case sandbox::Cut::kBecameLocal: return policy::Cause::kHostChanged;
    case sandbox::Cut::kPathLost:
    case sandbox::Cut::kMoved: return policy::Cause::kPath;
    case sandbox::Cut::kTranslatorGone: return policy::Cause::kNone;
    case sandbox::Cut::kVerdict: break;
  }
  const policy::Decision decision = unpack(verdict.token);
  if (policy::is_limit(decision.reason)) return policy::Cause::kLimit;
  if (decision.reason == policy::Reason::kPolicyChanged) return policy::Cause::kPolicyChanged;
  if (decision.reason == policy::Reason::kExpired) return policy::Cause::kExpired;
  // What would the policy that the flow was admitted by say of it now, and before a date passed?
  const bool inbound = decision.direction == policy::Direction::kIngress;
  const bool present = tag_of(flow.token) == tag_of_generation(policy_->generation());
  const OldPolicy* old = present ? nullptr : old_.find(tag_of(flow.token));
  if (!present && old == nullptr) return policy::Cause::kPolicyChanged;
  const policy::PolicySet& policy = present ? *policy_ : *old->policy;
  const HostView& view = present ? view_ : old->view;
  if (!present && opinion_of(policy, view, flow, inbound, base::wall_now()).decision.allow)
    return policy::Cause::kPolicyChanged;
  return opinion_of(policy, view, flow, inbound, clock_.before()).decision.allow
             ? policy::Cause::kExpired
             : policy::Cause::kHostChanged;
}

}  // namespace cordon::app
