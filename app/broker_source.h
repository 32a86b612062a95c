// What control clients may see and do, over the real broker and its judge.
#pragma once

#include <numeric>

#include "app/broker_judge.h"
#include "app/control_source.h"
#include "app/options.h"
#include "sandbox/broker.h"
#include "sandbox/stages.h"

namespace cordon::app {

class BrokerSource final : public ControlSource {
 public:
  // All three must outlive it.
  BrokerSource(const RunOptions& options, sandbox::Broker& broker, BrokerJudge& judge)
      : options_(options), broker_(broker), judge_(judge), started_(base::monotonic_now()) {}

  // Once it is known.
  void set_isolation(sandbox::IsolationReport report) { isolation_ = std::move(report); }

  [[nodiscard]] Json status(base::Instant now) override;
  [[nodiscard]] FlowPage flows(std::uint64_t cursor, std::size_t most, base::Instant now) override;
  [[nodiscard]] KillStep kill(const FlowFilter& filter, std::uint64_t cursor, base::Instant now) override;
  void ask_reload() override { broker_.ask_launcher(sandbox::control::ReloadPolicy{}); }
  [[nodiscard]] const ReloadOutcome& last_reload() const override;
  [[nodiscard]] PolicyInForce policy() const override;
  void metrics(MetricsText& out, base::Instant now) override;  // broker_metrics.cc

 private:
  [[nodiscard]] bool built_in() const;
  [[nodiscard]] Json policy_status() const;
  [[nodiscard]] Json host_status() const;
  [[nodiscard]] Json isolation_status() const;
  [[nodiscard]] Json flow_json(const sandbox::FlowEntry& entry, base::Instant now) const;
  void add_rule(Json& flow, std::uint64_t token) const;
  [[nodiscard]] bool matches(const FlowFilter& filter, const sandbox::FlowEntry& entry) const;
  void flow_metrics(MetricsText& out) const;
  void policy_metrics(MetricsText& out) const;
  void process_metrics(MetricsText& out) const;

  const RunOptions& options_;
  sandbox::Broker& broker_;
  BrokerJudge& judge_;
  base::Instant started_;
  sandbox::IsolationReport isolation_;
  mutable ReloadOutcome reloaded_;  // made when the judge has news
};

// Of all causes together.
[[nodiscard]] inline std::uint64_t total(const PolicyStatus& status) {
  return std::accumulate(status.loads.begin(), status.loads.end(), std::uint64_t{0});
}

}  // namespace cordon::app
