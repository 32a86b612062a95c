// Turns events into lines without letting a guest fill the disk.
//
// One AuditLog per guest. The first event of a kind (action, rule, reason, protocol, destination, port) is
// written at once; the same again within 10 s is only counted, and one summary with event.count follows when
// the 10 s are over. The table of kinds is bounded; what does not fit is lost, counted, and the loss is
// reported. Counters per reason are exact whatever becomes of the lines. A sink that takes nothing (disk
// full, reader gone, pipe full) loses records, never blocks and never stops a decision.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <unordered_map>

#include "core/base/time.h"
#include "policy/audit_record.h"
#include "policy/flow_counters.h"

namespace cordon::policy {

// Whole lines to an fd that the caller owns. A line the fd took only in part is finished before the next one.
class AuditSink {
 public:
  explicit AuditSink(int fd) : fd_(fd) {}
  // False: the line is lost.
  [[nodiscard]] bool write_line(std::string_view line);

 private:
  [[nodiscard]] bool flush_rest();
  int fd_;
  std::string rest_;
};

class AuditLog {
 public:
  static constexpr base::Duration kWindow = base::Duration{10'000'000'000};
  static constexpr std::size_t kMaxKinds = 1024;

  AuditLog(AuditIdentity identity, int fd, std::shared_ptr<const PolicySet> policy)
      : identity_(std::move(identity)), sink_(fd), policy_(std::move(policy)) {}

  void set_policy(std::shared_ptr<const PolicySet> policy);
  // Counted, and no record: what a rule's `log` leaves out.
  void count(const AuditEvent& event);
  void record(const AuditEvent& event, base::Instant now, WallTime wall);
  // Writes the summaries that are due.
  void tick(base::Instant now, WallTime wall);
  // When tick() next has something to do.
  [[nodiscard]] base::Instant next_deadline() const;
  // At the end: every open summary, due or not.
  void finish(base::Instant now, WallTime wall);

  struct Counters {
    // Flows and packets that were denied or revoked; [kNone]: flows that were allowed.
    std::array<std::uint64_t, kReasonCount> by_reason{};
    std::array<std::uint64_t, kReasonCount> packets_by_reason{};  // of these: packets that are no flow
    FlowCounters flows;                                           // without these packets
    std::uint64_t records_written = 0;
    std::uint64_t events_lost = 0;  // events of records that were not written
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  struct Kind {
    AuditAction action;
    Direction direction;
    Reason reason;
    std::int16_t layer;
    std::int16_t rule;
    flow::Protocol protocol;
    // With the service's port: inbound the guest's, as a peer's own is new each time. Of a spoofed packet the
    // source instead, without port.
    net::Endpoint remote;
    friend bool operator==(const Kind&, const Kind&) = default;
  };
  struct KindHash {
    std::size_t operator()(const Kind& kind) const;
  };
  struct Window {
    AuditRecord last;  // newest event of the kind, for the summary
    std::uint64_t held = 0;
  };
  struct Due {
    base::Instant at;
    Kind kind;
  };

  void write(AuditRecord record, base::Instant now, WallTime wall);
  void report_lost(base::Instant now, WallTime wall);
  void lose(std::uint64_t count, base::Instant now);

  AuditIdentity identity_;
  AuditSink sink_;
  std::shared_ptr<const PolicySet> policy_;
  std::unordered_map<Kind, Window, KindHash> windows_;
  std::deque<Due> due_;     // in order of time: every window has the same length
  std::uint64_t lost_ = 0;  // not yet reported
  base::Instant report_lost_at_ = base::Instant::never();
  std::uint64_t sequence_ = 0;
  Counters counters_;
};

}  // namespace cordon::policy
