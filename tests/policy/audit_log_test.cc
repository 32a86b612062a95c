// What becomes of many events: windows, the table of kinds, losses, sinks that fail or change.
#include <csignal>

#include "tests/policy/audit_rig.h"

using namespace cordon;
using namespace cordon::policy;
using namespace cordon::policy::testing;

TEST_CASE("policy: the same refusal again is counted and summed up every 10 s") {
  Pipe pipe;
  const auto policy = shared(load_ok({file({"allow: internet"})}));
  AuditLog log{{.guest = "g", .tenant = ""}, pipe.fd(), policy};
  const auto event = denied(*policy, "10.0.0.1", 80);
  CHECK(log.next_deadline() == Instant::never());
  log.record(event, kStart, kWall);
  REQUIRE(pipe.lines().size() == 1);  // at once
  CHECK(log.next_deadline() == kStart + 10s);
  for (int i = 0; i < 1000; ++i) log.record(event, kStart + 1s, kWall);
  log.record(denied(*policy, "10.0.0.1", 81), kStart + 2s, kWall);  // another kind
  auto lines = pipe.lines();
  REQUIRE(lines.size() == 1);
  CHECK(field(lines[0], "destination.port") == "81");
  log.tick(kStart + 10s - 1ns, kWall);
  CHECK(pipe.lines().empty());
  log.tick(kStart + 10s, kWall + 10s);
  lines = pipe.lines();
  REQUIRE(lines.size() == 1);
  CHECK(field(lines[0], "event.count") == "1000");
  CHECK(field(lines[0], "event.sequence") == "3");
  CHECK(field(lines[0], "@timestamp") == "\"2026-09-25T10:11:22.123456Z\"");
  log.tick(kStart + 20s, kWall);  // nothing was held: the kind is forgotten
  CHECK(pipe.lines().empty());
  CHECK(log.next_deadline() == Instant::never());
  log.record(event, kStart + 21s, kWall);
  CHECK(pipe.lines().size() == 1);
  CHECK(log.counters().by_reason[static_cast<std::size_t>(Reason::kNoRule)] == 1003);
  log.record(event, kStart + 22s, kWall);
  log.finish(kStart + 22s, kWall);
  lines = pipe.lines();
  REQUIRE(lines.size() == 1);
  CHECK(field(lines[0], "event.count") == "1");
}

TEST_CASE("policy: a scan fills the table, not the disk, and every event is in some record's count") {
  Pipe pipe(1 << 20);
  const auto policy = shared(load_ok({file({"allow: internet"})}));
  AuditLog log{{.guest = "g", .tenant = ""}, pipe.fd(), policy};
  std::uint64_t told = 0;
  const auto take = [&] {
    const auto lines = pipe.lines();
    for (const auto& line : lines) told += std::stoull(field(line, "event.count"));
    return lines;
  };
  std::vector<std::string> lines;
  for (std::uint16_t port = 1; port <= 3000; ++port) {
    log.record(denied(*policy, "10.0.0.1", port), kStart, kWall);
    for (auto& line : take()) lines.push_back(std::move(line));
  }
  REQUIRE(lines.size() == AuditLog::kMaxKinds + 1);
  CHECK(field(lines[AuditLog::kMaxKinds - 1], "destination.port") == "1024");
  // The one more stands for all ends that have no line of their own.
  CHECK(field(lines.back(), "sandbox.summary") == "\"ends\"");
  for (const auto key : {"source.ip", "source.port", "destination.ip", "destination.port",
                         "network.community_id", "sandbox.dialed"})
    CHECK(field(lines.back(), key) == "null");
  CHECK(field(lines.back(), "event.reason") == "\"no-rule\"");
  CHECK(field(lines.back(), "network.transport") == "\"tcp\"");
  CHECK(log.counters().by_reason[static_cast<std::size_t>(Reason::kNoRule)] == 3000);
  log.tick(kStart + 10s, kWall);
  lines = take();
  REQUIRE(lines.size() == 1);
  CHECK(field(lines[0], "event.count") == std::to_string(3000 - AuditLog::kMaxKinds - 1));
  CHECK(field(lines[0], "sandbox.summary") == "\"ends\"");
  CHECK(told == 3000);
  CHECK(log.counters().events_lost == 0);
  log.tick(kStart + 20s, kWall);
  CHECK(log.next_deadline() == Instant::never());
  // There is room again.
  log.record(denied(*policy, "10.0.0.1", 4000), kStart + 21s, kWall);
  CHECK(field(take().at(0), "destination.port") == "4000");
}

