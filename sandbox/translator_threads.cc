#include "sandbox/translator_threads.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <system_error>
#include <thread>

namespace cordon::sandbox {

base::Result<void> LaneThreads::open() {
  begin_ = base::Fd{::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)};
  locked_ = base::Fd{::eventfd(0, EFD_CLOEXEC)};
  if (!begin_ || !locked_) return base::fail_errno("eventfd");
  return {};
}

base::Result<void> LaneThreads::start(std::span<const std::unique_ptr<Lane>> lanes,
                                      const std::function<base::Result<void>()>& lock_thread) {
  for (const auto& lane : lanes) {
    running_.fetch_add(1);
    try {
      std::thread{[this, &lane, &lock_thread] { live(*lane, lock_thread); }}.detach();
    } catch (const std::system_error& error) {
      return std::unexpected(base::Error{"start a thread", error.code().value(), "RLIMIT_NPROC?"});
    }
  }
  for (std::uint64_t count = 0, seen = 0; seen < lanes.size(); seen += count)
    if (::read(locked_.get(), &count, sizeof count) != sizeof count)
      return base::fail_errno("read", "eventfd");
  if (!all_locked_) return base::fail("seccomp", "a thread could not be locked");
  return {};
}

void LaneThreads::begin() {
  const std::uint64_t all = running_;
  if (all != 0) static_cast<void>(!::write(begin_.get(), &all, sizeof all));
}

void LaneThreads::live(Lane& lane, const std::function<base::Result<void>()>& lock_thread) {
  if (!lock_thread()) all_locked_ = false;
  std::uint64_t one = 1;
  static_cast<void>(!::write(locked_.get(), &one, sizeof one));
  static_cast<void>(!::read(begin_.get(), &one, sizeof one));
  while (lane.turn()) {
  }
  lane.finish();
  running_.fetch_sub(1);
  for (;;) static_cast<void>(!::read(begin_.get(), &one, sizeof one));
}

}  // namespace cordon::sandbox
