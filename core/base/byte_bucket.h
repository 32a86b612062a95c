// A token bucket of bytes that several threads may draw from. Pure: time is an argument.
//
// One number holds the state: the time at which the bucket is full again (GCRA). Who does not know how much
// it will take asks available(), takes, and charges afterwards; a charge that exceeds what was there is a
// debt, so that the rate holds over time whatever the sizes. A clock that jumps fills the bucket once and no
// further.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>

#include "core/base/time.h"

namespace cordon::base {

class ByteBucket {
 public:
  // What may pass at once: a tenth of a second's worth, but never less than one datagram of any size.
  [[nodiscard]] static constexpr std::uint64_t burst_of(std::uint64_t rate) {
    return std::max<std::uint64_t>(rate / 10, 65536);
  }

  // Bytes per second, at least 1. What was spent stays spent.
  void set_rate(std::uint64_t rate) {
    rate_.store(std::max<std::uint64_t>(rate, 1), std::memory_order_relaxed);
  }
  // The same while others draw: what is owed is owed in bytes, and never more than a burst of the new rate.
  void change_rate(std::uint64_t rate, Instant now) {
    rate = std::max<std::uint64_t>(rate, 1);
    const std::uint64_t before = rate_.exchange(rate, std::memory_order_relaxed);
    std::int64_t full = full_at_.load(std::memory_order_relaxed);
    while (before != rate && full > now.nanos()) {
      const double owed =
          std::min(static_cast<double>(full - now.nanos()) * static_cast<double>(before) / 1e9,
                   static_cast<double>(burst_of(rate)));
      const auto wait = static_cast<std::int64_t>(owed * 1e9 / static_cast<double>(rate));
      if (full_at_.compare_exchange_weak(full, now.nanos() + wait, std::memory_order_relaxed)) return;
    }
  }
  [[nodiscard]] std::uint64_t rate() const { return rate_.load(std::memory_order_relaxed); }

  [[nodiscard]] std::uint64_t available(Instant now) const {
    const std::uint64_t rate = this->rate();
    const std::uint64_t burst = burst_of(rate);
    const std::int64_t spent = full_at_.load(std::memory_order_relaxed) - now.nanos();
    if (spent <= 0) return burst;
    const double taken = static_cast<double>(spent) * static_cast<double>(rate) / 1e9;
    return taken >= static_cast<double>(burst) ? 0 : burst - static_cast<std::uint64_t>(taken);
  }
  void charge(std::uint64_t bytes, Instant now) {
    const std::int64_t cost = nanos_for(bytes);
    std::int64_t full = full_at_.load(std::memory_order_relaxed);
    while (!full_at_.compare_exchange_weak(full, std::max(full, now.nanos()) + cost,
                                           std::memory_order_relaxed)) {
    }
  }
  // When `bytes` (at most the burst) will be available; now or earlier: they are.
  [[nodiscard]] Instant due(std::uint64_t bytes) const {
    const std::uint64_t burst = burst_of(rate());
    const std::int64_t full = full_at_.load(std::memory_order_relaxed);
    return Instant::from_nanos(full - nanos_for(burst - std::min(bytes, burst)) + 2);
  }

 private:
  // Rounded up, so that what was due is there.
  [[nodiscard]] std::int64_t nanos_for(std::uint64_t bytes) const {
    return static_cast<std::int64_t>(
        std::ceil(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate())));
  }

  std::atomic<std::uint64_t> rate_{1};
  std::atomic<std::int64_t> full_at_{INT64_MIN / 2};
};

}  // namespace cordon::base
