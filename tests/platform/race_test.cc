// mechanisms 6: an address that comes and goes while a client connects to it. The order "connect, complete,
// drain the netlink socket, look again, only then send" lets no payload byte reach the local service, because
// the kernel announces an IPv4 address before it can be routed to.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/platform/support.h"

namespace {

using namespace cordon::platform;
using Clock = std::chrono::steady_clock;

constexpr const char* kAddress = "192.0.2.9";

// Knows whether kAddress is local from notifications alone.
class Watcher {
 public:
  Watcher() : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)) {
    sockaddr_nl groups{};
    groups.nl_family = AF_NETLINK;
    groups.nl_groups = RTMGRP_IPV4_IFADDR;
    set_option(fd_.get(), SOL_SOCKET, SO_RCVBUF, 1 << 20);
    bind(fd_.get(), reinterpret_cast<const sockaddr*>(&groups), sizeof groups);
  }

  // True if the address is local, or was at any moment since the last call: both deny.
  bool drain() {
    if (leaving_ && !routed_as_local()) leaving_ = false;
    bool seen = local_ || leaving_;
    alignas(nlmsghdr) std::array<char, 16384> buffer;
    while (true) {
      const ssize_t got = recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (got < 0 && errno == ENOBUFS) {
        seen = true;
        continue;
      }
      if (got <= 0) return seen || local_;
      seen |= note(buffer.data(), static_cast<unsigned>(got));
    }
  }

 private:
  bool note(const char* data, unsigned length) {
    bool seen = false;
    const auto* message = reinterpret_cast<const nlmsghdr*>(data);
    while (length >= sizeof(nlmsghdr) && message->nlmsg_len >= sizeof(nlmsghdr) &&
           message->nlmsg_len <= length) {
      // The flipped address is the only one that changes while the watcher lives.
      if (message->nlmsg_type == RTM_NEWADDR || message->nlmsg_type == RTM_DELADDR) {
        local_ = message->nlmsg_type == RTM_NEWADDR;
        leaving_ = !local_;
        seen = true;
      }
      const unsigned step = NLMSG_ALIGN(message->nlmsg_len);
      if (step >= length) break;
      length -= step;
      message = reinterpret_cast<const nlmsghdr*>(reinterpret_cast<const char*>(message) + step);
    }
    return seen;
  }

  // RTM_GETROUTE for kAddress.
  static bool routed_as_local() {
    struct {
      nlmsghdr header;
      rtmsg route;
      rtattr attribute;
      in_addr destination;
    } request{};
    request.header = {.nlmsg_len = sizeof request,
                      .nlmsg_type = RTM_GETROUTE,
                      .nlmsg_flags = NLM_F_REQUEST,
                      .nlmsg_seq = 1,
                      .nlmsg_pid = 0};
    request.route.rtm_family = AF_INET;
    request.route.rtm_dst_len = 32;
    request.attribute = {.rta_len = RTA_LENGTH(sizeof(in_addr)), .rta_type = RTA_DST};
    inet_pton(AF_INET, kAddress, &request.destination);
    struct {
      nlmsghdr header;
      rtmsg route;
      std::array<char, 1024> rest;
    } answer{};
    const Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (send(fd.get(), &request, sizeof request, 0) < 0) return true;
    if (recv(fd.get(), &answer, sizeof answer, 0) < 0) return true;
    return answer.header.nlmsg_type == RTM_NEWROUTE && answer.route.rtm_type == RTN_LOCAL;
  }

  Fd fd_;
  bool local_ = false;
  bool leaving_ = false;  // its removal was announced, its route may still be there
};

struct Counts {
  std::atomic<long> tcp_bytes = 0;
  std::atomic<long> datagrams = 0;
  long denied_before = 0;
  long denied_late = 0;
};

void serve(int listener, int udp, const std::atomic<bool>& stop, Counts& counts) {
  std::array<char, 256> buffer;
  while (!stop) {
    std::array<pollfd, 2> watched{
        {{.fd = listener, .events = POLLIN, .revents = 0}, {.fd = udp, .events = POLLIN, .revents = 0}}};
    poll(watched.data(), watched.size(), 20);
    if (watched[0].revents != 0) {
      const Fd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
      if (fd.valid() && readable(fd.get(), 10)) {
        counts.tcp_bytes += std::max<long>(0, recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT));
      }
    }
    while (recv(udp, buffer.data(), buffer.size(), MSG_DONTWAIT) >= 0) ++counts.datagrams;
  }
}

void try_once(int type, bool check, std::uint16_t port, Watcher& watcher, Counts& counts) {
  if (check && watcher.drain()) {
    ++counts.denied_before;
    return;
  }
  const Fd fd = make_socket(AF_INET, type);
  nonblocking(fd.get());
  if (!connect_to(fd.get(), kAddress, port)) {
    pollfd watched{.fd = fd.get(), .events = POLLOUT, .revents = 0};
    int error = 0;
    socklen_t length = sizeof error;
    if (errno != EINPROGRESS || poll(&watched, 1, 0) != 1) return;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return;
  }
  if (check && watcher.drain()) {
    ++counts.denied_late;
    return;
  }
  send_text(fd.get(), "payload");
}

void run_race(bool check, Counts& counts) {
  Tun uplink(IFF_TUN | IFF_NO_PI);
  REQUIRE(change_address(true, "192.0.2.1", 24, uplink.index()));
  const Fd listener = bound_socket(SOCK_STREAM, "0.0.0.0");
  const Fd udp = bound_socket(SOCK_DGRAM, "0.0.0.0", local_port(listener.get()));
  REQUIRE(udp.valid());
  Watcher watcher;
  std::atomic<bool> stop = false;
  {
    std::jthread server([&] { serve(listener.get(), udp.get(), stop, counts); });
    std::jthread flipper([&] {
      for (bool add = true; !stop; add = !add) {
        change_address(add, kAddress, 32, loopback_index());
        std::this_thread::sleep_for(std::chrono::microseconds(add ? 100 : 500));
      }
      change_address(false, kAddress, 32, loopback_index());
    });
    const auto until = Clock::now() + std::chrono::seconds(2);
    for (bool tcp = true; Clock::now() < until; tcp = !tcp) {
      try_once(tcp ? SOCK_STREAM : SOCK_DGRAM, check, local_port(listener.get()), watcher, counts);
    }
    stop = true;
  }
}

TEST_CASE(
    "platform: without the check after the handshake payload reaches an address that just became local") {
  Counts counts;
  run_race(false, counts);
  CHECK(counts.tcp_bytes + counts.datagrams > 0);
}

TEST_CASE(
    "platform: with the check after the handshake no payload byte reaches an address that just became "
    "local") {
  Counts counts;
  run_race(true, counts);
  CHECK(counts.tcp_bytes == 0);
  CHECK(counts.denied_before + counts.denied_late > 0);
  MESSAGE("late denials: " << counts.denied_late
                           << ", datagrams that slipped through: " << counts.datagrams.load());
}

}  // namespace
