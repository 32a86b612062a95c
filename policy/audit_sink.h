// Where records go: whole lines to a file, pipe or terminal; or one datagram each to journald or syslog. The
// sink never opens anything, as the broker may not: it is given a descriptor, and says when only another one
// helps. It never blocks: what is not taken at once is lost, which the log counts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/fd.h"
#include "policy/audit_record.h"

namespace cordon::policy {

enum class SinkKind : std::uint8_t {
  kNone,     // nothing is written; counters go on
  kLines,    // a file, a pipe, a terminal
  kJournal,  // connected datagram socket, journald's native protocol
  kSyslog,   // connected datagram socket, RFC 3164 as syslog(3) writes it
};

class AuditSink {
 public:
  // The caller keeps owning `fd`. Sockets and pipes that could block must be non-blocking, or poll writable
  // only when they take a record.
  AuditSink(SinkKind kind, int fd) : kind_(kind), fd_(fd) {}

  [[nodiscard]] SinkKind kind() const { return kind_; }
  // False: the record is lost. A line that was taken only in part is finished before the next one.
  [[nodiscard]] bool write(const AuditRecord& record, std::string_view json);
  // The receiver is gone for good: only replace() helps.
  [[nodiscard]] bool broken() const { return broken_; }
  // Events of the record that the descriptor holds only a part of; 0: none.
  [[nodiscard]] std::uint64_t unfinished() const { return rest_.empty() ? 0 : rest_events_; }
  // Another descriptor of the same kind. No line is split over two: a rest that the old one does not take
  // even now is given up, and its events are returned: they are lost.
  [[nodiscard]] std::uint64_t replace(base::Fd fd);

 private:
  [[nodiscard]] bool write_line(std::string_view line, std::uint64_t events);
  [[nodiscard]] bool send(std::string_view datagram);
  [[nodiscard]] bool flush_rest();
  [[nodiscard]] std::size_t write_some(std::string_view text);

  SinkKind kind_;
  int fd_;
  base::Fd owned_;
  std::string rest_;
  std::uint64_t rest_events_ = 0;
  bool too_long_ = false;  // the last datagram was
  bool broken_ = false;
};

// One line for people: action, verdict's reason, ends, rule.
[[nodiscard]] std::string summary_of(const AuditRecord& record);
// syslog(3)'s: 3 error, 4 warning, 5 notice, 6 informational.
[[nodiscard]] int priority_of(const AuditRecord& record);
// systemd's native journal protocol. `json` is left out when `json_fits` is false, and CORDON_CUT says so.
[[nodiscard]] std::string journal_datagram(const AuditRecord& record, std::string_view json,
                                           bool json_fits = true);
// "<PRI>Mmm dd hh:mm:ss cordon: JSON" in UTC, at most kMaxSyslog bytes; longer ones end in "...(cut)".
inline constexpr std::size_t kMaxSyslog = 8000;
[[nodiscard]] std::string syslog_datagram(const AuditRecord& record, std::string_view json);

}  // namespace cordon::policy
