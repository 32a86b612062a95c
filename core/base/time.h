// Instant and Duration: monotonic time with units. Logic takes `Instant now` as an argument; only the shells
// (loop, broker, launcher) read the clock, by monotonic_now().
#pragma once

#include <time.h>

#include <chrono>
#include <compare>
#include <cstdint>

namespace cordon::base {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;

// Nanoseconds of CLOCK_MONOTONIC; also what tests invent.
class Instant {
 public:
  constexpr Instant() = default;
  static constexpr Instant from_nanos(std::int64_t nanos) {
    Instant instant;
    instant.nanos_ = nanos;
    return instant;
  }
  static constexpr Instant never() { return from_nanos(INT64_MAX); }
  [[nodiscard]] constexpr std::int64_t nanos() const { return nanos_; }

  friend constexpr auto operator<=>(Instant, Instant) = default;
  friend constexpr Instant operator+(Instant instant, Duration d) {
    return from_nanos(instant.nanos_ + d.count());
  }
  friend constexpr Instant operator-(Instant instant, Duration d) {
    return from_nanos(instant.nanos_ - d.count());
  }
  friend constexpr Duration operator-(Instant a, Instant b) { return Duration{a.nanos_ - b.nanos_}; }

 private:
  std::int64_t nanos_ = 0;
};

inline Instant monotonic_now() {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return Instant::from_nanos(std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec);
}

// CLOCK_REALTIME, microseconds: for dates in a policy and for records. It may jump.
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;

inline WallTime wall_now() {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

}  // namespace cordon::base
