// When a translator that has ended is started again. Pure: time is an argument.
//
// The guest's network must come back whatever ended the translator, and however often: some ends are followed
// by a start at once. What ends right after each start is a crash loop: guessing at addresses, or a fault
// that the next start meets again. Its starts come after pauses that grow, and are not told one by one. A
// translator that has lived for a while closes the matter.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/base/time.h"

namespace cordon::sandbox {

class RestartPace {
 public:
  static constexpr int kAtOnce = 8;
  static constexpr base::Duration kOneMoreEvery = std::chrono::seconds{2};
  static constexpr base::Duration kFirstPause = std::chrono::milliseconds{250};
  static constexpr base::Duration kLongestPause = std::chrono::seconds{8};
  static constexpr base::Duration kSteady = std::chrono::seconds{10};

  struct Answer {
    base::Duration pause{};  // zero: start it at once
    bool tell = true;        // an end that is not counted for settled()
  };
  [[nodiscard]] Answer on_end(base::Instant now) {
    if (!pausing_ && take(now)) return {};
    const bool first = !std::exchange(pausing_, true);
    if (!first) ++untold_;
    steady_at_ = base::Instant::never();
    return {.pause = std::exchange(pause_, std::min(pause_ * 2, kLongestPause)), .tell = first};
  }
  void on_start(base::Instant now) {
    if (pausing_) steady_at_ = now + kSteady;
  }
  // When to ask settled(), unless the translator ends before.
  [[nodiscard]] base::Instant steady_at() const { return steady_at_; }
  // The loop is over: how many of its ends were not told.
  [[nodiscard]] std::uint32_t settled() {
    pausing_ = false;
    pause_ = kFirstPause;
    steady_at_ = base::Instant::never();
    return std::exchange(untold_, 0);
  }
  [[nodiscard]] std::uint32_t untold() const { return untold_; }

 private:
  bool take(base::Instant now) {
    const base::Instant start = std::max(full_at_, now);
    if (start + kOneMoreEvery - now > kAtOnce * kOneMoreEvery) return false;
    full_at_ = start + kOneMoreEvery;
    return true;
  }

  base::Instant full_at_ = base::Instant::from_nanos(INT64_MIN / 2);
  base::Instant steady_at_ = base::Instant::never();
  base::Duration pause_ = kFirstPause;
  std::uint32_t untold_ = 0;
  bool pausing_ = false;
};

}  // namespace cordon::sandbox
