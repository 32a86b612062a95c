#include "core/vhost/pause.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace cordon::vhost {
namespace {

constexpr unsigned kSpins = 2000;
constexpr int kLookAgainMs = 5;

base::Fd make_event(int flags) {
  base::Fd fd{::eventfd(0, EFD_CLOEXEC | flags)};
  if (!fd) throw std::system_error(errno, std::generic_category(), "eventfd");
  return fd;
}

void ring(const base::Fd& event) {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event.get(), &one, sizeof one));
}

}  // namespace

PauseSeat::PauseSeat(Pause& pause) : pause_(pause), released_(make_event(0)) {}

void PauseSeat::leave() {
  state_.store(State::kOutside, std::memory_order_seq_cst);
  if (pause_.on_.load(std::memory_order_seq_cst)) ring(pause_.left_);
}

void PauseSeat::enter() {
  for (;;) {
    state_.store(State::kInside, std::memory_order_seq_cst);
    if (!pause_.on_.load(std::memory_order_seq_cst)) return;
    state_.store(State::kParked, std::memory_order_seq_cst);
    ring(pause_.left_);
    // The end of the pause releases who it finds parked. It may have passed already.
    State parked = State::kParked;
    if (!pause_.on_.load(std::memory_order_seq_cst) &&
        state_.compare_exchange_strong(parked, State::kInside, std::memory_order_seq_cst))
      continue;
    std::uint64_t count = 0;
    static_cast<void>(!::read(released_.get(), &count, sizeof count));
  }
}

Pause::Pause(unsigned seats) : left_(make_event(EFD_NONBLOCK)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  epoll_event event{};
  event.events = EPOLLIN;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, left_.get(), &event) != 0)
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  for (unsigned i = 0; i < seats; ++i) seats_.push_back(std::make_unique<PauseSeat>(*this));
}

bool Pause::all_out() const {
  return std::ranges::none_of(seats_, [](const auto& seat) {
    return seat->state_.load(std::memory_order_seq_cst) == PauseSeat::State::kInside;
  });
}

bool Pause::begin(base::Duration longest) {
  on_.store(true, std::memory_order_seq_cst);
  for (unsigned i = 0; i < kSpins; ++i)
    if (all_out()) return true;
  const base::Instant until = base::monotonic_now() + longest;
  while (!all_out()) {
    if (base::monotonic_now() >= until) return false;
    epoll_event event{};
    if (::epoll_wait(epoll_.get(), &event, 1, kLookAgainMs) <= 0) continue;
    std::uint64_t count = 0;
    static_cast<void>(!::read(left_.get(), &count, sizeof count));
  }
  return true;
}

void Pause::end() {
  on_.store(false, std::memory_order_seq_cst);
  for (const auto& seat : seats_) {
    PauseSeat::State parked = PauseSeat::State::kParked;
    if (seat->state_.compare_exchange_strong(parked, PauseSeat::State::kInside, std::memory_order_seq_cst))
      ring(seat->released_);
  }
}

}  // namespace cordon::vhost
