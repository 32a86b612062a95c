#include "app/drop_in_log.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace cordon::app {
namespace {

constexpr std::size_t kLongestLine = 4096;
constexpr int kReadsPerTurn = 16;

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ ", &parts)};
}

base::Fd connect_syslog() {
  base::Fd socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  constexpr std::string_view kPath = "/dev/log";
  kPath.copy(address.sun_path, sizeof address.sun_path - 1);
  const void* const view = &address;
  if (!socket || ::connect(socket.get(), static_cast<const sockaddr*>(view), sizeof address) != 0) return {};
  return socket;
}

}  // namespace

base::Result<DropInLog> DropInLog::to_file(const std::string& path, std::uint64_t limit) {
  DropInLog log{{}};
  log.file_ = base::Fd{::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600)};
  struct stat info{};
  if (!log.file_ || ::fstat(log.file_.get(), &info) != 0) return base::fail_errno("open", path);
  if (!S_ISREG(info.st_mode)) return base::fail("--log-file", path + " is not a regular file");
  log.size_ = static_cast<std::uint64_t>(info.st_size);
  log.limit_ = limit;
  if (log.size_ > limit) log.cut_front();
  return log;
}

bool DropInLog::drain(int pipe) {
  std::array<char, 4096> chunk{};
  for (int i = 0; i < kReadsPerTurn; ++i) {
    const ssize_t got = ::read(pipe, chunk.data(), chunk.size());
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    const std::string_view text{chunk.data(), static_cast<std::size_t>(got)};
    if (terminal_) static_cast<void>(!::write(terminal_.get(), text.data(), text.size()));
    take(text);
  }
  return true;
}

void DropInLog::take(std::string_view text) {
  while (!text.empty()) {
    const auto end = text.find('\n');
    rest_ += text.substr(0, end);
    if (end == std::string_view::npos && rest_.size() < kLongestLine) return;
    line(rest_);
    rest_.clear();
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
}

void DropInLog::line(std::string_view text) {
  if (text.empty()) return;
  if (file_)
    append(now_text() + std::string{text} + "\n");
  else
    to_syslog(text);
}

void DropInLog::to_syslog(std::string_view text) {
  constexpr const char* kDaemonInfo = "<30>";
  if (!syslog_) syslog_ = connect_syslog();
  if (!syslog_) return;
  const std::string message =
      kDaemonInfo + program_ + "[" + std::to_string(::getpid()) + "]: " + std::string{text};
  if (::send(syslog_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
      errno != EAGAIN)
    syslog_.reset();  // another one may listen by the next line
}

void DropInLog::append(std::string_view text) {
  if (size_ + text.size() > limit_) cut_front();
  const ssize_t written = ::pwrite(file_.get(), text.data(), text.size(), static_cast<off_t>(size_));
  if (written > 0) size_ += static_cast<std::uint64_t>(written);
}

// The younger half stays, from the beginning of a line on.
void DropInLog::cut_front() {
  std::string kept(static_cast<std::size_t>(limit_ / 2), '\0');
  const std::uint64_t from = size_ > kept.size() ? size_ - kept.size() : 0;
  const ssize_t got = ::pread(file_.get(), kept.data(), kept.size(), static_cast<off_t>(from));
  kept.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  const auto line_end = kept.find('\n');
  if (from > 0) kept.erase(0, line_end == std::string::npos ? kept.size() : line_end + 1);
  size_ = 0;
  if (::ftruncate(file_.get(), 0) != 0) return;
  const ssize_t written = ::pwrite(file_.get(), kept.data(), kept.size(), 0);
  if (written > 0) size_ = static_cast<std::uint64_t>(written);
}

}  // namespace cordon::app
