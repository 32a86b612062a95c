#include "policy/audit_record.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "policy/json_line.h"

namespace cordon::policy {
namespace {

std::string rfc3339(WallTime time) {
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{days};
  const std::chrono::hh_mm_ss clock{time - days};
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()),
                static_cast<int>(clock.subseconds().count()));
  return text.data();
}

// ECS writes hardware addresses in upper case with hyphens (RFC 7042).
std::string ecs_mac(net::MacAddress mac) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const auto octet : mac.bytes()) {
    if (!out.empty()) out += '-';
    out += kDigits[octet >> 4U];
    out += kDigits[octet & 0xfU];
  }
  return out;
}

std::string_view to_string(flow::EndReason end) {
  switch (end) {
    case flow::EndReason::kFin: return "fin";
    case flow::EndReason::kReset: return "rst";
    case flow::EndReason::kTimeout: return "timeout";
    case flow::EndReason::kRevoked: return "revoked";
    case flow::EndReason::kLimit: return "limit";
    case flow::EndReason::kError: return "error";
  }
  return "error";
}

std::string_view transport(const flow::Tuple& tuple) {
  switch (tuple.protocol) {
    case flow::Protocol::kTcp: return "tcp";
    case flow::Protocol::kUdp: return "udp";
    case flow::Protocol::kIcmpEcho: return tuple.remote.address.is_v6() ? "ipv6-icmp" : "icmp";
  }
  return "unknown";
}

bool is_about_a_flow(AuditAction action) {
  switch (action) {
    case AuditAction::kFlowDenied:
    case AuditAction::kFlowAllowed:
    case AuditAction::kFlowEnded:
    case AuditAction::kFlowRevoked:
    case AuditAction::kPacketDenied:
    case AuditAction::kHostExposure: return true;
    case AuditAction::kPolicyLoaded:
    case AuditAction::kPolicyRejected:
    case AuditAction::kHostStateChanged:
    case AuditAction::kEngineFailed:
    case AuditAction::kGuestConnected:
    case AuditAction::kGuestDisconnected:
    case AuditAction::kAuditDropped: break;
  }
  return false;
}

std::string_view verdict(const AuditEvent& event) {
  return is_about_a_flow(event.action) ? to_string(verdict_of(event)) : std::string_view{};
}

std::string_view layer(const AuditEvent& event) {
  return is_about_a_flow(event.action) ? layer_name(event.decision.layer) : std::string_view{};
}

void put_category(JsonLine& line, const AuditEvent& event) {
  using List = std::vector<std::string_view>;
  line.text("event.kind", "event");
  if (event.action == AuditAction::kGuestConnected || event.action == AuditAction::kGuestDisconnected) {
    line.list("event.category", List{"network"});
    line.list("event.type",
              List{"connection", event.action == AuditAction::kGuestConnected ? "start" : "end"});
    return;
  }
  if (!is_about_a_flow(event.action)) {
    line.list("event.category",
              List{event.action == AuditAction::kHostStateChanged ? "network" : "configuration"});
    line.list("event.type", List{event.action == AuditAction::kEngineFailed ? "error" : "change"});
    return;
  }
  line.list("event.category", List{"network"});
  List types{"connection"};
  if (event.action == AuditAction::kFlowEnded || event.action == AuditAction::kFlowRevoked)
    types.push_back("end");
  types.push_back(event.decision.allow ? "allowed" : "denied");
  line.list("event.type", types);
}

void put_policy(JsonLine& line, const AuditRecord& record) {
  line.text_or_null("rule.ruleset", record.ruleset);
  line.text("rule.name", record.rule);
  line.text_or_null("sandbox.layer", layer(record.event));
  line.text_or_null("sandbox.rule_at", record.rule_at);
  line.text_or_null("sandbox.policy.hash", record.policy_hash);
  line.number("sandbox.policy.generation", record.policy_generation);
  line.text("sandbox.guest", record.guest);
  line.text_or_null("sandbox.tenant", record.tenant);
  line.text_or_null("sandbox.verdict", verdict(record.event));
  line.list("sandbox.would_deny",
            std::vector<std::string_view>(record.would_deny.begin(), record.would_deny.end()));
}

