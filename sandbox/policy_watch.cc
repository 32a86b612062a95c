#include "sandbox/policy_watch.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <deque>
#include <optional>

namespace cordon::sandbox {
namespace {

constexpr std::uint32_t kDirectory = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF |
                                     IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR;
constexpr std::uint32_t kFile = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr int kMaxLinks = 40;   // as the kernel
constexpr int kMaxNames = 256;  // of one walk
constexpr int kReadsPerTurn = 16;

std::deque<std::string> split(std::string_view path) {
  std::deque<std::string> names;
  while (!path.empty()) {
    const auto end = std::min(path.find('/'), path.size());
    if (end > 0) names.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return names;
}

std::optional<std::string> link_target(const std::string& path) {
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  if (size <= 0) return std::nullopt;
  return std::string{target.data(), static_cast<std::size_t>(size)};
}

// Not there (yet), or not for us to see: waited for.
bool is_absence(int error) {
  return error == ENOENT || error == ENOTDIR || error == EACCES || error == ELOOP || error == ENAMETOOLONG;
}

}  // namespace

base::Result<void> PolicyWatch::start() {
  inotify_ = base::Fd{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
  if (!inotify_) return base::fail_errno("--watch-policy", "inotify: raise fs.inotify.max_user_instances");
  return place();
}

base::Result<int> PolicyWatch::add(const std::string& path, std::uint32_t mask) const {
  const int watch = ::inotify_add_watch(inotify_.get(), path.c_str(), mask);
  if (watch >= 0) return watch;
  if (is_absence(errno)) return -1;
  return base::fail_errno("--watch-policy",
                          path + (errno == ENOSPC ? ": raise fs.inotify.max_user_watches" : ""));
}

base::Result<void> PolicyWatch::walk(const std::string& path, Names& found) const {
  std::string directory = path.starts_with('/') ? "/" : ".";
  std::deque<std::string> rest = split(path);
  int links = 0;
  for (int step = 0; step < kMaxNames && !rest.empty(); ++step) {
    const std::string name = std::move(rest.front());
    rest.pop_front();
    const std::string here = directory + (directory.ends_with('/') ? "" : "/") + name;
    if (name == "." || name == "..") {
      directory = here;
      continue;
    }
    const int watch = CORDON_TRY(add(directory, kDirectory));
    if (watch < 0) return {};
    found[watch].insert(name);
    if (const auto target = link_target(here)) {
      if (++links > kMaxLinks) return {};
      if (target->starts_with('/')) directory = "/";
      auto names = split(*target);
      rest.insert(rest.begin(), names.begin(), names.end());
    } else if (rest.empty()) {
      const int file = CORDON_TRY(add(here, kFile));
      if (file >= 0) found[file];
    } else {
      directory = here;
    }
  }
  return {};
}

base::Result<void> PolicyWatch::place() {
  Names found;
  for (const auto& path : paths_) CORDON_TRY(walk(path, found));
  for (const auto& [watch, names] : names_)
    if (!found.contains(watch)) ::inotify_rm_watch(inotify_.get(), watch);
  names_ = std::move(found);
  return {};
}

bool PolicyWatch::matters(int watch, std::uint32_t mask, std::string_view name) const {
  if ((mask & IN_Q_OVERFLOW) != 0) return true;
  if ((mask & IN_IGNORED) != 0) return false;  // our own, or told by DELETE_SELF or UNMOUNT already
  const auto place = names_.find(watch);
  if (place == names_.end()) return false;
  if (name.empty())
    return place->second.empty() || (mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) != 0;
  return place->second.contains(name);
}

void PolicyWatch::take_events(base::Instant now) {
  alignas(inotify_event) std::array<char, 8192> buffer;
  bool any = false;
  // Bounded: a busy directory must not keep the launcher here; what is left wakes it again.
  for (int i = 0; i < kReadsPerTurn; ++i) {
    const ssize_t got = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (got <= 0) break;
    for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(got);) {
      inotify_event event;
      std::memcpy(&event, buffer.data() + at, sizeof event);
      at += sizeof event;
      const char* const name = buffer.data() + at;
      any = any ||
            matters(event.wd, event.mask,
                    event.len == 0 ? std::string_view{} : std::string_view{name, ::strnlen(name, event.len)});
      at += event.len;
    }
  }
  if (!any) return;
  static_cast<void>(place_again(now));
  if (first_ == base::Instant::never()) first_ = now;
  due_ = std::min(now + kQuiet, first_ + kLongest);
}

// A watch that cannot be placed any more leaves the others.
bool PolicyWatch::place_again(base::Instant now) {
  const auto placed = place();
  if (placed) {
    retry_ = base::Instant::never();
    return true;
  }
  if (retry_ == base::Instant::never()) problem_ = base::describe(placed.error());
  retry_ = now + kRetry;
  return false;
}

bool PolicyWatch::take(base::Instant now) {
  // What was not watched may have changed.
  if (now >= retry_ && place_again(now)) due_ = now;
  if (now < due_) return false;
  first_ = due_ = base::Instant::never();
  return true;
}

}  // namespace cordon::sandbox
