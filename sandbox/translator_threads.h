// The threads of all lanes but the first. After the lockdown there is no futex: they wait in read() of an
// eventfd, and none of them ever ends, because an ending thread calls what the filter forbids.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "sandbox/translator_lane.h"

namespace cordon::sandbox {

class LaneThreads {
 public:
  base::Result<void> open();
  // Before the lockdown; each calls `lock_thread` and then waits for begin().
  base::Result<void> start(std::span<const std::unique_ptr<Lane>> lanes,
                           const std::function<base::Result<void>()>& lock_thread);
  void begin();
  [[nodiscard]] bool running() const { return running_ != 0; }

 private:
  void live(Lane& lane, const std::function<base::Result<void>()>& lock_thread);

  base::Fd begin_;
  base::Fd locked_;
  std::atomic<std::uint64_t> running_{0};
  std::atomic<bool> all_locked_{true};
};

}  // namespace cordon::sandbox
