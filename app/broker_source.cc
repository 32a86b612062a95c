#include "app/broker_source.h"

#include <algorithm>

#include "app/broker_token.h"
#include "app/control_methods.h"
#include "policy/diagnostic.h"
#include "policy/times.h"

namespace cordon::app {
namespace {

using State = sandbox::BrokerFlow::State;

std::string_view name_of(flow::Protocol protocol) {
  switch (protocol) {
    case flow::Protocol::kTcp: return "tcp";
    case flow::Protocol::kUdp: return "udp";
    case flow::Protocol::kIcmpEcho: break;
  }
  return "icmp";
}

std::string_view name_of(State state) {
  switch (state) {
    case State::kConnecting:
    case State::kFinished: return "connecting";
    case State::kGranted: return "live";
    case State::kAwaitingClose: return "ending";
    case State::kFree: break;
  }
  return "free";
}

std::string_view name_of(AuditTarget target) {
  switch (target) {
    case AuditTarget::kNone: return "none";
    case AuditTarget::kStderr: return "stderr";
    case AuditTarget::kFile: return "file";
    case AuditTarget::kJournald: return "journald";
    case AuditTarget::kSyslog: break;
  }
  return "syslog";
}

std::string_view name_of(sandbox::control::LoadCause cause) {
  switch (cause) {
    case sandbox::control::LoadCause::kStart: return "start";
    case sandbox::control::LoadCause::kSignal: return "signal";
    case sandbox::control::LoadCause::kWatch: return "watch";
    case sandbox::control::LoadCause::kControl: break;
  }
  return "control";
}

std::uint64_t milliseconds(base::Duration duration) {
  return static_cast<std::uint64_t>(
      std::max<std::int64_t>(0, std::chrono::floor<std::chrono::milliseconds>(duration).count()));
}

Json endpoint(const net::Endpoint& end, flow::Protocol protocol) {
  return protocol == flow::Protocol::kIcmpEcho ? net::to_string(end.address) : net::to_string(end);
}

Json diagnostics_json(std::span<const policy::Diagnostic> diagnostics) {
  Json::Array all;
  for (const auto& d : diagnostics)
    all.emplace_back(Json::Object{{"code", "P" + std::to_string(static_cast<unsigned>(d.code))},
                                  {"severity", policy::is_warning(d.code) ? "warning" : "error"},
                                  {"path", d.path},
                                  {"line", d.at.line},
                                  {"column", d.at.column},
                                  {"length", d.at.length},
                                  {"message", d.message},
                                  {"excerpt", d.excerpt}});
  return all;
}

std::string time_text(base::WallTime time) {
  return policy::to_string(std::chrono::floor<std::chrono::seconds>(time));
}

std::string place_and_message(const policy::Diagnostic& d) {
  return d.path + ':' + std::to_string(d.at.line) + ':' + std::to_string(d.at.column) + ": " + d.message;
}

// The file and the rule that a token names, under the policy it is of.
const policy::Ruleset* ruleset_of(const policy::PolicySet* policy, const policy::Decision& decision) {
  if (policy == nullptr || decision.layer < 0) return nullptr;
  const auto files = policy->files();
  return static_cast<std::size_t>(decision.layer) < files.size()
             ? &files[static_cast<std::size_t>(decision.layer)]
             : nullptr;
}

const policy::Rule* rule_of(const policy::Ruleset* file, const policy::Decision& decision) {
  if (file == nullptr || decision.rule < 0) return nullptr;
  const auto& rules = file->rules(decision.direction);
  return static_cast<std::size_t>(decision.rule) < rules.size()
             ? &rules[static_cast<std::size_t>(decision.rule)]
             : nullptr;
}

}  // namespace

Json BrokerSource::policy_status() const {
  const policy::PolicySet& policy = judge_.policy();
  const PolicyStatus& loads = judge_.policy_status();
  Json::Array files;
  for (const auto& file : policy.files())
    files.emplace_back(Json::Object{
        {"path", file.path},
        {"name", file.name},
        {"mode", file.mode == policy::Mode::kEnforce ? "enforce" : "audit"},
        {"egress", file.egress.size()},
        {"ingress", file.ingress.size()},
        {"expires", file.expires == policy::WallTime::max() ? Json{} : Json{time_text(file.expires)}}});
  Json error;
  if (loads.outcome == sandbox::PolicyLoad::kRejected) {
    const bool any = !loads.diagnostics.empty();
    error = Json::Object{{"at", time_text(loads.at)},
                         {"cause", name_of(loads.cause)},
                         {"message", any ? place_and_message(loads.diagnostics.front()) : std::string{}},
                         {"diagnostics", diagnostics_json(loads.diagnostics)}};
  }
  return Json::Object{{"generation", policy.generation()},
                      {"hash", policy.hash()},
                      {"built_in", built_in()},
                      {"denying_all", loads.denying},
                      {"loaded_at", time_text(loads.in_force_since)},
                      {"cause", name_of(loads.in_force_by)},
                      {"files", std::move(files)},
                      {"last_error", std::move(error)},
                      {"loads", total(loads)},
                      {"load_errors", loads.rejected}};
}

Json BrokerSource::host_status() const {
  const netlink::Monitor& monitor = judge_.monitor();
  const netlink::HostState& state = monitor.state();
  Json::Array uplinks;
  for (const std::uint32_t index : judge_.view().uplinks())
    if (const netlink::Link* link = state.link(index)) uplinks.emplace_back(link->name);
  Json::Array resolvers;
  for (const auto& resolver : judge_.resolvers()) resolvers.emplace_back(net::to_string(resolver.address));
  return Json::Object{{"stale", monitor.stale()},
                      {"uplinks", std::move(uplinks)},
                      {"addresses", state.host_prefixes().size()},
                      {"resolvers", std::move(resolvers)},
                      {"resyncs", monitor.overruns()}};
}

Json BrokerSource::isolation_status() const {
  Json::Array layers;
  for (const auto& layer : isolation_.layers) {
    const std::string_view state = layer.state == sandbox::IsolationReport::State::kActive ? "active"
                                   : layer.state == sandbox::IsolationReport::State::kUnavailable
                                       ? "unavailable"
                                       : "failed";
    layers.emplace_back(Json::Object{{"name", layer.name}, {"state", state}, {"detail", layer.detail}});
  }
  bool full = isolation_.full();
  Json::Array others;
  for (const auto& other : broker_.isolation_of_others()) {
    if (other.summary.empty()) continue;
    full = full && other.full;
    others.emplace_back(other.summary);
  }
  return Json::Object{{"full", full},
                      {"summary", isolation_.summary()},
                      {"others", std::move(others)},
                      {"backstop", to_string(judge_.backstop())},
                      {"layers", std::move(layers)}};
}

Json BrokerSource::status(base::Instant now) {
  const auto files = judge_.policy().files();
  const std::string tenant = files.empty() ? "" : files.front().tenant;
  const auto& audit = judge_.audit_counters();
  return Json::Object{
      {"cordon", CORDON_VERSION},
      {"protocol", kControlProtocol},
      {"guest", options_.guest.name},
      {"tenant", tenant.empty() ? Json{} : Json{tenant}},
      {"uptime_ms", milliseconds(now - started_)},
      {"policy", policy_status()},
      {"flows", Json::Object{{"live", broker_.flows()},
                             {"pending", broker_.pending()},
                             {"limit", broker_.flow_limit()},
                             {"offers", broker_.offers()}}},
      {"host", host_status()},
      {"audit", Json::Object{{"sink", name_of(options_.audit.target)},
                             {"records", audit.records_written},
                             {"events_lost", audit.events_lost}}},
      {"isolation", isolation_status()},
      {"vm", options_.vm ? Json{Json::Object{{"connected", broker_.has_translator()}}} : Json{}}};
}

void BrokerSource::add_rule(Json& flow, std::uint64_t token) const {
  const policy::Decision decision = unpack(token);
  const policy::Ruleset* const file = ruleset_of(judge_.policy_of(token), decision);
  const policy::Rule* const rule = rule_of(file, decision);
  flow.add("ruleset", file != nullptr ? Json{file->name} : Json{});
  flow.add("rule", rule != nullptr ? Json{rule->name} : Json{});
  flow.add("rule_at", rule != nullptr ? Json{file->path + ':' + std::to_string(rule->at.line)} : Json{});
  flow.add("class", to_string(decision.dst_class));
}

Json BrokerSource::flow_json(const sandbox::FlowEntry& entry, base::Instant now) const {
  const flow::Tuple& tuple = entry.flow.tuple;
  const netlink::Link* const link = judge_.monitor().state().link(entry.interface);
  Json flow = Json::Object{
      {"id", to_text(entry.id)},
      {"protocol", name_of(tuple.protocol)},
      {"direction", entry.inbound ? "in" : "out"},
      {"guest", endpoint(tuple.guest, tuple.protocol)},
      {"remote", endpoint(tuple.remote, tuple.protocol)},
      {"dialed", entry.flow.dialed == tuple.remote ? Json{} : endpoint(entry.flow.dialed, tuple.protocol)},
      {"state", name_of(entry.state)},
      {"age_ms", milliseconds(now - entry.flow.started)},
      {"interface", link != nullptr ? Json{link->name} : Json{}}};
  add_rule(flow, entry.flow.token);
  return flow;
}

ControlSource::FlowPage BrokerSource::flows(std::uint64_t cursor, std::size_t most, base::Instant now) {
  FlowPage page;
  std::vector<flow::Id> ids;
  const auto next = broker_.list_flows(static_cast<std::uint32_t>(cursor), static_cast<std::uint32_t>(most),
                                       [&](const sandbox::FlowEntry& entry) {
                                         ids.push_back(entry.id);
                                         page.flows.push_back(flow_json(entry, now));
                                       });
  const auto volumes = broker_.volumes_of(ids);
  for (std::size_t i = 0; i < volumes.size(); ++i)
    page.flows[i].add("bytes", volumes[i] ? Json{*volumes[i]} : Json{});
  if (next) page.next = *next;
  return page;
}

bool BrokerSource::matches(const FlowFilter& filter, const sandbox::FlowEntry& entry) const {
  const flow::Tuple& tuple = entry.flow.tuple;
  if (filter.id && *filter.id != entry.id) return false;
  if (filter.protocol && *filter.protocol != tuple.protocol) return false;
  if (filter.port && (tuple.protocol == flow::Protocol::kIcmpEcho || *filter.port != tuple.remote.port))
    return false;
  if (filter.remote && !filter.remote->contains(tuple.remote.address) &&
      !filter.remote->contains(entry.flow.dialed.address))
    return false;
  if (!filter.rule) return true;
  const policy::Decision decision = unpack(entry.flow.token);
  const policy::Ruleset* const file = ruleset_of(judge_.policy_of(entry.flow.token), decision);
  const policy::Rule* const rule = rule_of(file, decision);
  return rule != nullptr && (*filter.rule == rule->name || *filter.rule == file->name + '/' + rule->name);
}

// Chooses among all flows at once, which is quick; the broker cuts them some a turn.
ControlSource::KillStep BrokerSource::kill(const FlowFilter& filter, std::uint64_t /*cursor*/,
                                           base::Instant /*now*/) {
  return {.killed = broker_.kill([&](const sandbox::FlowEntry& entry) { return matches(filter, entry); }),
          .next = std::nullopt};
}

bool BrokerSource::built_in() const {
  const auto files = judge_.policy().files();
  return !files.empty() && files.front().path == "built-in";
}

const ReloadOutcome& BrokerSource::last_reload() const {
  const PolicyStatus& status = judge_.policy_status();
  const auto count =
      status.loads.at(static_cast<std::size_t>(sandbox::control::LoadCause::kControl)) + status.nothing;
  if (count == reloaded_.count) return reloaded_;
  reloaded_ = {.count = count,
               .nothing = status.found_nothing,
               .in_force = status.outcome != sandbox::PolicyLoad::kRejected,
               .changed = status.outcome == sandbox::PolicyLoad::kInForce,
               .diagnostics = diagnostics_json(status.diagnostics)};
  return reloaded_;
}

ControlSource::PolicyInForce BrokerSource::policy() const {
  return {.generation = judge_.policy().generation(), .hash = judge_.policy().hash()};
}

}  // namespace cordon::app
