// Is there a packet filter behind us (contrib/nftables) that holds back what our sockets send to this host?
//
// Found out by trying, as no privilege is left to read the rules: a datagram from a socket of our own to
// itself, over the loopback address. A filter that knows our sockets refuses it inside the call (EPERM);
// without one it is there at once. Nothing leaves the machine. The socket must be made as those of flows are:
// by the same process, after it has its final identity, because that is what the filter goes by.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/base/time.h"

namespace cordon::app {

enum class Backstop : std::uint8_t {
  kUnknown,  // no loopback to try, or what was sent got lost on its way
  kNone,
  kPartial,  // for one address family only
  kActive
};
[[nodiscard]] std::string_view to_string(Backstop backstop);

// Some ten system calls; waits at most a millisecond for each family.
[[nodiscard]] Backstop look_for_backstop();
// What both families together mean; one that this machine does not have is kUnknown.
[[nodiscard]] Backstop combine(Backstop v4, Backstop v6);

// Filters come and go while we run.
class BackstopWatch {
 public:
  static constexpr base::Duration kPeriod = std::chrono::minutes{1};

  // True: it is another one than before.
  bool look(base::Instant now) {
    const Backstop before = state_;
    state_ = look_for_backstop();
    due_ = now + kPeriod;
    return state_ != before;
  }
  [[nodiscard]] Backstop state() const { return state_; }
  [[nodiscard]] base::Instant due() const { return due_; }

 private:
  Backstop state_ = Backstop::kUnknown;
  base::Instant due_ = base::Instant::never();  // until the first look
};

}  // namespace cordon::app
