#include "policy/audit_sink.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "policy/audit_log.h"
#include "tests/policy/testing.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;
using base::Instant;
using namespace std::chrono_literals;

namespace {

constexpr WallTime kWall{std::chrono::sys_days{std::chrono::year{2026} / 9 / 5} + 10h + 11min + 12s};
constexpr Instant kStart = Instant::from_nanos(1'000'000'000);

// A daemon's datagram socket, and what it got.
struct Receiver {
  explicit Receiver(int buffer = 0) {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) == 0);
    ours = base::Fd{fds[0]};
    theirs = base::Fd{fds[1]};
    if (buffer != 0) REQUIRE(::setsockopt(ours.get(), SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer) == 0);
  }
  std::string next() {
    std::string text(1 << 17, '\0');
    const ssize_t got = ::recv(theirs.get(), text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }
  base::Fd ours, theirs;
};

AuditRecord denied_record() {
  auto policy = load_ok({"version: 1\nname: site\negress:\n  - {name: lan, deny: private}\n"});
  const auto tuple = flow_to("10.1.2.3", 22);
  AuditEvent event{.action = AuditAction::kFlowDenied,
                   .tuple = tuple,
                   .decision = decide(policy, tuple, facts(routed())),
                   .facts = routed()};
  auto record = make_record({.guest = "vm-42", .tenant = "blue"}, policy, event);
  record.time = kWall;
  record.sequence = 7;
  return record;
}

// The fields of journald's native protocol (systemd, "Native Journal Protocol").
std::vector<std::pair<std::string, std::string>> fields_of(const std::string& datagram) {
  std::vector<std::pair<std::string, std::string>> fields;
  for (std::size_t at = 0; at < datagram.size();) {
    const auto end = datagram.find_first_of("=\n", at);
    REQUIRE(end != std::string::npos);
    const std::string key = datagram.substr(at, end - at);
    if (datagram[end] == '=') {
      const auto stop = datagram.find('\n', end);
      REQUIRE(stop != std::string::npos);
      fields.emplace_back(key, datagram.substr(end + 1, stop - end - 1));
      at = stop + 1;
      continue;
    }
    std::uint64_t size = 0;
    for (unsigned i = 0; i < 8; ++i)
      size |= std::uint64_t{static_cast<unsigned char>(datagram.at(end + 1 + i))} << 8U * i;
    REQUIRE(end + 9 + size < datagram.size());
    fields.emplace_back(key, datagram.substr(end + 9, size));
    CHECK(datagram[end + 9 + size] == '\n');
    at = end + 10 + size;
  }
  return fields;
}

}  // namespace

TEST_CASE("policy: journald gets one datagram of fields for each record") {
  Receiver journal;
  AuditSink sink{SinkKind::kJournal, journal.ours.get()};
  const auto record = denied_record();
  const auto json = to_json(record);
  REQUIRE(sink.write(record, json));
  const std::vector<std::pair<std::string, std::string>> want{
      {"MESSAGE", "flow-denied rule-deny 10.0.2.15:40000 > 10.1.2.3:22 by site/lan"},
      {"PRIORITY", "4"},
      {"SYSLOG_FACILITY", "10"},
      {"SYSLOG_IDENTIFIER", "cordon"},
      {"CORDON_ACTION", "flow-denied"},
      {"CORDON_REASON", "rule-deny"},
      {"CORDON_GUEST", "vm-42"},
      {"CORDON_TENANT", "blue"},
      {"CORDON_RULESET", "site"},
      {"CORDON_RULE", "lan"},
      {"CORDON_COUNT", "1"},
      {"CORDON_SEQUENCE", "7"},
      {"CORDON_RECORD", json}};
  CHECK(fields_of(journal.next()) == want);
  CHECK(journal.next().empty());
}

TEST_CASE("policy: a value with a newline has its length ahead in journald's protocol") {
  const auto fields = fields_of(journal_datagram(denied_record(), "a\nCORDON_GUEST=other\n"));
  CHECK(fields.back() == std::pair<std::string, std::string>{"CORDON_RECORD", "a\nCORDON_GUEST=other\n"});
  CHECK(fields.at(6) == std::pair<std::string, std::string>{"CORDON_GUEST", "vm-42"});
}

