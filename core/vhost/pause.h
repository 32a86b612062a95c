// Workers step out of guest memory while the protocol changes it.
//
// Theory of operation. Each worker but the protocol's own has a seat: inside (it may touch guest memory),
// outside (it waits for events) or parked (it came back while a pause was on, and waits for its end). The
// protocol's thread raises a flag and waits until nobody is inside; a worker that wants in sees the flag and
// parks. Flag and seats are sequentially consistent, so that one of the two always sees the other. After the
// lockdown there is no futex: parked workers wait in read() of an eventfd each, and the protocol's thread
// spins for a moment (a turn is short) and then waits in epoll for an eventfd, for a bounded time.
//
// The protocol's own worker needs no seat: it handles the message within its own turn.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/fd.h"
#include "core/base/time.h"

namespace cordon::vhost {

class Pause;

class PauseSeat {
 public:
  explicit PauseSeat(Pause& pause);
  // The worker's: before and after it waits for events. enter() returns when no pause is on.
  void leave();
  void enter();

 private:
  friend class Pause;
  enum class State : std::uint8_t { kInside, kOutside, kParked };
  Pause& pause_;
  std::atomic<State> state_{State::kInside};
  base::Fd released_;  // the end of a pause, for a parked worker
};

class Pause {
 public:
  // Throws std::system_error: descriptors.
  explicit Pause(unsigned seats);
  [[nodiscard]] PauseSeat& seat(unsigned i) { return *seats_[i]; }

  // False: somebody is still inside after `longest`. The pause is on all the same.
  [[nodiscard]] bool begin(base::Duration longest);
  void end();

 private:
  friend class PauseSeat;
  [[nodiscard]] bool all_out() const;

  std::atomic<bool> on_{false};
  base::Fd left_;  // a worker has left during a pause
  base::Fd epoll_;
  std::vector<std::unique_ptr<PauseSeat>> seats_;
};

}  // namespace cordon::vhost
