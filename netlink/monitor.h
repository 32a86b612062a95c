// The live host state of this network namespace.
//
// Order matters: the monitor joins the multicast groups first and dumps second, so nothing falls between. The
// kernel queues the announcement of a new address on our socket before it makes the address local; whoever
// drains the socket after a connection stands therefore knows every address that could have caught it.
// drain() costs one system call when nothing happened.
//
// Lost announcements (ENOBUFS) make the state stale: drain() reads the queue empty and dumps again at once;
// if that fails it says kStale (the caller refuses) and the next drain() tries again.
#pragma once

#include <cstdint>

#include "core/base/error.h"
#include "core/base/time.h"
#include "netlink/fib.h"
#include "netlink/host_state.h"
#include "netlink/route_socket.h"

namespace cordon::netlink {

enum class DrainResult : std::uint8_t { kUnchanged, kChanged, kStale };

class Monitor {
 public:
  static base::Result<Monitor> open(base::Instant now);

  DrainResult drain(base::Instant now);
  // Rule Q's clock; call about once a second. True: the state changed.
  bool expire(base::Instant now) { return state_.expire(now); }
  [[nodiscard]] const HostState& state() const { return state_; }
  [[nodiscard]] Fib& fib() { return fib_; }
  [[nodiscard]] int poll_fd() const { return events_.fd(); }
  [[nodiscard]] bool stale() const { return stale_; }
  [[nodiscard]] std::uint64_t overruns() const { return overruns_; }

 private:
  Monitor(RouteSocket events, RouteSocket dumps, Fib fib)
      : events_(std::move(events)), dumps_(std::move(dumps)), fib_(std::move(fib)) {}
  base::Result<void> dump(base::Instant now);

  RouteSocket events_;
  RouteSocket dumps_;
  Fib fib_;
  HostState state_;
  bool stale_ = true;
  HostState::Effect dump_effect_;
  std::uint64_t overruns_ = 0;
};

}  // namespace cordon::netlink