TEST_CASE("policy: a record that journald's socket has no room for is cut, and says so") {
  Receiver journal(2048);
  AuditSink sink{SinkKind::kJournal, journal.ours.get()};
  REQUIRE(sink.write(denied_record(), std::string(100'000, 'x')));
  const auto fields = fields_of(journal.next());
  CHECK(fields.back() == std::pair<std::string, std::string>{"CORDON_CUT", "1"});
}

TEST_CASE("policy: a message for people has no bytes that a terminal obeys") {
  auto record = denied_record();
  record.message = "a\nb\x1b[2Jc\xff" + std::string(1000, 'x');
  const auto text = summary_of(record);
  CHECK(text.find("a?b?[2Jc?xxx") != std::string::npos);
  CHECK(text.size() < 600);
}

TEST_CASE("policy: syslog gets lines as syslog(3) makes them, in UTC, of a bounded length") {
  Receiver daemon;
  AuditSink sink{SinkKind::kSyslog, daemon.ours.get()};
  const auto record = denied_record();
  REQUIRE(sink.write(record, "{}"));
  CHECK(daemon.next() == "<84>Sep  5 10:11:12 cordon: {}");  // authpriv (10) * 8 + warning (4)
  REQUIRE(sink.write(record, std::string(20'000, 'x')));
  const auto cut = daemon.next();
  CHECK(cut.size() == 8000);
  CHECK(cut.ends_with("xxx...(cut)"));
}

TEST_CASE("policy: priorities tell failures from refusals from notices") {
  struct Case {
    AuditAction action;
    int priority;
  };
  for (const Case& c : {Case{AuditAction::kEngineFailed, 3}, Case{AuditAction::kPolicyRejected, 3},
                        Case{AuditAction::kAuditDropped, 3}, Case{AuditAction::kFlowDenied, 4},
                        Case{AuditAction::kFlowRevoked, 4}, Case{AuditAction::kPacketDenied, 4},
                        Case{AuditAction::kHostExposure, 4}, Case{AuditAction::kPolicyLoaded, 5},
                        Case{AuditAction::kHostStateChanged, 5}, Case{AuditAction::kFlowAllowed, 6},
                        Case{AuditAction::kFlowEnded, 6}}) {
    AuditRecord record;
    record.event.action = c.action;
    CAPTURE(to_string(c.action));
    CHECK(priority_of(record) == c.priority);
  }
}

TEST_CASE("policy: a daemon that is too slow loses records, one that is gone breaks the sink") {
  auto policy = std::make_shared<const PolicySet>(load_ok({file({"deny: private"})}));
  Receiver slow(2048);
  AuditLog log{{.guest = "g", .tenant = ""}, slow.ours.get(), policy, SinkKind::kSyslog};
  const auto deny = [&](std::uint16_t port) {
    const auto tuple = flow_to("10.0.0.1", port);
    log.record({.action = AuditAction::kFlowDenied,
                .tuple = tuple,
                .decision = decide(*policy, tuple, facts(routed())),
                .facts = routed()},
               kStart, kWall);
  };
  for (std::uint16_t port = 1; port <= 50; ++port) deny(port);
  const auto lost = log.counters().events_lost;
  CHECK(lost > 0);
  CHECK(lost + log.counters().records_written == 50);
  CHECK_FALSE(log.sink_is_broken());
  while (!slow.next().empty()) {
  }
  deny(51);
  CHECK(slow.next().find("\"sandbox.audit.dropped\":" + std::to_string(lost)) != std::string::npos);

  slow.theirs.reset();
  deny(52);
  CHECK(log.sink_is_broken());
  CHECK(log.counters().events_lost == lost + 1);
  Receiver again;
  log.set_sink(std::move(again.ours), kStart, kWall);
  CHECK_FALSE(log.sink_is_broken());
  CHECK(again.next().find("\"event.action\":\"audit-dropped\"") != std::string::npos);
  deny(53);
  CHECK(again.next().find("\"destination.port\":53") != std::string::npos);
}

TEST_CASE("policy: without a sink everything is counted") {
  auto policy = std::make_shared<const PolicySet>(load_ok({file({"deny: private"})}));
  AuditLog log{{.guest = "g", .tenant = ""}, -1, policy, SinkKind::kNone};
  const auto tuple = flow_to("10.0.0.1", 22);
  log.record({.action = AuditAction::kFlowDenied,
              .tuple = tuple,
              .decision = decide(*policy, tuple, facts(routed())),
              .facts = routed()},
             kStart, kWall);
  CHECK(log.counters().by_reason[static_cast<std::size_t>(Reason::kRuleDeny)] == 1);
  CHECK(log.counters().flows.sum(FlowVerdict::kDeny) == 1);
  CHECK(log.counters().events_lost == 0);
  CHECK(log.next_deadline() == Instant::never());
}

TEST_CASE("policy: flows are counted by rule, and the count outlives a reload") {
  const auto decided = [](const PolicySet& policy, std::string_view address) {
    return decide(policy, flow_to(address, 443), facts(routed()));
  };
  const PolicySet first =
      load_ok({"version: 1\nname: a\negress:\n  - {name: lan, deny: private}\n"
               "  - {name: web, allow: internet}\n"});
  FlowCounters counters;
  counters.add(first, FlowVerdict::kDeny, decided(first, "10.0.0.1"), 1);
  counters.add(first, FlowVerdict::kDeny, decided(first, "10.0.0.2"), 2);
  counters.add(first, FlowVerdict::kAllow, decided(first, "93.184.216.34"), 4);
  counters.add(first, FlowVerdict::kDeny, decided(first, "169.254.169.254"), 8);
  const FlowLabel lan{.verdict = FlowVerdict::kDeny,
                      .reason = Reason::kRuleDeny,
                      .layer = "operator",
                      .ruleset = "a",
                      .rule = "lan"};
  FlowLabel web{.verdict = FlowVerdict::kAllow,
                .reason = Reason::kNone,
                .layer = "operator",
                .ruleset = "a",
                .rule = "web"};
  CHECK(counters.totals().size() == 3);
  CHECK(counters.totals().at(lan) == 3);
  CHECK(counters.totals().at(web) == 4);
  CHECK(counters.sum(FlowVerdict::kDeny) == 11);

  // `web` is gone and `lan` is another number: names count.
  auto files =
      load_ok({"version: 1\nname: a\negress:\n  - {name: mail, allow: internet, ports: [tcp/25]}\n"
               "  - {name: lan, deny: private}\n"});
  const PolicySet second{{files.files().begin(), files.files().end()}, 2};
  counters.keep_names_of(second);
  counters.add(second, FlowVerdict::kDeny, decided(second, "10.0.0.1"), 16);
  CHECK(counters.totals().at(lan) == 19);
  CHECK_FALSE(counters.totals().contains(web));
  web.rule = "(removed)";
  CHECK(counters.totals().at(web) == 4);
  CHECK(counters.sum(FlowVerdict::kAllow) == 4);
  CHECK(counters.sum(FlowVerdict::kDeny) == 27);
}

TEST_CASE("audit sink: a long line never waits for a pipe's reader") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const base::Fd reader{ends[0]};
  const base::Fd writer{ends[1]};
  REQUIRE(::fcntl(writer.get(), F_SETPIPE_SZ, 8192) == 8192);
  REQUIRE(::write(writer.get(), std::string(4096, '-').data(), 4096) == 4096);
  AuditSink sink{SinkKind::kLines, writer.get()};
  const std::string line(5000, 'x');
  ::alarm(20);  // ends a write that waits
  CHECK(sink.write(denied_record(), line));
  ::alarm(0);
  CHECK(sink.unfinished() == 1);
  std::string got(8192, '\0');
  REQUIRE(::read(reader.get(), got.data(), got.size()) == 8192);
  CHECK(sink.write(denied_record(), "next"));
  CHECK(sink.unfinished() == 0);
  const ssize_t more = ::read(reader.get(), got.data(), got.size());
  REQUIRE(more > 0);
  CHECK(got.substr(0, static_cast<std::size_t>(more)) == std::string(5000 - 4096, 'x') + "\nnext\n");
}