void put_ends(JsonLine& line, const AuditRecord& record) {
  const AuditEvent& event = record.event;
  const flow::Tuple& tuple = *event.tuple;
  const bool portless = tuple.protocol == flow::Protocol::kIcmpEcho || event.ip_protocol;
  const auto port = [&](std::string_view key, net::Port number) {
    portless || record.wide ? line.null(key) : line.number(key, number.number());
  };
  const auto address = [&](std::string_view key, const net::IpAddress& value) {
    record.wide ? line.null(key) : line.text(key, net::to_string(value));
  };
  const bool inbound = event.decision.direction == Direction::kIngress;
  const net::Endpoint& source = inbound ? tuple.remote : tuple.guest;
  const net::Endpoint& destination = inbound ? tuple.guest : tuple.remote;
  address("source.ip", source.address);
  line.text_or_null("source.mac", event.source_mac ? ecs_mac(*event.source_mac) : "");
  port("source.port", source.port);
  address("destination.ip", destination.address);
  port("destination.port", destination.port);
  line.null("destination.domain");
  line.list("sandbox.names", std::vector<std::string_view>{});
  line.text_or_null("sandbox.dialed", event.dialed && !record.wide ? net::to_string(*event.dialed) : "");
  line.null("tls.client.server_name");
}

void put_flow(JsonLine& line, const AuditRecord& record) {
  const AuditEvent& event = record.event;
  if (!event.tuple) return;
  const flow::Tuple& tuple = *event.tuple;
  const bool inbound = event.decision.direction == Direction::kIngress;
  if (record.wide) {
    line.text("sandbox.summary", "ends");
  } else {
    line.text(inbound ? "sandbox.src_class" : "sandbox.dst_class", to_string(event.decision.dst_class));
    line.text("sandbox.fib.type", to_string(event.facts.fib));
    line.text_or_null("sandbox.fib.oif", record.oif_name);
  }
  line.text("network.direction", inbound ? "inbound" : "outbound");
  line.text("network.type", tuple.remote.address.is_v6() ? "ipv6" : "ipv4");
  if (event.ip_protocol) {
    line.text("network.iana_number", std::to_string(*event.ip_protocol));
  } else {
    line.text("network.transport", transport(tuple));
    line.text_or_null("network.community_id", record.wide ? "" : community_id(tuple));
  }
  put_ends(line, record);
}

void put_end(JsonLine& line, const AuditEvent& event) {
  if (event.volumes) {
    const bool inbound = event.decision.direction == Direction::kIngress;
    line.number(inbound ? "destination.bytes" : "source.bytes", event.volumes->bytes_from_guest);
    line.number(inbound ? "source.bytes" : "destination.bytes", event.volumes->bytes_to_guest);
  }
  if (event.duration) line.number("event.duration", static_cast<std::uint64_t>(event.duration->count()));
  if (event.end) line.text("sandbox.end", to_string(*event.end));
}

}  // namespace

std::string_view to_string(AuditAction action) {
  switch (action) {
    case AuditAction::kFlowDenied: return "flow-denied";
    case AuditAction::kFlowAllowed: return "flow-allowed";
    case AuditAction::kFlowEnded: return "flow-ended";
    case AuditAction::kFlowRevoked: return "flow-revoked";
    case AuditAction::kPacketDenied: return "packet-denied";
    case AuditAction::kPolicyLoaded: return "policy-loaded";
    case AuditAction::kPolicyRejected: return "policy-rejected";
    case AuditAction::kHostStateChanged: return "host-state-changed";
    case AuditAction::kHostExposure: return "host-exposure";
    case AuditAction::kEngineFailed: return "engine-failed";
    case AuditAction::kGuestConnected: return "guest-connected";
    case AuditAction::kGuestDisconnected: return "guest-disconnected";
    case AuditAction::kAuditDropped: return "audit-dropped";
  }
  return "engine-failed";
}

bool is_limit(Reason reason) {
  return reason == Reason::kLimitConnections || reason == Reason::kLimitNew || reason == Reason::kLimitRate ||
         reason == Reason::kLimitBytes;
}

std::string_view to_string(Cause cause) {
  switch (cause) {
    case Cause::kNone: return "";
    case Cause::kPolicyChanged: return "policy-changed";
    case Cause::kHostChanged: return "host-changed";
    case Cause::kExpired: return "expired";
    case Cause::kLimit: return "limit";
    case Cause::kOperator: return "operator";
    case Cause::kPath: return "path";
    case Cause::kStart: return "start";
    case Cause::kSignal: return "signal";
    case Cause::kWatch: return "watch";
    case Cause::kControl: return "control";
    case Cause::kViolation: return "violation";
  }
  return "";
}

