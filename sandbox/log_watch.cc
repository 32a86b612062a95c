#include "sandbox/log_watch.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace cordon::sandbox {
namespace {

constexpr base::Duration kRetry = std::chrono::seconds{10};

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

std::optional<LogWatch::Identity> LogWatch::identity_of(int log) {
  struct stat info{};
  if (log < 0 || ::fstat(log, &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return Identity{info.st_dev, info.st_ino};
}

base::Result<void> LogWatch::start(int log) {
  current_ = identity_of(log);
  if (!current_) return {};
  inotify_ = base::Fd{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
  if (!inotify_) return base::fail_errno("inotify", "rotation of " + path_ + " will not be noticed");
  place_watches();
  return {};
}

// Adding a watch again is harmless. The folder sees names come and go; behind a symbolic link the target's
// folder does.
void LogWatch::place_watches() {
  constexpr std::uint32_t kFolder =
      IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  ::inotify_add_watch(inotify_.get(), folder_of(path_).c_str(), kFolder);
  std::array<char, PATH_MAX> target{};
  if (::realpath(path_.c_str(), target.data()) != nullptr)
    ::inotify_add_watch(inotify_.get(), folder_of(target.data()).c_str(), kFolder);
}

void LogWatch::look(base::Instant now) {
  alignas(inotify_event) std::array<char, 4096> events;
  bool any = false;
  // Bounded: a busy folder must not keep the launcher here; what is left wakes it again.
  for (int i = 0; i < 16 && ::read(inotify_.get(), events.data(), events.size()) > 0; ++i) any = true;
  if (!any) return;
  place_watches();
  struct stat info{};
  if (::stat(path_.c_str(), &info) != 0) {
    due_ = std::min(due_, now + kGrace);
    return;
  }
  const bool same = current_ == Identity{info.st_dev, info.st_ino};
  due_ = same ? base::Instant::never() : now;
}

void LogWatch::opened(int log, base::Instant now) {
  due_ = log < 0 ? now + kRetry : base::Instant::never();
  if (log < 0) return;
  current_ = identity_of(log);
  if (inotify_) place_watches();
}

}  // namespace cordon::sandbox
