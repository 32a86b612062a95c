// Turns events into lines without letting a guest fill the disk.
//
// One AuditLog per guest. The first event of a kind (action, rule, reason, protocol, destination, port) is
// written at once; the same again within 10 s is only counted, and one summary with event.count follows when
// the 10 s are over. The table of kinds is bounded: when it is full, as by a port scan, further kinds are
// told apart no longer by their ends but by rule, reason and protocol alone ("wide"), so that every event is
// still in the count of some record. What does not even fit there is lost, counted, and the loss is
// reported. Counters per reason are exact whatever becomes of the lines. A sink that takes nothing (disk
// full, reader gone, pipe full) loses records, never blocks and never stops a decision.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <unordered_map>

#include "core/base/time.h"
#include "policy/audit_record.h"
#include "policy/audit_sink.h"
#include "policy/flow_counters.h"

namespace cordon::policy {

class AuditLog {
 public:
  static constexpr base::Duration kWindow = base::Duration{10'000'000'000};
  static constexpr std::size_t kMaxKinds = 1024;
  static constexpr std::size_t kMaxWideKinds = 512;  // beside them

  // `fd` stays the caller's and must outlive the log, unless set_sink() replaces it.
  AuditLog(AuditIdentity identity, int fd, std::shared_ptr<const PolicySet> policy,
           SinkKind kind = SinkKind::kLines)
      : identity_(std::move(identity)), sink_(kind, fd), policy_(std::move(policy)) {}

  void set_policy(std::shared_ptr<const PolicySet> policy);
  // The log was rotated, or its receiver is back. What was lost meanwhile is told there first.
  void set_sink(base::Fd fd, base::Instant now, WallTime wall);
  // Only another sink helps.
  [[nodiscard]] bool sink_is_broken() const { return sink_.broken(); }
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
    std::uint64_t generation;  // of the policy that layer and rule are of
    flow::Protocol protocol;
    Cause cause;
    std::uint8_t detail;  // how a flow ended; a packet's protocol
    bool wide;            // of any remote end: the table was full
    // With the service's port: inbound the guest's, as a peer's own is new each time. Of a spoofed packet the
    // source instead, without port.
    net::Endpoint remote;
    friend bool operator==(const Kind&, const Kind&) = default;
  };
  struct KindHash {
    std::size_t operator()(const Kind& kind) const;
  };
  struct Window {
    AuditRecord first;  // of the events held, with the sums of all
    std::uint64_t held = 0;
  };
  struct Due {
    base::Instant at;
    Kind kind;
  };

  [[nodiscard]] Kind kind_of(const AuditEvent& event) const;
  void hold(Window& window, const AuditEvent& event, bool wide);
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
