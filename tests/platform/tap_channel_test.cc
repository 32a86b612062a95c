// mechanisms 1, 7 and 8: the tap's offload rules and what a SEQPACKET channel holds.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tests/platform/support.h"

namespace {

using namespace cordon::platform;
using Fds = std::span<const int>;

constexpr unsigned kBase = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
constexpr unsigned kUso4 = 0x20;  // TUN_F_USO4 and 6: newer than Debian 12's headers
constexpr unsigned kUso6 = 0x40;

TEST_CASE("platform: a tap takes UDP segmentation for both families or for none") {
  Tun tap(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
  REQUIRE(tap.fd() >= 0);
  const auto offload = [&](unsigned bits) {
    return in_holder(std::array{tap.fd()},
                     [bits](Fds fds) { return result_of(ioctl(fds[0], TUNSETOFFLOAD, bits)); });
  };
  CHECK(offload(kBase) == 0);
  if (offload(kBase | kUso4 | kUso6) != 0) {
    skip("TUNSETOFFLOAD with USO4 and USO6 (Linux 6.2)");
    return;
  }
  CHECK(offload(kBase | kUso4) == -EINVAL);
  CHECK(offload(kBase | kUso6) == -EINVAL);
  CHECK(offload(0) == 0);
}

TEST_CASE("platform: a tap has two queues") {
  Tun first(IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE);
  REQUIRE(first.fd() >= 0);
  const Fd second(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE;
  std::strncpy(request.ifr_name, first.name().c_str(), IFNAMSIZ - 1);
  CHECK(ioctl(second.get(), TUNSETIFF, &request) == 0);
}

TEST_CASE("platform: a tap that is down gives EIO") {
  const Fd tap(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  REQUIRE(ioctl(tap.get(), TUNSETIFF, &request) == 0);
  const std::array<char, 60> frame{};
  CHECK(write(tap.get(), frame.data(), frame.size()) == -1);
  CHECK(errno == EIO);
}

TEST_CASE("platform: a full SEQPACKET channel says EAGAIN and loses nothing") {
  std::array<int, 2> ends{};
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const Fd near(ends[0]);
  const Fd far(ends[1]);
  std::array<std::uint32_t, 16> message{};
  std::uint32_t sent = 0;
  for (; sent < 100'000; ++sent) {
    message[0] = sent;
    if (send(near.get(), message.data(), sizeof message, 0) < 0) break;
  }
  CHECK(errno == EAGAIN);
  CHECK(sent >= 64);  // 278 with the default buffer
  for (std::uint32_t i = 0; i < sent; ++i) {
    REQUIRE(recv(far.get(), message.data(), sizeof message, 0) == sizeof message);
    REQUIRE(message[0] == i);
  }
  CHECK(recv(far.get(), message.data(), sizeof message, 0) == -1);
}

TEST_CASE("platform: one message of 65,600 bytes passes with a raised send buffer") {
  std::array<int, 2> ends{};
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const Fd near(ends[0]);
  const Fd far(ends[1]);
  REQUIRE(set_option(near.get(), SOL_SOCKET, SO_SNDBUF, 400'000));
  const std::string message(65'600, 'm');
  REQUIRE(send_text(near.get(), message));
  std::string received(70'000, '\0');
  CHECK(recv(far.get(), received.data(), received.size(), 0) == 65'600);
}

}  // namespace
