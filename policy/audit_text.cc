// Records in the words of journald and syslog.
#include <array>
#include <chrono>
#include <cstdio>

#include "policy/audit_sink.h"

namespace cordon::policy {
namespace {

constexpr int kAuthPriv = 10;  // facility: security messages that not everybody may read
constexpr std::size_t kMaxSummary = 512;
constexpr std::string_view kIdentifier = "cordon";

std::string ends_of(const AuditRecord& record) {
  const AuditEvent& event = record.event;
  if (!event.tuple || record.wide) return {};
  const bool inbound = event.decision.direction == Direction::kIngress;
  const net::Endpoint& from = inbound ? event.tuple->remote : event.tuple->guest;
  const net::Endpoint& to = inbound ? event.tuple->guest : event.tuple->remote;
  if (event.tuple->protocol == flow::Protocol::kIcmpEcho)
    return net::to_string(from.address) + " > " + net::to_string(to.address);
  return net::to_string(from) + " > " + net::to_string(to);
}

// The value's own newlines would end the field: then its length goes ahead.
void put_field(std::string& out, std::string_view key, std::string_view value) {
  out += key;
  if (value.find('\n') == std::string_view::npos) {
    out += '=';
  } else {
    out += '\n';
    for (unsigned i = 0; i < 8; ++i)
      out += static_cast<char>(static_cast<unsigned char>(std::uint64_t{value.size()} >> 8U * i));
  }
  out += value;
  out += '\n';
}

}  // namespace

int priority_of(const AuditRecord& record) {
  switch (record.event.action) {
    case AuditAction::kEngineFailed:
    case AuditAction::kPolicyRejected:
    case AuditAction::kAuditDropped: return 3;
    case AuditAction::kFlowDenied:
    case AuditAction::kFlowRevoked:
    case AuditAction::kPacketDenied:
    case AuditAction::kHostExposure: return 4;
    case AuditAction::kGuestDisconnected: return record.event.cause == Cause::kViolation ? 4 : 5;
    case AuditAction::kPolicyLoaded:
    case AuditAction::kGuestConnected:
    case AuditAction::kHostStateChanged: return 5;
    case AuditAction::kFlowAllowed:
    case AuditAction::kFlowEnded: break;
  }
  return record.event.decision.would_deny != 0 ? 5 : 6;
}

std::string summary_of(const AuditRecord& record) {
  const AuditEvent& event = record.event;
  std::string text{to_string(event.action)};
  if (event.decision.reason != Reason::kNone && event.action != AuditAction::kPolicyLoaded &&
      event.action != AuditAction::kPolicyRejected && event.action != AuditAction::kHostStateChanged &&
      event.action != AuditAction::kAuditDropped)
    text += ' ' + std::string{to_string(event.decision.reason)};
  if (const auto ends = ends_of(record); !ends.empty()) text += ' ' + ends;
  if (record.rule != "-") text += " by " + record.ruleset + '/' + record.rule;
  if (event.count > 1) text += " (" + std::to_string(event.count) + " times)";
  if (!record.message.empty()) text += ": " + record.message;
  // Paths and interface names may hold anything; the record has them escaped.
  for (char& byte : text)
    if (const auto code = static_cast<unsigned char>(byte); code < 0x20 || code >= 0x7f) byte = '?';
  return text.size() > kMaxSummary ? text.substr(0, kMaxSummary) + "..." : text;
}

std::string journal_datagram(const AuditRecord& record, std::string_view json, bool json_fits) {
  const AuditEvent& event = record.event;
  std::string out;
  const auto put = [&](std::string_view key, std::string_view value) {
    if (!value.empty()) put_field(out, key, value);
  };
  put("MESSAGE", summary_of(record));
  put("PRIORITY", std::to_string(priority_of(record)));
  put("SYSLOG_FACILITY", std::to_string(kAuthPriv));
  put("SYSLOG_IDENTIFIER", kIdentifier);
  put("CORDON_ACTION", to_string(event.action));
  if (event.decision.reason != Reason::kNone && event.tuple)
    put("CORDON_REASON", to_string(event.decision.reason));
  put("CORDON_GUEST", record.guest);
  put("CORDON_TENANT", record.tenant);
  put("CORDON_RULESET", record.ruleset);
  if (record.rule != "-") put("CORDON_RULE", record.rule);
  put("CORDON_CAUSE", to_string(event.cause));
  put("CORDON_COUNT", std::to_string(event.count));
  put("CORDON_SEQUENCE", std::to_string(record.sequence));
  if (json_fits)
    put("CORDON_RECORD", json);
  else
    put("CORDON_CUT", "1");
  return out;
}

std::string syslog_datagram(const AuditRecord& record, std::string_view json) {
  constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  constexpr std::string_view kMark = "...(cut)";
  const auto days = std::chrono::floor<std::chrono::days>(record.time);
  const std::chrono::year_month_day date{days};
  const std::chrono::hh_mm_ss clock{std::chrono::floor<std::chrono::seconds>(record.time - days)};
  std::array<char, 64> head{};
  std::snprintf(head.data(), head.size(),
                "<%d>%s %2u %02d:%02d:%02d %s: ", kAuthPriv * 8 + priority_of(record),
                kMonths.at(static_cast<unsigned>(date.month()) - 1), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()), kIdentifier.data());
  std::string out{head.data()};
  out += json;
  if (out.size() > kMaxSyslog) out.replace(kMaxSyslog - kMark.size(), std::string::npos, kMark);
  return out;
}

}  // namespace cordon::policy
