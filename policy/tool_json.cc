// What `cordon policy explain` and `show` print with --json.
#include <nlohmann/json.hpp>

#include "policy/explain.h"
#include "policy/match.h"
#include "policy/print.h"
#include "policy/show.h"
#include "policy/times.h"

namespace cordon::policy {
namespace {

using Json = nlohmann::ordered_json;

// Paths are bytes: what is no UTF-8 becomes U+FFFD.
std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', true, Json::error_handler_t::replace);
}

Json text_or_null(const std::string& text) { return text.empty() ? Json{} : Json(text); }

std::string_view refusal(flow::RefuseHow how) {
  switch (how) {
    case flow::RefuseHow::kDrop: return "drop";
    case flow::RefuseHow::kNetworkUnreachable: return "network-unreachable";
    case flow::RefuseHow::kHostUnreachable: return "host-unreachable";
    case flow::RefuseHow::kConnectionRefused: return "connection-refused";
    case flow::RefuseHow::kReject: break;
  }
  return "reject";
}

Json end_or_null(WallTime end) { return end == WallTime::max() ? Json{} : Json(to_string(end)); }

Json json_of(const Limits& limits) {
  if (limits.empty()) return {};
  Json out = Json::object();
  if (limits.connections != 0) out["connections"] = limits.connections;
  if (limits.fresh.count != 0)
    out["new"] = {{"flows", limits.fresh.count}, {"seconds", limits.fresh.seconds}};
  if (limits.rate != 0) out["bytes_per_second"] = limits.rate;
  if (limits.bytes != 0) out["bytes"] = limits.bytes;
  return out;
}

Json json_of(const Rule& rule, const Ruleset& file, WallTime now) {
  Json ports = Json::array();
  for (const PortRange& range : rule.ports) ports.push_back(to_string(range));
  return {{"name", rule.name},
          {"action", rule.action == Action::kAllow ? "allow" : "deny"},
          {"places", to_strings(rule.to)},
          {"except", to_strings(rule.except)},
          {"ports", std::move(ports)},
          {"limits", json_of(rule.limits)},
          {"until", end_or_null(rule.until)},
          {"over", has_ended(rule.until, now)},
          {"log", to_string(rule.log)},
          {"at", file.path + ":" + std::to_string(rule.at.line)}};
}

Json json_of(const Ruleset& file, WallTime now) {
  const auto rules = [&](const std::vector<Rule>& list) {
    Json out = Json::array();
    for (const Rule& rule : list) out.push_back(json_of(rule, file, now));
    return out;
  };
  return {{"name", file.name},
          {"path", file.path},
          {"description", text_or_null(file.description)},
          {"mode", file.mode == Mode::kAudit ? "audit" : "enforce"},
          {"refuse", file.drop ? "drop" : "reject"},
          {"expires", end_or_null(file.expires)},
          {"over", has_ended(file.expires, now)},
          {"limits", json_of(file.limits)},
          {"tests", file.tests.size()},
          {"egress", rules(file.egress)},
          {"ingress", rules(file.ingress)}};
}

// What holds for all files together.
Json effective(const PolicySet& policy) {
  static const Ruleset kNobody;
  const Ruleset& site = policy.files().empty() ? kNobody : policy.files().front();
  const GuestLimits limits = guest_limits(policy);
  constexpr std::array kKeys{"connections", "new", "bytes_per_second", "bytes"};
  Json limits_at = Json::object();
  for (std::size_t i = 0; i < kKeys.size(); ++i)
    if (!limits.at[i].empty()) limits_at[kKeys[i]] = limits.at[i];
  const auto drain = std::chrono::duration_cast<std::chrono::seconds>(site.reload.drain).count();
  return {{"refuse", policy.drops() ? "drop" : "reject"},
          {"uplinks", site.host.uplinks.empty() ? Json{} : Json(site.host.uplinks)},
          {"aliases", to_strings({.prefixes = site.host.aliases})},
          {"tenant", text_or_null(site.tenant)},
          {"limits", json_of(limits.lowest)},
          {"limits_at", std::move(limits_at)},
          {"reload", {{"drain_seconds", drain}, {"on_error", site.reload.deny_on_error ? "deny" : "keep"}}},
          {"require_tenant_policy", site.require_tenant_policy}};
}

}  // namespace

std::string show_json(const PolicySet& policy, WallTime now, int indent) {
  Json files = Json::array();
  for (const Ruleset& file : policy.files()) files.push_back(json_of(file, now));
  return dump(Json{{"hash", policy.hash()},
                   {"generation", policy.generation()},
                   {"effective", effective(policy)},
                   {"files", std::move(files)}},
              indent);
}

std::string to_json(const Explanation& explanation, int indent) {
  const Decision& d = explanation.decision;
  Json steps = Json::array();
  for (const ExplainStep& step : explanation.steps)
    steps.push_back({{"stage", step.stage},
                     {"outcome", to_string(step.outcome)},
                     {"subject", text_or_null(step.subject)},
                     {"at", text_or_null(step.at)},
                     {"text", step.text}});
  Json would_deny = Json::array();
  for (std::size_t i = 0; i < PolicySet::kMaxFiles; ++i)
    if ((d.would_deny & (1U << i)) != 0) would_deny.push_back(i);
  return dump(Json{{"verdict", d.allow ? "allow" : "deny"},
                   {"reason", d.allow ? Json{} : Json(to_string(d.reason))},
                   {"direction", d.direction == Direction::kEgress ? "egress" : "ingress"},
                   {"dst_class", to_string(d.dst_class)},
                   {"layer", d.layer == Decision::kFloor ? Json("floor") : Json(d.layer)},
                   {"rule", d.rule == Decision::kNoRule ? Json{} : Json(d.rule)},
                   {"decided_by", text_or_null(explanation.decided_by)},
                   {"refuse", d.allow ? Json{} : Json(refusal(d.how))},
                   {"would_deny", std::move(would_deny)},
                   {"steps", std::move(steps)}},
              indent);
}

}  // namespace cordon::policy
