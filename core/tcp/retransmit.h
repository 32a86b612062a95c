// Retransmission time-out (RFC 6298) with constants for a link that is memory.
//
// The floor is 60 ms, not the RFC's 1 s: the path to the guest has no queue worth the name, but the guest's
// own delayed ACK (40 ms in Linux) must fit below it, or every odd tail would be sent twice. The ceiling is
// 60 s. Fifteen unanswered tries take about four minutes: a guest that is paused for a snapshot keeps its
// connections.
#pragma once

#include <cstdint>

#include "core/base/time.h"

namespace cordon::tcp {

class RetransmitTimer {
 public:
  static constexpr base::Duration kFloor = std::chrono::milliseconds{60};
  static constexpr base::Duration kCeiling = std::chrono::seconds{60};
  static constexpr base::Duration kInitial = std::chrono::seconds{1};  // RFC 6298 2.1, until the first sample
  static constexpr std::uint8_t kMaxTries = 15;

  void sample(base::Duration rtt);
  [[nodiscard]] base::Duration current() const;  // with back-off
  // One more try went unanswered; false when that was the last.
  [[nodiscard]] bool back_off();
  void answered() {
    tries_ = 0;
  }  // the guest lives, but nothing moved (zero-window probes go on, ever slower)
  void progress() { tries_ = shift_ = 0; }
  [[nodiscard]] bool backing_off() const { return shift_ > 0; }

 private:
  std::uint32_t srtt_us_ = 0;  // 0: no sample yet
  std::uint32_t rttvar_us_ = 0;
  std::uint8_t shift_ = 0;
  std::uint8_t tries_ = 0;
};

}  // namespace cordon::tcp
