// A hierarchical timer wheel with one timer per slot.
//
// Theory of operation. Four levels of 64 buckets; a tick is 2^20 ns (about 1 ms), so the wheel spans some
// five hours; later deadlines are clamped and come up early. Each slot has one intrusive node: arming,
// cancelling and firing are O(1). Timers are lazy: arming to a later time than already armed does nothing, so
// a timer that is pushed back with each packet costs nothing; it fires at the old time and its owner arms it
// again. A callback therefore always compares its own deadline with the clock. Timers never fire early by the
// clock they were armed with.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "core/base/reserved.h"
#include "core/base/time.h"

namespace cordon::loop {

class TimerWheel {
 public:
  TimerWheel(std::uint32_t slots, base::Instant now);

  // never() leaves the timer as it is.
  void arm(std::uint32_t slot, base::Instant deadline);
  void cancel(std::uint32_t slot);
  // When to wake: not after the earliest armed timer. never() when nothing is armed.
  [[nodiscard]] base::Instant next_deadline() const;

  // Calls fire(slot) for each timer due at `now`; fire() may arm and cancel any slot.
  template <class Fire>
  void fire_until(base::Instant now, Fire&& fire) {
    const std::uint64_t target = floor_tick(now);
    while (current_ < target) {
      const std::uint64_t next = next_tick();
      if (next > target) {
        current_ = target;
        return;
      }
      current_ = next;
      cascade();
      Bucket& due = bucket(0, current_);
      while (due.head != kNone) {
        const std::uint32_t slot = due.head;
        cancel(slot);
        fire(slot);
      }
    }
  }

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr unsigned kLevels = 4;
  static constexpr unsigned kBits = 6;
  static constexpr std::uint64_t kBuckets = 1U << kBits;
  static constexpr unsigned kTickShift = 20;
  struct Node {
    std::uint64_t expiry;  // in ticks; 0: not armed
    std::uint32_t next;
    std::uint32_t previous;
    std::uint32_t place;  // level * kBuckets + index
  };
  struct Bucket {
    std::uint32_t head = kNone;
  };

  static std::uint64_t floor_tick(base::Instant t) {
    return static_cast<std::uint64_t>(t.nanos()) >> kTickShift;
  }
  Bucket& bucket(unsigned level, std::uint64_t tick) {
    return buckets_[level * kBuckets + ((tick >> (level * kBits)) & (kBuckets - 1))];
  }
  [[nodiscard]] std::uint64_t next_tick() const;
  void cascade();
  void insert(std::uint32_t slot, std::uint64_t expiry);

  base::Reserved<Node> nodes_;
  std::array<Bucket, kLevels * kBuckets> buckets_;
  std::array<std::uint64_t, kLevels> occupied_{};
  std::uint64_t current_;
};

}  // namespace cordon::loop
