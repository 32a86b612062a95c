// mechanisms 3: ways out of a grant by option calls. All are accepted from an unprivileged holder: this is
// the list of reasons for the translator's filter.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <linux/if_tun.h>
#include <linux/ipv6.h>
#include <linux/seg6.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tests/platform/support.h"

namespace {

using namespace cordon::platform;
using Fds = std::span<const int>;

// A segment routing header (RFC 8754 2) of two segments; the kernel sends to the one segments_left names.
std::array<std::uint8_t, 40> routing_header(const char* next) {
  std::array<std::uint8_t, 40> header{};
  header[1] = 4;  // length in units of 8 bytes, without the first
  header[2] = 4;  // type
  header[3] = 1;  // segments left
  header[4] = 1;  // last entry
  inet_pton(AF_INET6, next, header.data() + 24);
  return header;
}

TEST_CASE("platform: IPV6_RTHDR type 4 sends a connected socket's packets to another address") {
  Tun tun(IFF_TUN | IFF_NO_PI);
  REQUIRE(tun.fd() >= 0);
  REQUIRE(change_address(true, "2001:db8:3::1", 64, tun.index()));
  const Fd socket = make_socket(AF_INET6, SOCK_DGRAM);
  REQUIRE(connect_to(socket.get(), "2001:db8:3::9", 9));
  const long accepted = in_holder(std::array{socket.get()}, [](Fds fds) {
    const auto header = routing_header("2001:db8:3::bad");
    if (setsockopt(fds[0], IPPROTO_IPV6, IPV6_RTHDR, header.data(), header.size()) != 0) {
      return -static_cast<long>(errno);
    }
    return result_of(send(fds[0], "x", 1, 0));
  });
  REQUIRE(accepted == 1);
  std::array<std::uint8_t, 16> granted{};
  std::array<std::uint8_t, 16> other{};
  inet_pton(AF_INET6, "2001:db8:3::9", granted.data());
  inet_pton(AF_INET6, "2001:db8:3::bad", other.data());
  bool left_for_other = false;
  for (int i = 0; i < 20 && !left_for_other; ++i) {
    const auto packet = tun.next_packet(6, 300);
    if (packet.size() < 40) break;
    CHECK(std::memcmp(packet.data() + 24, granted.data(), 16) != 0);
    left_for_other = std::memcmp(packet.data() + 24, other.data(), 16) == 0;
  }
  CHECK(left_for_other);
}

TEST_CASE("platform: options that change egress or cost are accepted from a holder") {
  struct Case {
    std::string_view name;
    Holder::Step step;
  };
  const std::array cases{
      Case{"SO_BINDTOIFINDEX",
           [](Fds fds) { return set_option(fds[1], SOL_SOCKET, SO_BINDTOIFINDEX, 1) ? 0L : errno; }},
      Case{"SO_BROADCAST",
           [](Fds fds) { return set_option(fds[1], SOL_SOCKET, SO_BROADCAST, 1) ? 0L : errno; }},
      Case{"SO_DONTROUTE",
           [](Fds fds) { return set_option(fds[1], SOL_SOCKET, SO_DONTROUTE, 1) ? 0L : errno; }},
      Case{"IP_FREEBIND",
           [](Fds fds) { return set_option(fds[1], IPPROTO_IP, IP_FREEBIND, 1) ? 0L : errno; }},
      Case{"IP_ADD_MEMBERSHIP",
           [](Fds fds) {
             ip_mreqn group{};
             group.imr_ifindex = 1;
             inet_pton(AF_INET, "239.1.2.3", &group.imr_multiaddr);
             return setsockopt(fds[1], IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) == 0 ? 0L : errno;
           }},
      Case{"TCP_CONGESTION",
           [](Fds fds) {
             return setsockopt(fds[0], IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0 ? 0L : errno;
           }},
      Case{"SO_ZEROCOPY",
           [](Fds fds) { return set_option(fds[0], SOL_SOCKET, SO_ZEROCOPY, 1) ? 0L : errno; }},
      Case{"SO_RCVBUF",
           [](Fds fds) { return set_option(fds[1], SOL_SOCKET, SO_RCVBUF, 32 << 20) ? 0L : errno; }},
      Case{"SO_LINGER",
           [](Fds fds) {
             const linger slow{.l_onoff = 1, .l_linger = 30};
             return setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &slow, sizeof slow) == 0 ? 0L : errno;
           }},
  };
  for (const Case& test : cases) {
    CAPTURE(test.name);
    const Pair tcp = tcp_pair();
    const Fd udp = make_socket(AF_INET, SOCK_DGRAM);
    CHECK(in_holder(std::array{tcp.client.get(), udp.get()}, test.step) == 0);
    const linger none{.l_onoff = 0, .l_linger = 0};
    setsockopt(tcp.client.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  }
}

TEST_CASE("platform: SIOCGIFCONF on a flow socket lists the broker's interfaces and addresses") {
  const Fd udp = make_socket(AF_INET, SOCK_DGRAM);
  CHECK(in_holder(std::array{udp.get()}, [](Fds fds) {
          std::array<ifreq, 16> entries{};
          ifconf request{};
          request.ifc_len = sizeof entries;
          request.ifc_req = entries.data();
          if (ioctl(fds[0], SIOCGIFCONF, &request) != 0) return -static_cast<long>(errno);
          return request.ifc_len >= static_cast<int>(sizeof(ifreq)) &&
                         entries[0].ifr_name == std::string_view("lo")
                     ? 1L
                     : 0L;
        }) == 1);
}

TEST_CASE("platform: the holder of a tap may change its address and make it outlive everybody") {
  Tun tap(IFF_TAP | IFF_NO_PI);
  REQUIRE(tap.fd() >= 0);
  const std::string name = tap.name();
  CHECK(in_holder(std::array{tap.fd()}, [name](Fds fds) {
          ifreq request{};
          request.ifr_hwaddr.sa_family = 1;
          request.ifr_hwaddr.sa_data[0] = 2;
          request.ifr_hwaddr.sa_data[5] = 9;
          return result_of(ioctl(fds[0], SIOCSIFHWADDR, &request));
        }) == 0);
  CHECK(in_holder(std::array{tap.fd()}, [](Fds fds) { return result_of(ioctl(fds[0], TUNSETPERSIST, 1)); }) ==
        0);
  CHECK(ioctl(tap.fd(), TUNSETPERSIST, 0) == 0);
}

TEST_CASE("platform: a ping socket also sends ICMP type 42, the extended echo request") {
  Tun tun(IFF_TUN | IFF_NO_PI);
  REQUIRE(change_address(true, "192.0.2.1", 24, tun.index()));
  const Fd ping(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP));
  REQUIRE(connect_to(ping.get(), "192.0.2.9", 0));
  CHECK(in_holder(std::array{ping.get()}, [](Fds fds) {
          icmphdr header{};
          header.type = 42;
          return result_of(send(fds[0], &header, sizeof header, 0));
        }) == sizeof(icmphdr));
  const auto packet = tun.next_packet(4, 500);
  REQUIRE(packet.size() >= 28);
  CHECK(packet[20] == 42);
}

}  // namespace
