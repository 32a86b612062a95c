// How long a datagram flow may stay silent: 30 s while it is a question or one exchange, 120 s once datagrams
// went both ways after the first answer (what conntrack calls a stream). Pure.
#pragma once

#include "core/base/time.h"

namespace cordon::udp {

struct IdleLimits {
  base::Duration one_way = std::chrono::seconds{30};
  base::Duration stream = std::chrono::seconds{120};
};

class Activity {
 public:
  explicit Activity(base::Instant now) : last_(now) {}
  void on_guest(base::Instant now) {
    last_ = now;
    stream_ = stream_ || answered_;
  }
  void on_host(base::Instant now) {
    last_ = now;
    answered_ = true;
  }
  [[nodiscard]] base::Instant deadline(const IdleLimits& limits) const {
    return last_ + (stream_ ? limits.stream : limits.one_way);
  }
  [[nodiscard]] base::Instant last() const { return last_; }

 private:
  base::Instant last_;
  bool answered_ = false;
  bool stream_ = false;
};

}  // namespace cordon::udp
