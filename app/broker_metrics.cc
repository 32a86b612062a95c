// BrokerSource: its metrics. Values of labels are words of ours and names from policy files, never a guest's.
#include "app/broker_source.h"
#include "core/plane/counters.h"

namespace cordon::app {
namespace {

using Type = MetricsText::Type;

}  // namespace

void BrokerSource::flow_metrics(MetricsText& out) const {
  const auto& audit = judge_.audit_counters();
  out.family("cordon_flows_total", Type::kCounter,
             "Decisions about flows by verdict, direction, layer, file, rule and reason.");
  for (const auto& [label, count] : audit.flows.totals())
    out.sample({{"verdict", to_string(label.verdict)},
                {"direction", label.direction == policy::Direction::kEgress ? "out" : "in"},
                {"layer", label.layer},
                {"ruleset", label.ruleset},
                {"rule", label.rule},
                {"reason", label.reason == policy::Reason::kNone ? "none" : to_string(label.reason)}},
               count);
  out.family("cordon_packets_denied_total", Type::kCounter,
             "Packets that were denied and belong to no flow, by reason.");
  for (std::size_t i = 0; i < policy::kReasonCount; ++i)
    if (audit.packets_by_reason.at(i) != 0)
      out.sample({{"reason", to_string(static_cast<policy::Reason>(i))}}, audit.packets_by_reason.at(i));
  out.single("cordon_flows_active", Type::kGauge, "Live flows, pending ones included.", broker_.flows());
  out.single("cordon_flows_pending", Type::kGauge, "Flows whose connection does not stand yet.",
             broker_.pending());
  out.single("cordon_flows_limit", Type::kGauge, "The most flows at a time.", broker_.flow_limit());
  out.single("cordon_audit_records_total", Type::kCounter, "Audit records written.", audit.records_written);
  out.single("cordon_audit_events_lost_total", Type::kCounter,
             "Events of audit records that could not be written.", audit.events_lost);
}

void BrokerSource::policy_metrics(MetricsText& out) const {
  const policy::PolicySet& policy = judge_.policy();
  const PolicyStatus& loads = judge_.policy_status();
  out.single("cordon_policy_generation", Type::kGauge, "Generation of the policy in force.",
             policy.generation());
  out.family("cordon_policy_enforcing", Type::kGauge,
             "1: the file's denials are final; 0: they are only recorded (mode: audit).");
  std::size_t position = 0;
  for (const auto& file : policy.files()) {
    const std::string number = std::to_string(++position);
    out.sample({{"layer", policy::layer_name(static_cast<std::int16_t>(position - 1))},
                {"file", number},
                {"ruleset", file.name}},
               file.mode == policy::Mode::kEnforce ? 1 : 0);
  }
  out.single("cordon_policy_denying_all", Type::kGauge,
             "1: the last files were bad, and the policy before says that everything is denied then.",
             loads.denying ? 1 : 0);
  out.single("cordon_policy_loads_total", Type::kCounter, "Policies that were loaded, good or bad.",
             total(loads));
  out.single("cordon_policy_load_errors_total", Type::kCounter, "Policies that were rejected.",
             loads.rejected);
  const netlink::Monitor& monitor = judge_.monitor();
  out.single("cordon_host_state_resyncs_total", Type::kCounter,
             "How often the host's state had to be read anew because announcements were lost.",
             monitor.overruns());
  out.single("cordon_host_state_stale", Type::kGauge,
             "1: the host's state is not known, and everything is refused.", monitor.stale() ? 1 : 0);
}

void BrokerSource::process_metrics(MetricsText& out) const {
  const auto& counters = broker_.counters();
  const auto inbound = broker_.inbound_counters();
  out.family("cordon_broker_events_total", Type::kCounter, "What the broker did with the guest's requests.");
  const std::pair<std::string_view, std::uint64_t> events[] = {
      {"requests", counters.requests},
      {"granted", counters.granted},
      {"denied", counters.denied},
      {"denied_late", counters.denied_late},
      {"unreachable", counters.unreachable},
      {"limited", counters.limited},
      {"cut", counters.cut},
      {"closed", counters.closed},
      {"aborted", counters.aborted},
      {"unknown_close", counters.unknown_close},
      {"violations", counters.violations},
  };
  for (const auto& [name, value] : events) out.sample({{"event", name}}, value);
  if (!options_.forwards.empty()) {
    const std::pair<std::string_view, std::uint64_t> arrivals[] = {
        {"offered", inbound.offered},
        {"claimed", inbound.claimed},
        {"declined", inbound.declined},
        {"denied", inbound.denied},
        {"limited", inbound.limited},
        {"late_datagrams", inbound.late_datagrams},
        {"dropped_datagrams", inbound.dropped_datagrams},
        {"pauses", inbound.pauses},
        {"timed_out", inbound.timed_out},
    };
    out.family("cordon_inbound_events_total", Type::kCounter, "What became of arrivals at published ports.");
    for (const auto& [name, value] : arrivals) out.sample({{"event", name}}, value);
  }
  out.family("cordon_translator_events_total", Type::kCounter,
             "What the translator did; begins again at 0 when it is restarted.");
  for (std::size_t i = 0; i < plane::kCounters; ++i)
    out.sample({{"event", plane::name(static_cast<plane::Counter>(i))}}, judge_.counters().at(i));
}

void BrokerSource::metrics(MetricsText& out, base::Instant now) {
  out.family("cordon_build_info", Type::kGauge, "Always 1; which cordon this is.");
  out.sample({{"version", CORDON_VERSION}, {"guest", options_.guest.name}}, 1);
  out.single("cordon_uptime_seconds", Type::kGauge, "Time since the start.",
             std::chrono::duration<double>(now - started_).count());
  flow_metrics(out);
  policy_metrics(out);
  process_metrics(out);
}

}  // namespace cordon::app
