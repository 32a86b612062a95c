#include "core/vhost/calls.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace cordon::vhost {

void notify(int event) {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event, &one, sizeof one));
}

Calls::Calls() : rooms_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!rooms_) throw std::system_error(errno, std::generic_category(), "epoll of a queue pair's calls");
}

void Calls::set(int receive, int transmit) {
  for (const Call& call : calls_)
    if (call.blocks) ::epoll_ctl(rooms_.get(), EPOLL_CTL_DEL, call.fd, nullptr);
  calls_ = {Call{receive}, Call{transmit}};
  for (Call& call : calls_) {
    if (call.fd < 0) continue;
    const int flags = ::fcntl(call.fd, F_GETFL);
    call.blocks = flags < 0 || (flags & O_NONBLOCK) == 0;
    epoll_event event{.events = EPOLLOUT, .data = {.fd = call.fd}};
    // Both queues may have the same one: it is there already.
    if (call.blocks) ::epoll_ctl(rooms_.get(), EPOLL_CTL_ADD, call.fd, &event);
  }
}

bool Calls::has_room(int fd) {
  std::array<epoll_event, 2> events{};
  const int count = ::epoll_wait(rooms_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i)
    if (const epoll_event& event = events[static_cast<std::size_t>(i)];
        event.data.fd == fd && (event.events & EPOLLOUT) != 0)
      return true;
  return false;
}

bool Calls::call(const Call& call) {
  if (call.fd >= 0 && (!call.blocks || has_room(call.fd))) notify(call.fd);
  return call.fd >= 0;
}

}  // namespace cordon::vhost
