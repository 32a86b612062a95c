// A token bucket: `burst` at once, then `per_second`. Pure: time is an argument.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/base/time.h"

namespace cordon::base {

class TokenBucket {
 public:
  TokenBucket(std::uint32_t per_second, std::uint32_t burst)
      : interval_(std::int64_t{1'000'000'000} / std::max<std::uint32_t>(per_second, 1)),
        depth_(interval_ * std::max<std::uint32_t>(burst, 1)) {}

  // True: a token was there and is gone. (GCRA: `full_at_` is the time at which the bucket is full again.)
  [[nodiscard]] bool take(Instant now) {
    const Instant start = std::max(full_at_, now);
    if (start + interval_ - now > depth_) return false;
    full_at_ = start + interval_;
    return true;
  }

 private:
  Duration interval_;
  Duration depth_;
  Instant full_at_ = Instant::from_nanos(INT64_MIN / 2);
};

}  // namespace cordon::base
