// mechanisms 1: what a socket handed to a process in empty namespaces can still do.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tests/platform/support.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

namespace {

using namespace cordon::platform;
using Fds = std::span<const int>;

TEST_CASE("platform: a holder finishes a handshake the broker started") {
  const Fd listener = bound_socket(SOCK_STREAM, "127.0.0.1");
  const Fd client = make_socket(AF_INET, SOCK_STREAM);
  nonblocking(client.get());
  connect_to(client.get(), "127.0.0.1", local_port(listener.get()));
  CHECK(in_holder(std::array{client.get()}, [](Fds fds) {
          pollfd watched{.fd = fds[0], .events = POLLOUT, .revents = 0};
          poll(&watched, 1, 1000);
          int error = -1;
          socklen_t length = sizeof error;
          getsockopt(fds[0], SOL_SOCKET, SO_ERROR, &error, &length);
          return error == 0 && send_text(fds[0], "hello") ? 0L : 1L;
        }) == 0);
  const Fd server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  CHECK(receive_text(server.get()) == "hello");
}

TEST_CASE("platform: a holder sees why a handshake failed") {
  const Fd listener = bound_socket(SOCK_STREAM, "127.0.0.1");
  const std::uint16_t port = local_port(listener.get());
  Fd client = make_socket(AF_INET, SOCK_STREAM);
  shutdown(listener.get(), SHUT_RDWR);  // the port is kept, nobody listens
  nonblocking(client.get());
  connect_to(client.get(), "127.0.0.1", port);
  CHECK(in_holder(std::array{client.get()}, [](Fds fds) {
          int error = -1;
          socklen_t length = sizeof error;
          getsockopt(fds[0], SOL_SOCKET, SO_ERROR, &error, &length);
          // The kernel may have told the broker's connect() already; then sending says so.
          return error != 0 ? error : (send_text(fds[0], "x") ? 0 : errno);
        }) != 0);
}

TEST_CASE("platform: options and ioctls the translator uses work in a holder") {
  const Pair tcp = tcp_pair();
  const Fd udp = bound_socket(SOCK_DGRAM, "127.0.0.1");
  struct Case {
    std::string_view name;
    Holder::Step step;
  };
  const std::array cases{
      Case{"TCP_INFO",
           [](Fds fds) {
             tcp_info info{};
             socklen_t length = sizeof info;
             return result_of(getsockopt(fds[0], IPPROTO_TCP, TCP_INFO, &info, &length));
           }},
      Case{"SO_MEMINFO",
           [](Fds fds) {
             std::array<std::uint32_t, 16> info{};
             socklen_t length = sizeof info;
             return result_of(getsockopt(fds[0], SOL_SOCKET, SO_MEMINFO, info.data(), &length));
           }},
      Case{"SIOCOUTQ",
           [](Fds fds) {
             int value = 0;
             return result_of(ioctl(fds[0], SIOCOUTQ, &value));
           }},
      Case{"SIOCINQ",
           [](Fds fds) {
             int value = 0;
             return result_of(ioctl(fds[0], SIOCINQ, &value));
           }},
      Case{"SO_PEEK_OFF", [](Fds fds) { return set_option(fds[0], SOL_SOCKET, SO_PEEK_OFF, 0) ? 0L : -1L; }},
      Case{"TCP_NOTSENT_LOWAT",
           [](Fds fds) { return set_option(fds[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, 131072) ? 0L : -1L; }},
      Case{"UDP_GRO", [](Fds fds) { return set_option(fds[1], IPPROTO_UDP, UDP_GRO, 1) ? 0L : -1L; }},
      Case{"IP_TTL", [](Fds fds) { return set_option(fds[1], IPPROTO_IP, IP_TTL, 7) ? 0L : -1L; }},
      Case{"MSG_ERRQUEUE",
           [](Fds fds) {
             char byte = 0;
             iovec part{.iov_base = &byte, .iov_len = 1};
             msghdr message{};
             message.msg_iov = &part;
             message.msg_iovlen = 1;
             return recvmsg(fds[1], &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0 && errno == EAGAIN ? 0L : -1L;
           }},
  };
  for (const Case& test : cases) {
    CAPTURE(test.name);
    CHECK(in_holder(std::array{tcp.client.get(), udp.get()}, test.step) == 0);
  }
}

TEST_CASE("platform: a ping socket works in a holder") {
  const Fd icmp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP));
  REQUIRE(icmp.valid());
  REQUIRE(connect_to(icmp.get(), "127.0.0.1", 0));
  const long received = in_holder(std::array{icmp.get()}, [](Fds fds) {
    icmphdr echo{};
    echo.type = ICMP_ECHO;
    echo.un.echo.sequence = htons(7);
    if (send(fds[0], &echo, sizeof echo, 0) != sizeof echo) return -static_cast<long>(errno);
    if (!readable(fds[0], 1000) || recv(fds[0], &echo, sizeof echo, 0) != sizeof echo) return -1L;
    return echo.type == ICMP_ECHOREPLY && ntohs(echo.un.echo.sequence) == 7 ? 0L : -2L;
  });
  CHECK(received == 0);
}

TEST_CASE("platform: splice moves bytes socket - pipe - socket in a holder") {
  const Pair from = tcp_pair();
  const Pair to = tcp_pair();
  REQUIRE(send_text(from.server.get(), "spliced"));
  CHECK(in_holder(std::array{from.client.get(), to.client.get()}, [](Fds fds) {
          std::array<int, 2> ends{};
          if (pipe(ends.data()) != 0) return -static_cast<long>(errno);
          const ssize_t in = splice(fds[0], nullptr, ends[1], nullptr, 100, 0);
          return static_cast<long>(
              splice(ends[0], nullptr, fds[1], nullptr, static_cast<std::size_t>(in), 0));
        }) == 7);
  CHECK(receive_text(to.server.get()) == "spliced");
}

TEST_CASE("platform: UDP_SEGMENT takes 128 segments, not 129") {
  const Fd server = bound_socket(SOCK_DGRAM, "127.0.0.1");
  const Fd client = make_socket(AF_INET, SOCK_DGRAM);
  REQUIRE(connect_to(client.get(), "127.0.0.1", local_port(server.get())));
  const auto send_segments = [&](long count) {
    return in_holder(std::array{client.get()}, [count](Fds fds) {
      if (!set_option(fds[0], IPPROTO_UDP, UDP_SEGMENT, 10)) return -static_cast<long>(errno);
      const std::string data(static_cast<std::size_t>(count) * 10, 's');
      return result_of(write(fds[0], data.data(), data.size()));
    });
  };
  CHECK(send_segments(128) == 1280);
  CHECK(send_segments(129) == -EINVAL);
  int datagrams = 0;
  while (receive_text(server.get(), 100) == "ssssssssss") ++datagrams;
  CHECK(datagrams == 128);
}

TEST_CASE("platform: a UDP segment above the MTU is EMSGSIZE; without segmentation it is sent in fragments") {
  Tun tun(IFF_TUN | IFF_NO_PI);
  REQUIRE(tun.fd() >= 0);
  REQUIRE(change_address(true, "192.0.2.1", 24, tun.index()));
  const Fd client = make_socket(AF_INET, SOCK_DGRAM);
  REQUIRE(connect_to(client.get(), "192.0.2.9", 9));
  const auto send_with = [&](int segment) {
    return in_holder(std::array{client.get()}, [segment](Fds fds) {
      if (!set_option(fds[0], IPPROTO_UDP, UDP_SEGMENT, segment)) return -static_cast<long>(errno);
      const std::string data(4000, 's');
      return result_of(write(fds[0], data.data(), data.size()));
    });
  };
  CHECK(send_with(2000) == -EMSGSIZE);
  CHECK(send_with(0) == 4000);
}

TEST_CASE("platform: a write of 0 bytes sends an empty datagram, a writev of 0 bytes does not") {
  const Fd server = bound_socket(SOCK_DGRAM, "127.0.0.1");
  const Fd client = make_socket(AF_INET, SOCK_DGRAM);
  REQUIRE(connect_to(client.get(), "127.0.0.1", local_port(server.get())));
  CHECK(in_holder(std::array{client.get()}, [](Fds fds) {
          iovec nothing{.iov_base = nullptr, .iov_len = 0};
          return result_of(writev(fds[0], &nothing, 1));
        }) == 0);
  CHECK_FALSE(readable(server.get(), 100));
  CHECK(in_holder(std::array{client.get()}, [](Fds fds) { return result_of(write(fds[0], "", 0)); }) == 0);
  char byte = 0;
  REQUIRE(readable(server.get(), 1000));
  CHECK(recv(server.get(), &byte, 1, MSG_DONTWAIT) == 0);
}

TEST_CASE(
    "platform: send without an address keeps a connected datagram socket's peer, with one it leaves for "
    "another") {
  const Fd granted = bound_socket(SOCK_DGRAM, "127.0.0.1");
  const Fd other = bound_socket(SOCK_DGRAM, "127.0.0.1");
  const Fd client = make_socket(AF_INET, SOCK_DGRAM);
  REQUIRE(connect_to(client.get(), "127.0.0.1", local_port(granted.get())));
  CHECK(in_holder(std::array{client.get()}, [](Fds fds) { return result_of(send(fds[0], "a", 1, 0)); }) == 1);
  CHECK(receive_text(granted.get()) == "a");
  // Why the filter demands a null address.
  const std::uint16_t port = local_port(other.get());
  CHECK(in_holder(std::array{client.get()},
                  [port](Fds fds) { return send_text_to(fds[0], "b", "127.0.0.1", port) ? 1L : -1L; }) == 1);
  CHECK(receive_text(other.get()) == "b");
}

}  // namespace