TEST_CASE("policy: what does not even fit without its ends is lost, counted and reported") {
  Pipe pipe(1 << 20);
  const auto policy = shared(load_ok({file({"allow: internet"})}));
  AuditLog log{{.guest = "g", .tenant = ""}, pipe.fd(), policy};
  std::size_t written = 0;
  for (std::int16_t rule = 0; rule < 3000; ++rule) {
    auto event = denied(*policy, "10.0.0.1", 80);
    event.decision.rule = rule;
    log.record(event, kStart, kWall);
    written += pipe.lines().size();
  }
  constexpr std::size_t kRoom = AuditLog::kMaxKinds + AuditLog::kMaxWideKinds;
  CHECK(written == kRoom);
  CHECK(log.counters().events_lost == 3000 - kRoom);
  log.tick(kStart + 10s, kWall);
  const auto lines = pipe.lines();
  REQUIRE(lines.size() == 1);
  CHECK(field(lines[0], "event.action") == "\"audit-dropped\"");
  CHECK(field(lines[0], "event.count") == std::to_string(3000 - kRoom));
  CHECK(log.next_deadline() == Instant::never());
}

TEST_CASE("policy: the summary of ended flows has the sums of their volumes") {
  Pipe pipe;
  const auto policy = shared(load_ok({file({"allow: internet"})}));
  AuditLog log{{.guest = "g", .tenant = ""}, pipe.fd(), policy};
  auto event = denied(*policy, "93.184.216.34", 443);
  REQUIRE(event.decision.allow);
  event.action = AuditAction::kFlowEnded;
  event.end = flow::EndReason::kFin;
  for (const unsigned bytes : {1U, 10U, 100U}) {
    event.volumes = flow::Volumes{.bytes_from_guest = bytes, .bytes_to_guest = 2U * bytes};
    event.duration = std::chrono::nanoseconds{bytes};
    log.record(event, kStart, kWall);
  }
  event.end = flow::EndReason::kReset;  // another kind
  log.record(event, kStart, kWall);
  log.finish(kStart, kWall);
  const auto lines = pipe.lines();
  REQUIRE(lines.size() == 3);
  CHECK(field(lines[0], "source.bytes") == "1");
  CHECK(field(lines[1], "sandbox.end") == "\"rst\"");
  CHECK(field(lines[2], "event.count") == "2");
  CHECK(field(lines[2], "source.bytes") == "110");
  CHECK(field(lines[2], "destination.bytes") == "220");
  CHECK(field(lines[2], "event.duration") == "110");
  // Ends are no decisions: the flow was counted when it was allowed.
  CHECK(log.counters().flows.totals().empty());
}

TEST_CASE("policy: an admitted flow gets the records that any rule that admitted it asks for") {
  // The modes of each file's rules.
  using Modes = std::vector<std::vector<LogMode>>;
  const auto mode = [](std::initializer_list<std::string_view> texts, const Modes& modes) {
    auto loaded = load_ok(texts);
    std::vector<Ruleset> files{loaded.files().begin(), loaded.files().end()};
    for (std::size_t i = 0; i < files.size(); ++i)
      for (std::size_t j = 0; j < files[i].egress.size(); ++j) files[i].egress[j].log = modes[i].at(j);
    const PolicySet policy{std::move(files)};
    return log_mode(policy, decide(policy, flow_to("93.184.216.34", 443), facts(routed())));
  };
  using enum LogMode;
  const auto one = file({"allow: internet"});
  CHECK(mode({one}, {{kNone}}) == kNone);
  CHECK(mode({one}, {{kNew}}) == kNew);
  CHECK(mode({one}, {{kAll}}) == kAll);
  CHECK(mode({one, one}, {{kNone}, {kNew}}) == kNew);
  CHECK(mode({one, one}, {{kAll}, {kNew}}) == kAll);
  // The rule that does not decide has no say.
  CHECK(mode({file({"allow: internet", "allow: any"})}, {{kNone, kAll}}) == kNone);
  CHECK(mode({file({"deny: internet"})}, {{kAll}}) == kNone);
}

