// The broker's judgement: policy over the kernel's own view of the host, resolvers, and the audit log.
//
// Facts are looked up per destination (HostState for "is it ours", the FIB for the route) and handed to
// policy::decide(); its Decision travels in the verdict's token, so that a later audit record says which rule
// had admitted the flow. The guest's DNS address, port 53, dials one of the host's resolvers; a query that
// ended without an answer moves on to the next one.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/backstop.h"
#include "app/flow_limits.h"
#include "app/guest_sources.h"
#include "app/host_news.h"
#include "app/host_view.h"
#include "app/old_policies.h"
#include "app/options.h"
#include "app/policy_clock.h"
#include "netlink/monitor.h"
#include "policy/audit_log.h"
#include "policy/decide.h"
#include "policy/load.h"
#include "sandbox/judge.h"

namespace cordon::app {

// What became of the policy files so far.
struct PolicyStatus {
  std::array<std::uint64_t, 4> loads{};  // by control::LoadCause, whatever became of them
  std::uint64_t rejected = 0;
  std::uint64_t nothing = 0;   // reloads that were asked for when there was no file
  bool found_nothing = false;  // the last one was
  // The last one.
  sandbox::PolicyLoad outcome = sandbox::PolicyLoad::kInForce;
  std::vector<policy::Diagnostic> diagnostics;
  base::WallTime at;
  sandbox::control::LoadCause cause = sandbox::control::LoadCause::kStart;
  bool denying = false;  // `on_reload_error: deny`, and the last files were bad: everything is denied
  // The one in force.
  base::WallTime in_force_since = base::wall_now();
  sandbox::control::LoadCause in_force_by = sandbox::control::LoadCause::kStart;
};

class BrokerJudge final : public sandbox::Judge {
 public:
  // Without a policy everything is denied until load_policy().
  BrokerJudge(const GuestPlan& guest, std::shared_ptr<const policy::PolicySet> policy,
              netlink::Monitor monitor, int audit_fd, policy::SinkKind sink = policy::SinkKind::kLines);

  [[nodiscard]] int poll_fd() const override { return monitor_.poll_fd(); }
  [[nodiscard]] int clock_fd() const override { return clock_.poll_fd(); }
  sandbox::HostChange drain(base::Instant now) override;
  [[nodiscard]] std::uint32_t epoch() const override { return epoch_; }
  [[nodiscard]] sandbox::Verdict judge(const flow::Tuple& tuple, base::Instant now) override;
  [[nodiscard]] sandbox::Verdict judge_inbound(const flow::Tuple& seen, base::Instant now) override;
  // broker_judge_policy.cc
  [[nodiscard]] sandbox::Verdict judge_again(const sandbox::FlowView& flow, bool inbound,
                                             base::Instant now) override;
  void readmit(const sandbox::FlowView& flow, std::uint32_t account, sandbox::Verdict& verdict) override;
  sandbox::PolicyLoad load_policy(base::Fd bundle, sandbox::control::LoadCause cause,
                                  base::Instant now) override;
  sandbox::PolicyLoad take_policy(policy::Loaded loaded, sandbox::control::LoadCause cause,
                                  base::Instant now);
  // The generation that the next take_policy() wants its files compiled as.
  [[nodiscard]] std::uint64_t next_generation() const { return has_policy_ ? policy_->generation() + 1 : 1; }
  [[nodiscard]] bool has_policy() const override { return has_policy_; }
  void on_reviewed(std::uint32_t epoch) override { old_.on_reviewed(epoch); }
  void on_nothing_to_load() override;
  void on_clock(base::Instant now) override;
  [[nodiscard]] const policy::PolicySet& policy() const { return *policy_; }
  [[nodiscard]] const PolicyStatus& policy_status() const { return status_; }
  [[nodiscard]] const netlink::Monitor& monitor() const { return monitor_; }
  [[nodiscard]] const HostView& view() const { return view_; }
  [[nodiscard]] std::span<const sandbox::control::Resolver> resolvers() const { return resolvers_; }
  // Flows leave by these interfaces alone (none: by every uplink), from these addresses.
  void set_outbound(std::vector<std::string> interfaces, std::vector<net::IpAddress> sources);
  // The text of a built-in policy that binds the guest below every set of files (broker_policy.h).
  void set_layer(std::string text) { layer_ = std::move(text); }
  // Only bad files are told of: no warnings, no good news.
  void be_quiet() { quiet_ = true; }
  // The policy whose rules a token names; nullptr: it is forgotten.
  [[nodiscard]] const policy::PolicySet* policy_of(std::uint64_t token) const;
  // `sandbox.cause` of a flow that is cut.
  [[nodiscard]] policy::Cause cause_of(const sandbox::FlowView& flow, const sandbox::Verdict& verdict,
                                       sandbox::Cut why) const;

  [[nodiscard]] bool route_is_remote(const flow::Tuple& tuple, const sandbox::Verdict& verdict) override;
  // broker_path.cc
  [[nodiscard]] sandbox::Path path(const sandbox::PathQuery& flow,
                                   const sandbox::Verdict& now_judged) override;
  void set_resolvers(std::span<const sandbox::control::Resolver> resolvers) override;

  void admit(const flow::Tuple& tuple, sandbox::Verdict& verdict, base::Instant now) override;
  void release(std::uint32_t account) override { limits_.release(account); }
  void on_volume(std::uint32_t account, std::uint64_t total) override { limits_.on_volume(account, total); }
  [[nodiscard]] std::optional<sandbox::Verdict> over_budget(const sandbox::FlowView& flow,
                                                            std::uint32_t account) const override;

