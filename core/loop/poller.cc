#include "core/loop/poller.h"

#include <algorithm>
#include <system_error>

namespace cordon::loop {
namespace {

constexpr base::Duration kFirstWindow = std::chrono::microseconds{10};

int to_milliseconds(base::Duration timeout) {
  // Rounded up: waking early would turn the last millisecond into a spin.
  const auto ms = (timeout.count() + 999'999) / 1'000'000;
  return static_cast<int>(std::clamp<std::int64_t>(ms, 0, 3'600'000));
}

}  // namespace

Poller::Poller(base::Duration longest)
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), longest_(longest), events_{} {
  if (!epoll_.valid()) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

bool Poller::add(int fd, std::uint32_t events, Token token) {
  epoll_event event{events, {.u64 = token.pack()}};
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

bool Poller::modify(int fd, std::uint32_t events, Token token) {
  epoll_event event{events, {.u64 = token.pack()}};
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0;
}

void Poller::remove(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

std::span<const epoll_event> Poller::look(int timeout_ms) {
  const int n = ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), timeout_ms);
  // EINTR is an empty turn.
  return std::span<const epoll_event>(events_).first(static_cast<std::size_t>(std::max(n, 0)));
}

std::span<const epoll_event> Poller::sleep(base::Duration timeout) {
  const auto found = look(to_milliseconds(timeout));
  if (base::monotonic_now() - began_ <= longest_)
    window_ = std::clamp(window_ * 2, std::min(kFirstWindow, longest_), longest_);
  else
    window_ = window_ / 2 < kFirstWindow ? base::Duration::zero() : window_ / 2;
  return found;
}

}  // namespace cordon::loop