LogMode log_mode(const PolicySet& policy, const Decision& decision) {
  LogMode mode = LogMode::kNone;
  if (!decision.allow) return mode;
  const auto files = policy.files();
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& rules = files[i].rules(decision.direction);
    const auto rule = static_cast<std::size_t>(decision.rules.at(i));
    if (decision.rules.at(i) == Decision::kNoRule || rule >= rules.size()) continue;
    if (rules[rule].action == Action::kAllow) mode = std::max(mode, rules[rule].log);
  }
  return mode;
}

FlowVerdict verdict_of(const AuditEvent& event) {
  if (event.action == AuditAction::kFlowRevoked) return FlowVerdict::kRevoked;
  if (!event.decision.allow) return FlowVerdict::kDeny;
  return event.decision.would_deny != 0 ? FlowVerdict::kWouldDeny : FlowVerdict::kAllow;
}

AuditRecord make_record(const AuditIdentity& identity, const PolicySet& now, const AuditEvent& event) {
  const PolicySet& policy = event.policy != nullptr ? *event.policy : now;
  AuditRecord record{.event = event,
                     .oif_name = std::string{event.oif_name},
                     .message = std::string{event.message},
                     .guest = identity.guest,
                     .tenant = identity.tenant};
  record.event.oif_name = {};
  record.event.message = {};
  record.event.policy = nullptr;
  record.event.host = nullptr;
  if (event.host != nullptr) record.host = *event.host;
  const auto files = policy.files();
  if (files.empty()) return record;
  record.policy_hash = policy.hash();
  record.policy_generation = policy.generation();
  if (record.tenant.empty()) record.tenant = files.front().tenant;
  if (event.action == AuditAction::kPolicyLoaded)
    for (const Ruleset& file : files) record.files.push_back(file.path);
  const Decision& decision = event.decision;
  // The floor speaks under the name of the outermost file.
  const auto layer =
      decision.layer == Decision::kFloor ? std::size_t{0} : static_cast<std::size_t>(decision.layer);
  if (layer >= files.size()) return record;
  const Ruleset& file = files[layer];
  record.ruleset = file.name;
  const auto index = static_cast<std::size_t>(decision.rule);
  const auto& rules = file.rules(decision.direction);
  if (decision.layer != Decision::kFloor && decision.rule != Decision::kNoRule && index < rules.size()) {
    record.rule = rules[index].name;
    record.rule_at = file.path + ":" + std::to_string(rules[index].at.line);
  } else if (decision.layer != Decision::kFloor && is_limit(decision.reason)) {
    record.rule_at = file.path + ":" + std::to_string(file.limits.at.line);
  }
  for (std::size_t i = 0; i < files.size(); ++i)
    if ((decision.would_deny >> i & 1U) != 0) record.would_deny.push_back(files[i].name);
  return record;
}

std::string to_json(const AuditRecord& record) {
  const AuditEvent& event = record.event;
  JsonLine line;
  line.text("@timestamp", rfc3339(record.time));
  put_category(line, event);
  line.text("event.action", to_string(event.action));
  const bool decided = is_about_a_flow(event.action) || event.action == AuditAction::kEngineFailed;
  line.text_or_null("event.reason", decided && event.decision.reason != Reason::kNone
                                        ? to_string(event.decision.reason)
                                        : "");
  line.number("event.sequence", record.sequence);
  line.number("event.count", event.count);
  put_policy(line, record);
  put_flow(line, record);
  put_end(line, event);
  if (event.cause != Cause::kNone) line.text("sandbox.cause", to_string(event.cause));
  const auto list = [&line](std::string_view key, const std::vector<std::string>& texts) {
    if (!texts.empty()) line.list(key, std::vector<std::string_view>(texts.begin(), texts.end()));
  };
  list("sandbox.policy.files", record.files);
  if (record.host) {
    list("sandbox.host.addresses_gained", record.host->addresses_gained);
    list("sandbox.host.addresses_lost", record.host->addresses_lost);
    list("sandbox.host.links_gained", record.host->links_gained);
    list("sandbox.host.links_lost", record.host->links_lost);
    list("sandbox.host.uplinks", record.host->uplinks);
  }
  if (record.dropped != 0) line.number("sandbox.audit.dropped", record.dropped);
  if (!record.message.empty()) line.text("message", record.message);
  return line.take();
}

}  // namespace cordon::policy
