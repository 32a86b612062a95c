// What `cordon policy explain` and `show` print with --json.
#include <nlohmann/json.hpp>

#include "policy/explain.h"

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

}  // namespace

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
