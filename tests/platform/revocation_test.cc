// mechanisms 2: what the broker can and cannot do to a socket through its own descriptor.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "tests/platform/support.h"

namespace {

using namespace cordon::platform;
using Fds = std::span<const int>;
using std::chrono::milliseconds;

// Fills the connection until the kernel takes no more; the peer does not read.
long fill(Fds fds) {
  nonblocking(fds[0]);
  const std::string data(65536, 'q');
  long total = 0;
  for (int i = 0; i < 1000; ++i) {
    const ssize_t sent = send(fds[0], data.data(), data.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    total += sent;
  }
  return total;
}

struct Drained {
  long bytes = 0;
  int error = 0;  // 0 = FIN
};
Drained drain(int fd) {
  std::array<char, 65536> buffer;
  Drained result;
  while (true) {
    if (!readable(fd, 3000)) return {.bytes = result.bytes, .error = ETIMEDOUT};
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0) result.error = errno;
    if (got <= 0) return result;
    result.bytes += got;
  }
}

TEST_CASE("platform: shutdown of a TCP socket is no cut: everything queued still arrives, then FIN") {
  const Pair pair = tcp_pair(4096);
  Holder holder(std::array{pair.client.get()}, {fill});
  const long queued = holder.call(0);
  REQUIRE(queued > 100'000);
  CHECK(shutdown(pair.client.get(), SHUT_RDWR) == 0);
  const Drained seen = drain(pair.server.get());
  CHECK(seen.bytes == queued);
  CHECK(seen.error == 0);
}

TEST_CASE("platform: connect(AF_UNSPEC) cuts a TCP connection: RST, and the holder cannot go on") {
  const Pair pair = tcp_pair(4096);
  Holder holder(std::array{pair.client.get()},
                {fill, [](Fds fds) { return send_text(fds[0], "x") ? 0L : errno; },
                 [](Fds fds) {
                   char byte = 0;
                   return recv(fds[0], &byte, 1, 0) < 0 ? errno : 0L;
                 }});
  const long queued = holder.call(0);
  REQUIRE(queued > 100'000);
  disconnect(pair.client.get());
  const Drained seen = drain(pair.server.get());
  CHECK(seen.bytes < queued);
  CHECK(seen.error == ECONNRESET);
  const long sending = holder.call(1);
  CHECK((sending == EPIPE || sending == ENOTCONN || sending == ECONNRESET));
  const long reading = holder.call(2);
  CHECK((reading == ENOTCONN || reading == ECONNRESET));
}

TEST_CASE("platform: MSG_FASTOPEN cannot revive a revoked socket") {
  const Fd listener = bound_socket(SOCK_STREAM, "127.0.0.1");
  const std::uint16_t port = local_port(listener.get());
  const Pair pair = tcp_pair();
  disconnect(pair.client.get());
  CHECK(in_holder(std::array{pair.client.get()}, [port](Fds fds) {
          const Address other = make_address("127.0.0.1", port);
          // Without an address, as the filter demands: it must not connect anywhere.
          return send(fds[0], "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL) < 0 && other.length != 0 ? 0L : 1L;
        }) == 0);
  CHECK_FALSE(readable(listener.get(), 100));
}

struct Flow {
  Fd socket;  // bound to `port`, connected to `peer`
  Fd peer;
  std::uint16_t port = 0;
};
Flow udp_flow() {
  Flow flow{.socket = bound_socket(SOCK_DGRAM, "127.0.0.1"), .peer = bound_socket(SOCK_DGRAM, "127.0.0.1")};
  flow.port = local_port(flow.socket.get());
  connect_to(flow.socket.get(), "127.0.0.1", local_port(flow.peer.get()));
  return flow;
}

TEST_CASE("platform: connect(AF_UNSPEC) opens a UDP socket with a kept port to strangers") {
  const Flow flow = udp_flow();
  const Fd stranger = bound_socket(SOCK_DGRAM, "127.0.0.1");
  CHECK(send_text_to(stranger.get(), "before", "127.0.0.1", flow.port));
  CHECK(receive_text(flow.socket.get(), 50).empty());
  disconnect(flow.socket.get());
  // The kernel forgets a port it chose itself; a port that was asked for stays.
  const Flow kept{.socket = bound_socket(SOCK_DGRAM, "127.0.0.1", 42042),
                  .peer = bound_socket(SOCK_DGRAM, "127.0.0.1"),
                  .port = 42042};
  REQUIRE(kept.socket.valid());
  connect_to(kept.socket.get(), "127.0.0.1", local_port(kept.peer.get()));
  disconnect(kept.socket.get());
  shutdown(kept.socket.get(), SHUT_RDWR);
  send_text_to(stranger.get(), "after", "127.0.0.1", 42042);
  CHECK(in_holder(std::array{kept.socket.get()},
                  [](Fds fds) { return receive_text(fds[0]) == "after" ? 1L : 0L; }) == 1);
}

TEST_CASE("platform: shutdown alone leaves a UDP socket readable") {
  const Flow flow = udp_flow();
  shutdown(flow.socket.get(), SHUT_RDWR);
  CHECK(send_text_to(flow.peer.get(), "late", "127.0.0.1", flow.port));
  CHECK(in_holder(std::array{flow.socket.get()},
                  [](Fds fds) { return receive_text(fds[0]) == "late" ? 1L : 0L; }) == 1);
}

TEST_CASE("platform: a locked drop-all filter and shutdown end a UDP flow; what was queued stays readable") {
  const Flow flow = udp_flow();
  Holder holder(std::array{flow.socket.get()},
                {[](Fds fds) { return receive_text(fds[0]) == "early" ? 1L : 0L; },
                 [](Fds fds) { return receive_text(fds[0]).empty() ? 0L : 1L; },
                 [](Fds fds) { return send_text(fds[0], "x") ? 0L : errno; },
                 [](Fds fds) { return set_option(fds[0], SOL_SOCKET, SO_DETACH_FILTER, 0) ? 0L : errno; },
                 [](Fds fds) { return drop_everything(fds[0]) ? 0L : errno; }});
  REQUIRE(send_text_to(flow.peer.get(), "early", "127.0.0.1", flow.port));
  REQUIRE(drop_everything(flow.socket.get()));
  REQUIRE(set_option(flow.socket.get(), SOL_SOCKET, SO_LOCK_FILTER, 1));
  shutdown(flow.socket.get(), SHUT_RDWR);
  send_text_to(flow.peer.get(), "late", "127.0.0.1", flow.port);
  CHECK(holder.call(0) == 1);
  CHECK(holder.call(1) == 0);
  CHECK(holder.call(2) == EPIPE);
  CHECK(holder.call(3) == EPERM);
  CHECK(holder.call(4) == EPERM);
}

TEST_CASE("platform: a locked drop-all filter and shutdown end a ping flow") {
  const Fd ping(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP));
  REQUIRE(connect_to(ping.get(), "127.0.0.1", 0));
  const auto echo = [](Fds fds) {
    icmphdr header{};
    header.type = ICMP_ECHO;
    if (send(fds[0], &header, sizeof header, MSG_NOSIGNAL) < 0) return static_cast<long>(errno);
    return readable(fds[0], 200) ? 0L : 1L;
  };
  Holder holder(std::array{ping.get()}, {echo, [](Fds fds) { return readable(fds[0], 100) ? 1L : 0L; }});
  CHECK(holder.call(0) == 0);
  std::array<char, 64> buffer;
  CHECK(recv(ping.get(), buffer.data(), buffer.size(), 0) > 0);
  REQUIRE(drop_everything(ping.get()));
  REQUIRE(set_option(ping.get(), SOL_SOCKET, SO_LOCK_FILTER, 1));
  // Even an echo that is sent is not answered.
  CHECK(holder.call(0) == 1);
  shutdown(ping.get(), SHUT_RDWR);
  CHECK(holder.call(0) != 0);
  CHECK(set_option(ping.get(), SOL_SOCKET, SO_DETACH_FILTER, 0) == false);
}

milliseconds time_of(const std::function<void()>& action) {
  const auto begin = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
}

TEST_CASE(
    "platform: a holder's linger makes the broker's close wait; setting it right before closing does not") {
  for (const bool remedy : {false, true}) {
    CAPTURE(remedy);
    Pair pair = tcp_pair(4096);
    Holder holder(std::array{pair.client.get()}, {[](Fds fds) {
                    const long queued = fill(fds);
                    const linger slow{.l_onoff = 1, .l_linger = 1};
                    setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &slow, sizeof slow);
                    fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) & ~O_NONBLOCK);
                    close(fds[0]);
                    return queued;
                  }});
    REQUIRE(holder.call(0) > 100'000);
    if (remedy) {
      const linger none{.l_onoff = 0, .l_linger = 0};
      setsockopt(pair.client.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
    const milliseconds taken = time_of([&] { pair.client.reset(); });
    CHECK((remedy ? taken < milliseconds(100) : taken >= milliseconds(900)));
  }
}

TEST_CASE("platform: a write whose page is served elsewhere blocks the broker until it is served") {
  const int fault = privileged_userfaultfd();
  uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
  if (fault < 0 || ioctl(fault, UFFDIO_API, &api) != 0) {
    skip("userfaultfd for faults of the kernel (needs root at start)");
    return;
  }
  constexpr std::size_t kPage = 4096;
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const auto address = reinterpret_cast<std::uintptr_t>(page);
  uffdio_register area{
      .range = {.start = address, .len = kPage}, .mode = UFFDIO_REGISTER_MODE_MISSING, .ioctls = 0};
  REQUIRE(ioctl(fault, UFFDIO_REGISTER, &area) == 0);
  const Pair pair = tcp_pair();
  std::jthread writer([&] { send(pair.client.get(), page, kPage, MSG_NOSIGNAL); });
  REQUIRE(readable(fault, 2000));  // the writer now sits in its page fault, with the socket locked
  std::atomic<bool> done = false;
  std::jthread broker([&] {
    shutdown(pair.client.get(), SHUT_RDWR);
    done = true;
  });
  std::this_thread::sleep_for(milliseconds(200));
  CHECK_FALSE(done.load());  // why a revocation has a deadline and then kills the holder
  uffdio_zeropage zero{.range = {.start = address, .len = kPage}, .mode = 0, .zeropage = 0};
  CHECK(ioctl(fault, UFFDIO_ZEROPAGE, &zero) == 0);
  broker.join();
  CHECK(done.load());
  writer.join();
  munmap(page, kPage);
}

TEST_CASE("platform: the broker's descriptor keeps a connection open that the holder closed or reset") {
  Pair pair = tcp_pair();
  CHECK(in_holder(std::array{pair.client.get()}, [](Fds fds) {
          const linger hard{.l_onoff = 1, .l_linger = 0};
          setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
          return result_of(close(fds[0]));
        }) == 0);
  CHECK_FALSE(readable(pair.server.get(), 100));
  pair.client.reset();
  char byte = 0;
  REQUIRE(readable(pair.server.get(), 1000));
  CHECK(recv(pair.server.get(), &byte, 1, 0) == -1);
  CHECK(errno == ECONNRESET);
}

TEST_CASE("platform: an fd closed without EPOLL_CTL_DEL keeps reporting while another descriptor is open") {
  const Pair pair = tcp_pair();
  const Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  Fd copy(dup(pair.client.get()));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 77}};
  REQUIRE(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, copy.get(), &event) == 0);
  copy.reset();
  send_text(pair.server.get(), "x");
  CHECK(epoll_wait(epoll.get(), &event, 1, 500) == 1);
  const std::uint64_t tag = event.data.u64;
  CHECK(tag == 77);
}

}  // namespace