TEST_CASE("policy: a sink that was rotated goes on in the new file, and no line is in two") {
  const auto policy = shared(load_ok({file({"allow: internet"})}));
  Pipe before(4096);
  Pipe after;
  AuditLog log{{.guest = "g", .tenant = ""}, before.fd(), policy};
  std::uint16_t port = 1;
  for (; log.counters().events_lost == 0; ++port)
    log.record(denied(*policy, "10.0.0.1", port), kStart, kWall);
  // The old one holds a part of the last record that it took and does not take the rest.
  const auto written = log.counters().records_written;
  log.set_sink(base::Fd{::fcntl(after.fd(), F_DUPFD_CLOEXEC, 0)}, kStart, kWall);
  const auto whole = before.lines().size();
  const bool cut = whole != written;
  CHECK(log.counters().records_written + log.counters().events_lost >= port - 1U);
  const auto lines = after.lines();
  REQUIRE(lines.size() == 1);
  CHECK(field(lines[0], "event.action") == "\"audit-dropped\"");
  CHECK(field(lines[0], "event.count") == (cut ? "2" : "1"));
  CHECK(lines[0].front() == '{');
  log.record(denied(*policy, "10.0.0.1", port), kStart, kWall);
  CHECK(after.lines().size() == 1);
  CHECK(before.lines().empty());
}

TEST_CASE("policy: a sink that takes nothing loses records, and the next record says how many") {
  Pipe pipe(4096);
  const auto policy = shared(load_ok({file({"allow: internet"})}));
  AuditLog log{{.guest = "g", .tenant = ""}, pipe.fd(), policy};
  for (std::uint16_t port = 1; port <= 100; ++port)
    log.record(denied(*policy, "10.0.0.1", port), kStart, kWall);
  const auto lost = log.counters().events_lost;
  CHECK(lost > 90);
  CHECK(log.counters().records_written + lost == 100);
  for (const auto& line : pipe.lines()) CHECK((line.front() == '{' && line.back() == '}'));
  log.record(denied(*policy, "10.0.0.1", 101), kStart, kWall);
  const auto lines = pipe.lines();
  REQUIRE_FALSE(lines.empty());
  CHECK(field(lines.back(), "sandbox.audit.dropped") == std::to_string(lost));
  CHECK(field(lines.back(), "event.sequence") == "101");
}

TEST_CASE("policy: a full disk and a closed reader are survived") {
  const auto policy = shared(load_ok({file({"allow: internet"})}));
  const auto event = denied(*policy, "10.0.0.1", 80);
  const base::Fd full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  REQUIRE(full.valid());
  AuditLog disk{{.guest = "g", .tenant = ""}, full.get(), policy};
  disk.record(event, kStart, kWall);
  CHECK(disk.counters().events_lost == 1);
  disk.tick(kStart + 10s, kWall);  // the report is lost too, and counts for nothing
  CHECK(disk.counters().events_lost == 1);
  CHECK(disk.next_deadline() == kStart + 20s);

  const auto old = std::signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  AuditLog broken{{.guest = "g", .tenant = ""}, pipe.fd(), policy};
  pipe.close_reader();
  broken.record(event, kStart, kWall);
  CHECK(broken.counters().events_lost == 1);
  std::signal(SIGPIPE, old);
}

TEST_CASE("policy: a reload between event and summary leaves the summary under its own policy") {
  Pipe pipe;
  auto first = shared(load_ok({file({"deny: private"})}));
  AuditLog log{{.guest = "g", .tenant = ""}, pipe.fd(), first};
  const auto event = denied(*first, "10.0.0.1", 80);
  log.record(event, kStart, kWall);
  log.record(event, kStart, kWall);
  const auto old_hash = first->hash();
  log.set_policy(shared(PolicySet{}));
  first.reset();
  log.tick(kStart + 10s, kWall);
  const auto lines = pipe.lines();
  REQUIRE(lines.size() == 2);
  CHECK(field(lines[1], "sandbox.policy.hash") == "\"" + old_hash + "\"");
  CHECK(field(lines[1], "rule.name") == "\"r0\"");
}
