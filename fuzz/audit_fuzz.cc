// Any bytes in every place of an audit record that a guest, a file's name or an interface can choose: the
// record is one line of JSON in plain ASCII that reads back, with each field once; the words for journald and
// syslog keep their frame (LOG-01, LOG-03 of the hostile-guest matrix).
#include <map>
#include <optional>

#include "app/json.h"
#include "fuzz/input.h"
#include "policy/audit_sink.h"
#include "policy/load.h"
#include "policy/utf8.h"

using namespace cordon;
using namespace cordon::policy;
using fuzz::require;

namespace {

net::IpAddress address(fuzz::Input& in, bool v6) {
  std::array<std::uint8_t, 16> raw{};
  for (auto& byte : std::span(raw).first(v6 ? 16 : 4)) byte = in.u8();
  if (v6) return net::Ipv6Address{raw};
  return net::Ipv4Address{raw[0], raw[1], raw[2], raw[3]};
}

flow::Tuple tuple(fuzz::Input& in) {
  constexpr std::array kProtocols{flow::Protocol::kTcp, flow::Protocol::kUdp, flow::Protocol::kIcmpEcho};
  const unsigned choice = in.u8();
  flow::Tuple out;
  out.protocol = kProtocols.at(choice % 3);
  out.guest = {address(in, (choice & 128U) != 0), net::Port{in.u16()}};
  out.remote = {address(in, (choice & 128U) != 0), net::Port{in.u16()}};
  return out;
}

template <class Enum>
Enum choose(fuzz::Input& in, Enum last) {
  return static_cast<Enum>(in.u8() % (static_cast<unsigned>(last) + 1));
}

AuditRecord record_of(fuzz::Input& in) {
  AuditRecord record;
  AuditEvent& event = record.event;
  event.action = choose(in, AuditAction::kAuditDropped);
  const unsigned parts = in.u8();
  if ((parts & 1U) != 0) event.tuple = tuple(in);
  if ((parts & 2U) != 0) event.volumes = flow::Volumes{in.u64(), in.u64(), in.u64()};
  if ((parts & 4U) != 0) event.source_mac = net::MacAddress{{in.u8(), in.u8(), in.u8(), in.u8(), in.u8(), 0}};
  if ((parts & 8U) != 0) event.ip_protocol = in.u8();
  if ((parts & 16U) != 0) event.end = choose(in, flow::EndReason::kError);
  if ((parts & 32U) != 0) event.duration = base::Duration{in.u32()};
  record.wide = (parts & 64U) != 0;
  if ((parts & 128U) != 0) event.dialed = tuple(in).remote;
  event.decision.allow = in.flag();
  event.decision.direction = in.flag() ? Direction::kIngress : Direction::kEgress;
  event.decision.reason = static_cast<Reason>(in.u8() % 8U);
  event.cause = choose(in, Cause::kViolation);
  event.count = in.u32();
  record.sequence = in.u64();
  record.dropped = in.u16();
  // Between the years 1902 and 2038.
  record.time = WallTime{std::chrono::seconds{static_cast<std::int32_t>(in.u32())}};
  for (std::string* text : {&record.oif_name, &record.message, &record.guest, &record.tenant, &record.ruleset,
                            &record.rule, &record.rule_at, &record.policy_hash})
    *text = in.text();
  for (unsigned i = in.u8() % 4U; i > 0; --i) record.would_deny.push_back(in.text());
  for (unsigned i = in.u8() % 4U; i > 0; --i) record.files.push_back(in.text());
  if (in.flag()) {
    record.host.emplace();
    for (auto* list : {&record.host->addresses_gained, &record.host->links_gained, &record.host->uplinks})
      list->push_back(in.text());
  }
  return record;
}

// A string comes back as it was, as far as it was UTF-8 and short.
void require_told(const app::Json& json, std::string_view key, const std::string& text) {
  const app::Json* const value = json.find(key);
  if (value == nullptr || value->is_null()) return;
  require(value->text() != nullptr);
  if (is_utf8(text) && text.size() <= 255) require(*value->text() == text);
  require(value->text()->size() <= std::size_t{3} * 255 + 3);
}

// systemd's native protocol: KEY=VALUE and a newline, or KEY, a newline, the length in 8 bytes, VALUE and a
// newline.
std::map<std::string, std::string> journal_fields(std::string_view datagram) {
  std::map<std::string, std::string> out;
  while (!datagram.empty()) {
    const std::size_t stop = datagram.find_first_of("=\n");
    require(stop != std::string_view::npos && stop > 0);
    const std::string key{datagram.substr(0, stop)};
    require(key.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == std::string::npos);
    const bool counted = datagram[stop] == '\n';
    datagram.remove_prefix(stop + 1);
    std::size_t length = datagram.find('\n');
    if (counted) {
      require(datagram.size() >= 8);
      length = 0;
      for (std::size_t i = 8; i-- > 0;) length = length << 8U | static_cast<unsigned char>(datagram[i]);
      datagram.remove_prefix(8);
    }
    require(length < datagram.size() && datagram[length] == '\n');
    require(out.emplace(key, datagram.substr(0, length)).second);
    datagram.remove_prefix(length + 1);
  }
  return out;
}

bool plain_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
}

void check_journal(const AuditRecord& record, const std::string& line, bool fits) {
  const auto fields = journal_fields(journal_datagram(record, line, fits));
  require(fields.at("MESSAGE") == summary_of(record));
  require(fields.at("PRIORITY") == std::to_string(priority_of(record)));
  require(fields.contains("CORDON_RECORD") == fits && fields.contains("CORDON_CUT") == !fits);
  if (fits) require(fields.at("CORDON_RECORD") == line);
  if (!record.guest.empty()) require(fields.at("CORDON_GUEST") == record.guest);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in{data, size};
  const AuditRecord record = record_of(in);
  const std::string line = to_json(record);
  require(plain_ascii(line));
  const auto json = app::Json::parse(line, 8);
  require(json.has_value() && json->object() != nullptr);
  require_told(*json, "sandbox.guest", record.guest);
  require_told(*json, "sandbox.tenant", record.tenant);
  require_told(*json, "rule.name", record.rule);
  require_told(*json, "sandbox.rule_at", record.rule_at);
  require(json->text_at("event.action") == to_string(record.event.action));

  const std::string summary = summary_of(record);
  require(plain_ascii(summary) && summary.size() <= 515);
  check_journal(record, line, true);
  check_journal(record, line, false);
  const std::string syslog = syslog_datagram(record, line);
  require(plain_ascii(syslog) && syslog.size() <= kMaxSyslog);
  return 0;
}
