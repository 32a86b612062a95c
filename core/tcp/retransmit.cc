#include "core/tcp/retransmit.h"

#include <algorithm>

namespace cordon::tcp {

namespace {
using std::chrono::microseconds;
}

// RFC 6298 section 2.2 and 2.3, alpha = 1/8, beta = 1/4.
void RetransmitTimer::sample(base::Duration rtt) {
  const auto us = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(std::chrono::duration_cast<microseconds>(rtt).count(), 1, 60'000'000));
  if (srtt_us_ == 0) {
    srtt_us_ = us;
    rttvar_us_ = us / 2;
    return;
  }
  const std::uint32_t error = us > srtt_us_ ? us - srtt_us_ : srtt_us_ - us;
  rttvar_us_ = rttvar_us_ - rttvar_us_ / 4 + error / 4;
  srtt_us_ = std::max(1U, srtt_us_ - srtt_us_ / 8 + us / 8);
}

base::Duration RetransmitTimer::current() const {
  base::Duration rto = kInitial;
  if (srtt_us_ != 0) rto = microseconds{std::uint64_t{srtt_us_} + 4 * std::uint64_t{rttvar_us_}};
  rto = std::max(rto, kFloor);
  // shift_ is at most 15: no overflow below the ceiling's clamp (60 s << 15 is far inside 63 bits of
  // nanoseconds).
  return std::min(std::min(rto, kCeiling) * (std::int64_t{1} << shift_), kCeiling);
}

bool RetransmitTimer::back_off() {
  if (tries_ >= kMaxTries) return false;
  ++tries_;
  if (shift_ < kMaxTries) ++shift_;
  return true;
}

}  // namespace cordon::tcp
