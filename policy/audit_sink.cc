#include "policy/audit_sink.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace cordon::policy {
namespace {

// A pipe that polls writable takes PIPE_BUF bytes without blocking, and no more for sure: longer lines are
// written in pieces, each after a look.
bool would_block(int fd) {
  pollfd entry{.fd = fd, .events = POLLOUT, .revents = 0};
  return ::poll(&entry, 1, 0) == 0;
}

// Full (disk, pipe, queue, a size limit) passes. These do not.
bool is_gone(int error) {
  switch (error) {
    case EPIPE:
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOTCONN:
    case ENOENT:
    case EBADF:
    case ESTALE: return true;
    default: return false;
  }
}

}  // namespace

// Bytes taken; 0 when none, whatever the reason.
std::size_t AuditSink::write_some(std::string_view text) {
  if (would_block(fd_)) return 0;
  for (;;) {
    const auto most = kind_ == SinkKind::kLines ? std::size_t{PIPE_BUF} : text.size();
    const auto wrote = ::write(fd_, text.data(), std::min(text.size(), most));
    if (wrote >= 0) return static_cast<std::size_t>(wrote);
    if (errno == EINTR) continue;
    too_long_ = errno == EMSGSIZE;
    broken_ |= is_gone(errno);
    return 0;
  }
}

bool AuditSink::flush_rest() {
  if (rest_.empty()) return true;
  std::size_t done = 0;
  while (done < rest_.size()) {
    const auto wrote = write_some(std::string_view{rest_}.substr(done));
    if (wrote == 0) break;
    done += wrote;
  }
  rest_.erase(0, done);
  return rest_.empty();
}

bool AuditSink::write_line(std::string_view line, std::uint64_t events) {
  if (!flush_rest()) return false;
  std::string text{line};
  text += '\n';
  const auto wrote = write_some(text);
  if (wrote == 0) return false;
  rest_ = text.substr(wrote);
  rest_events_ = events;
  (void)flush_rest();
  return true;
}

bool AuditSink::send(std::string_view datagram) {
  too_long_ = false;
  return write_some(datagram) != 0;
}

bool AuditSink::write(const AuditRecord& record, std::string_view json) {
  switch (kind_) {
    case SinkKind::kNone: return true;
    case SinkKind::kLines: return write_line(json, record.event.count);
    case SinkKind::kJournal:
      return send(journal_datagram(record, json)) ||
             (too_long_ && send(journal_datagram(record, json, false)));
    case SinkKind::kSyslog: return send(syslog_datagram(record, json));
  }
  return false;
}

std::uint64_t AuditSink::replace(base::Fd fd) {
  const std::uint64_t given_up = flush_rest() ? 0 : rest_events_;
  rest_.clear();
  owned_ = std::move(fd);
  fd_ = owned_.get();
  broken_ = false;
  return given_up;
}

}  // namespace cordon::policy
