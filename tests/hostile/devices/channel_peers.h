// Real peers for the channel storm's broker: services far away, and callers of a published port.
#pragma once

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/hostile/devices/storm.h"
#include "tests/sandbox/broker_rig.h"

namespace cordon::hostile {

constexpr unsigned kService = 7000;    // far away: takes connections, keeps datagrams to itself
constexpr unsigned kPublished = 8080;  // of the guest

// The other ends: they take what comes and close at once, so that nothing of them adds up.
class Peers {
 public:
  Peers() {
    for (const std::string_view address : {"198.51.100.1", "2001:db8:1::1"}) {
      listeners_.push_back(sandbox::test::serve_far(SOCK_STREAM, address, kService, 512));
      datagrams_.push_back(sandbox::test::serve_far(SOCK_DGRAM, address, kService));
    }
  }
  void work() {
    for (const base::Fd& listener : listeners_)
      for (;;) {
        const base::Fd taken{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        if (!taken) break;
        const linger at_once{1, 0};
        ::setsockopt(taken.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      }
    std::array<char, 64> drop{};
    for (const base::Fd& socket : datagrams_)
      while (::recv(socket.get(), drop.data(), drop.size(), MSG_DONTWAIT) >= 0) {
      }
  }
  // Somebody knocks at the published port.
  void knock(Dice& dice) {
    const bool stream = dice.once_in(2);
    const std::string_view address = dice.once_in(2) ? "192.0.2.1" : "2001:db8::1";
    const net::SockAddr to = net::to_sockaddr(sandbox::test::endpoint(address, kPublished));
    base::Fd fd = cordon::test::World::get().far([&] {
      return base::Fd{::socket(to.generic.sa_family,
                               (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    });
    if (::connect(fd.get(), &to.generic, to.length) == 0 && !stream)
      static_cast<void>(!::send(fd.get(), "hello", 5, MSG_DONTWAIT));
    const linger at_once{1, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    callers_.push_back(std::move(fd));
    if (callers_.size() > 8) callers_.erase(callers_.begin());
  }
  void leave() { callers_.clear(); }

 private:
  std::vector<base::Fd> listeners_, datagrams_, callers_;
};

}  // namespace cordon::hostile
