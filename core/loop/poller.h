// Poller: epoll with typed tokens and an adaptive busy poll.
//
// Theory of operation. What an fd is for travels in epoll_event.data: a kind, a slot and its generation, so
// there is no map from fd to object and an event of a reused slot is recognised as stale. Waiting first spins
// with a zero timeout for `window`, then sleeps. The window follows what sleeping cost: a sleep that ended
// within `longest` would have been shorter as a spin, so the window grows; a long one shows idleness, so it
// shrinks to nothing. An idle process therefore never spins, and no timerfd is needed: the sleep's timeout is
// the timer wheel's next deadline.
#pragma once

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"

namespace cordon::loop {

struct Token {
  enum class Kind : std::uint8_t { kLink, kFlow, kSource };
  Kind kind = Kind::kLink;
  std::uint32_t slot = 0;  // 24 bits
  std::uint32_t generation = 0;
  friend constexpr bool operator==(const Token&, const Token&) = default;
  [[nodiscard]] constexpr std::uint64_t pack() const {
    return static_cast<std::uint64_t>(kind) | (std::uint64_t{slot} << 8U) |
           (std::uint64_t{generation} << 32U);
  }
  static constexpr Token unpack(std::uint64_t raw) {
    return {static_cast<Kind>(raw & 0xffU), static_cast<std::uint32_t>(raw >> 8U) & 0xffffffU,
            static_cast<std::uint32_t>(raw >> 32U)};
  }
};

class Poller {
 public:
  // `longest`: bound of one busy poll; zero never spins.
  explicit Poller(base::Duration longest);

  [[nodiscard]] bool add(int fd, std::uint32_t events, Token token);
  [[nodiscard]] bool modify(int fd, std::uint32_t events, Token token);
  // Before the fd is closed: the broker's dup keeps the file alive, and a forgotten entry would report for
  // ever.
  void remove(int fd);

  // Events of one turn, valid until the next call. `timeout` zero: only look.
  [[nodiscard]] std::span<const epoll_event> wait(base::Duration timeout) {
    const auto found = spin(timeout);
    return found.empty() && timeout > base::Duration::zero() ? sleep(timeout) : found;
  }
  // The two halves of wait(), for who has something to do before it sleeps.
  // Spinning ends, too, when `found` says so: input that no fd tells of.
  template <class Found>
  [[nodiscard]] std::span<const epoll_event> spin(base::Duration timeout, Found found) {
    if (timeout <= base::Duration::zero()) return look(0);
    began_ = base::monotonic_now();
    if (!busy()) return {};
    const base::Duration longest = std::min(window_, timeout);
    do {
      if (const auto events = look(0); !events.empty() || found()) return events;
    } while (base::monotonic_now() - began_ < longest);
    return {};
  }
  [[nodiscard]] std::span<const epoll_event> spin(base::Duration timeout) {
    return spin(timeout, [] { return false; });
  }
  [[nodiscard]] std::span<const epoll_event> sleep(base::Duration timeout);
  // Traffic is so dense that the next spin will probably find some.
  [[nodiscard]] bool busy() const { return window_ > base::Duration::zero(); }

 private:
  static constexpr std::size_t kEvents = 256;
  std::span<const epoll_event> look(int timeout_ms);

  base::Fd epoll_;
  base::Duration longest_;
  base::Duration window_{};
  base::Instant began_;  // the spin before the sleep
  std::array<epoll_event, kEvents> events_;
};

}  // namespace cordon::loop