  void on_denied(const flow::Tuple& tuple, const sandbox::Verdict& verdict, base::Instant now) override;
  void on_limit(const flow::Tuple& tuple, sandbox::Limit limit, base::Instant now) override;
  void on_inbound_limit(const flow::Tuple& seen, sandbox::Limit limit, base::Instant now) override;
  void on_allowed(const sandbox::FlowView& flow, base::Instant now) override;
  void on_aborted(const sandbox::FlowView& flow, base::Instant now) override;
  void on_unreachable(const sandbox::FlowView& flow, int error, base::Instant now) override;
  void on_cut(const sandbox::FlowView& flow, const sandbox::Verdict& verdict, sandbox::Cut why, bool granted,
              bool exposed, base::Instant now) override;
  void on_ended(const sandbox::FlowView& flow, flow::EndReason reason, const flow::Volumes& volumes,
                base::Instant now) override;
  void on_packet(const flow::PacketReport& report, base::Instant now) override;
  void on_counters(const sandbox::CounterValues& values, base::Instant now) override;
  void on_tick(base::Instant now) override;
  [[nodiscard]] base::Instant tick_due() const override;
  // The translators' totals, indexed by plane::Counter.
  [[nodiscard]] const sandbox::CounterValues& counters() const { return counters_; }
  void set_audit_sink(base::Fd fd) override;
  // Called when the log's receiver is gone and only the launcher can open another.
  void on_sink_broken(std::function<void()> ask) { ask_for_sink_ = std::move(ask); }
  // The log's: exact counts, by reason and by rule.
  [[nodiscard]] const policy::AuditLog::Counters& audit_counters() const { return audit_.counters(); }
  // After the log was told the new policy: the record that says what is in force. Also the first of a start.
  void note_policy_loaded(sandbox::control::LoadCause cause, base::Instant now);
  // `why`: the first error. The policy before stays, or everything is denied: the caller says which in it.
  void note_policy_rejected(sandbox::control::LoadCause cause, std::string_view why, base::Instant now);
  // A packet filter behind us: once after lockdown, then every minute by on_tick(), and
  // whenever a policy comes into force.
  void look_for_backstop(base::Instant now) { backstop_.look(now); }
  [[nodiscard]] Backstop backstop() const { return backstop_.state(); }
  // At the end: every summary that is still held back.
  void finish(base::Instant now);

 private:
  // The part of a decision that is a policy's own; the route to a resolver comes later.
  [[nodiscard]] sandbox::Verdict decided(const policy::PolicySet& policy, const policy::Decision& decision,
                                         const policy::HostFacts& facts, const flow::Tuple& tuple) const;
  struct Opinion {
    policy::HostFacts facts;
    flow::Tuple meant;  // HostView::meant()
    policy::Decision decision;
  };
  // What a policy, this one or an earlier one, says of a live flow on the host of now.
  [[nodiscard]] static Opinion opinion_of(const policy::PolicySet& policy, const HostView& view,
                                          const sandbox::FlowView& flow, bool inbound, base::WallTime wall);
  [[nodiscard]] bool cannot_judge() const { return monitor_.stale() || !has_policy_ || status_.denying; }
  [[nodiscard]] sandbox::Verdict refusal_of_all(policy::Direction direction) const;
  void settle(const policy::PolicySet& policy);
  void watch_dates();
  sandbox::PolicyLoad reject(const std::string& diagnostics, sandbox::control::LoadCause cause,
                             base::Instant now);

  // What a flow's limits mean for it: admitted, or admitted again under another policy.
  static void take_standing(flow::Protocol protocol, const FlowLimits::Admission& standing,
                            sandbox::Verdict& verdict);
  [[nodiscard]] sandbox::Verdict over_limit(std::uint64_t token, const FlowLimits::Refusal& refusal) const;
  [[nodiscard]] sandbox::Verdict dial_resolver(sandbox::Verdict verdict);
  void next_resolver(const sandbox::FlowView& flow);
  [[nodiscard]] policy::AuditEvent event_for(policy::AuditAction action, const flow::Tuple& tuple,
                                             const policy::Decision& decision);
  [[nodiscard]] policy::AuditEvent event_for(policy::AuditAction action, const flow::Tuple& tuple,
                                             policy::Decision decision, std::uint64_t token);
  void record(const policy::AuditEvent& event, base::Instant now);
  void record_unreported_packets(base::Instant now);
  void record_news(const HostNews::News& news, base::Instant now);
  void record_end(const sandbox::FlowView& flow, base::Instant now);
  void record_backstop(base::Instant now);

  GuestSources sources_;
  bool has_policy_;
  std::shared_ptr<const policy::PolicySet> policy_;
  netlink::Monitor monitor_;
  LiveHost live_;
  HostView view_;
  std::vector<net::IpAddress> fixed_resolvers_;  // instead of the host's
  std::vector<net::IpAddress> outbound_;         // one of a family
  std::vector<std::string> outbound_interfaces_;
  std::string layer_;
  policy::AuditLog audit_;
  FlowLimits limits_;
  OldPolicies old_;
  PolicyClock clock_;
  PolicyStatus status_;
  std::vector<sandbox::control::Resolver> resolvers_;
  std::size_t resolver_ = 0;
  sandbox::CounterValues counters_{};
  HostNews news_;
  std::uint64_t overruns_told_ = 0;
  std::array<std::uint64_t, flow::kPacketDenials> packets_recorded_{};  // by PacketDenial
  BackstopWatch backstop_;
  base::Instant expiry_due_ = base::Instant::never();
  std::uint32_t epoch_ = 1;
  bool quiet_ = false;
  bool ping_hint_given_ = false;
  bool loss_told_ = false;
  std::uint64_t losses_told_ = 0;
  std::function<void()> ask_for_sink_;
  base::Instant sink_due_;  // not before then is another sink asked for
};

}  // namespace cordon::app
