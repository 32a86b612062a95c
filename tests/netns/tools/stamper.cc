// A server that keeps a book: when, by the kernel's clock at arrival, how many payload bytes came to which of
// its addresses. One line for each read, "SECONDS tcp|udp ADDRESS BYTES"; datagrams are echoed.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>

#include "tests/netns/tools/server.h"

namespace cordon::traffic {
namespace {

std::string text_of(const in6_addr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(AF_INET6, &address, text.data(), text.size());
  const std::string out = text.data();
  return out.starts_with("::ffff:") ? out.substr(7) : out;
}

class Stamper {
 public:
  explicit Stamper(const std::string& port)
      : tcp_(listen_tcp(parse_target("::", port))), udp_(bind_udp(parse_target("::", port))) {
    fcntl(udp_.get(), F_SETFL, O_NONBLOCK);
    stamp(udp_.get());
    stamp(tcp_.get());  // what it accepts inherits the option
  }

  void run(int stop_fd) {
    bool stopped = false;
    while (!stopped) {
      std::vector<pollfd> watched{{.fd = stop_fd, .events = POLLIN, .revents = 0},
                                  {.fd = tcp_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = udp_.get(), .events = POLLIN, .revents = 0}};
      for (const auto& [number, connection] : connections_)
        watched.push_back({.fd = number, .events = POLLIN, .revents = 0});
      poll(watched.data(), watched.size(), -1);
      stopped = watched[0].revents != 0;
      if (watched[1].revents != 0) accept_all();
      while (read_datagram()) {
      }
      for (std::size_t i = 3; i < watched.size(); ++i)
        if (watched[i].revents != 0) read_connection(watched[i].fd);
    }
  }

 private:
  struct Connection {
    Fd fd;
    std::string local;
  };
  struct Got {
    ssize_t size = 0;
    timespec when{};
    in6_addr to{};
    sockaddr_storage from{};
    socklen_t from_length = 0;
  };

  static void stamp(int fd) {
    const int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
  }

  Got receive(int fd) {
    Got got;
    alignas(cmsghdr) std::array<std::byte, 512> control{};
    iovec part{.iov_base = buffer_.data(), .iov_len = buffer_.size()};
    msghdr message{.msg_name = &got.from,
                   .msg_namelen = sizeof got.from,
                   .msg_iov = &part,
                   .msg_iovlen = 1,
                   .msg_control = control.data(),
                   .msg_controllen = control.size(),
                   .msg_flags = 0};
    got.size = recvmsg(fd, &message, 0);
    got.from_length = message.msg_namelen;
    clock_gettime(CLOCK_REALTIME, &got.when);  // where the kernel has no stamp
    if (got.size < 0) return got;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_TIMESTAMPNS)
        std::memcpy(&got.when, CMSG_DATA(header), sizeof got.when);
      if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO)
        std::memcpy(&got.to, CMSG_DATA(header), sizeof got.to);  // its first member
    }
    return got;
  }

  static void book(const Got& got, const char* protocol, const std::string& address) {
    std::printf("%lld.%06ld %s %s %zd\n", static_cast<long long>(got.when.tv_sec), got.when.tv_nsec / 1000,
                protocol, address.c_str(), got.size);
  }

  void accept_all() {
    while (true) {
      Fd fd(accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd) return;
      sockaddr_in6 local{};
      socklen_t length = sizeof local;
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &length);
      const int number = fd.get();
      connections_[number] = {std::move(fd), text_of(local.sin6_addr)};
    }
  }

  void read_connection(int fd) {
    const auto found = connections_.find(fd);
    if (found == connections_.end()) return;
    while (true) {
      const Got got = receive(fd);
      if (got.size < 0 && errno == EAGAIN) return;
      if (got.size <= 0) {
        connections_.erase(found);
        return;
      }
      book(got, "tcp", found->second.local);
    }
  }

  bool read_datagram() {
    const Got got = receive(udp_.get());
    if (got.size < 0) return errno != EAGAIN;  // an error of an earlier answer
    book(got, "udp", text_of(got.to));
    // From the address it was sent to.
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(in6_pktinfo))> control{};
    iovec part{.iov_base = buffer_.data(), .iov_len = static_cast<std::size_t>(got.size)};
    sockaddr_storage peer = got.from;
    msghdr message{.msg_name = &peer,
                   .msg_namelen = got.from_length,
                   .msg_iov = &part,
                   .msg_iovlen = 1,
                   .msg_control = control.data(),
                   .msg_controllen = control.size(),
                   .msg_flags = 0};
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = IPPROTO_IPV6;
    header->cmsg_type = IPV6_PKTINFO;
    header->cmsg_len = CMSG_LEN(sizeof(in6_pktinfo));
    const in6_pktinfo source{.ipi6_addr = got.to, .ipi6_ifindex = 0};
    std::memcpy(CMSG_DATA(header), &source, sizeof source);
    sendmsg(udp_.get(), &message, MSG_NOSIGNAL);
    return true;
  }

  Fd tcp_;
  Fd udp_;
  std::map<int, Connection> connections_;
  std::array<std::byte, 65536> buffer_{};
};

}  // namespace

int run_stamper(std::span<const std::string> arguments) {
  raise_file_limit();
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const Fd stop(signalfd(-1, &set, SFD_CLOEXEC));
  Stamper stamper(arguments[0]);
  std::puts("ready");
  std::fflush(stdout);
  stamper.run(stop.get());
  return 0;
}

}  // namespace cordon::traffic
