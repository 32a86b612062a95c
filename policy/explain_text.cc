#include <algorithm>

#include "policy/diagnostic.h"
#include "policy/explain.h"

namespace cordon::policy {
namespace {

std::string padded(std::string_view text, std::size_t width) {
  std::string out{text};
  out.resize(std::max(width, out.size()), ' ');
  return out;
}

std::string_view what_the_guest_sees(flow::RefuseHow how) {
  switch (how) {
    case flow::RefuseHow::kDrop: return "nothing";
    case flow::RefuseHow::kNetworkUnreachable: return "network unreachable";
    case flow::RefuseHow::kHostUnreachable: return "host unreachable";
    case flow::RefuseHow::kConnectionRefused: return "connection refused";
    case flow::RefuseHow::kReject: break;
  }
  return "a rejection";
}

}  // namespace

std::string render(const Explanation& explanation) {
  std::string out;
  for (const ExplainStep& step : explanation.steps) {
    out += padded(to_string(step.outcome), 11) + padded(step.stage, 12);
    if (!step.subject.empty()) out += step.subject + " ";
    if (!step.at.empty()) out += "(" + printable(step.at) + ") ";
    out += step.text + "\n";
  }
  const Decision& d = explanation.decision;
  const std::string by =
      explanation.decided_by.empty() ? "no file has a say" : printable(explanation.decided_by);
  if (d.allow) return out + "verdict    allow, " + by + "\n";
  return out + "verdict    deny, " + std::string{to_string(d.reason)} + ", " + by + "; the guest sees " +
         std::string{what_the_guest_sees(d.how)} + "\n";
}

}  // namespace cordon::policy
