// Servers that are not the echo server: the canary, which must not be reached, and a resolver that knows one
// answer.
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

struct Counts {
  unsigned long long accepted = 0;
  unsigned long long bytes = 0;
  unsigned long long datagrams = 0;
};

constexpr std::string_view kBanner = "canary\n";

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Takes every connection, greets it (so that a byte that comes back is seen at the guest) and counts what it
// says.
class Canary {
 public:
  explicit Canary(const Target& local) : tcp_(listen_tcp(local)), udp_(bind_udp(local)) {
    fcntl(udp_.get(), F_SETFL, O_NONBLOCK);
  }

  void run(int stop_fd) {
    while (true) {
      std::vector<pollfd> watched{{.fd = stop_fd, .events = POLLIN, .revents = 0},
                                  {.fd = STDIN_FILENO, .events = 0, .revents = 0},
                                  {.fd = tcp_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = udp_.get(), .events = POLLIN, .revents = 0}};
      for (const auto& [number, fd] : connections_) {
        watched.push_back({.fd = number, .events = POLLIN, .revents = 0});
      }
      poll(watched.data(), watched.size(), -1);
      accept_all();
      read_datagrams();
      for (std::size_t i = 4; i < watched.size(); ++i) {
        if (watched[i].revents != 0) read_connection(watched[i].fd);
      }
      if (watched[0].revents != 0 || (watched[1].revents & POLLHUP) != 0) break;
    }
    std::printf("{\"accepted\": %llu, \"bytes\": %llu, \"datagrams\": %llu}\n", counts_.accepted,
                counts_.bytes, counts_.datagrams);
  }

 private:
  void accept_all() {
    while (true) {
      Fd fd(accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd) return;
      ++counts_.accepted;
      send_all(fd.get(), as_bytes(kBanner));
      const int number = fd.get();
      connections_[number] = std::move(fd);
    }
  }

  void read_connection(int fd) {
    while (true) {
      const ssize_t got = recv(fd, buffer_.data(), buffer_.size(), 0);
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) {
        connections_.erase(fd);
        return;
      }
      counts_.bytes += static_cast<unsigned long long>(got);
    }
  }

  void read_datagrams() {
    Datagram datagram;
    while (receive_datagram(udp_.get(), buffer_, datagram)) {
      ++counts_.datagrams;
      send_datagram(udp_.get(), as_bytes(kBanner), datagram);
    }
  }

  Fd tcp_;
  Fd udp_;
  std::map<int, Fd> connections_;
  std::array<std::byte, 65536> buffer_{};
  Counts counts_;
};

// The answer to a DNS query (RFC 1035 4.1): the question again, then one address record if the type is ours.
std::vector<std::byte> dns_answer(std::span<const std::byte> query, std::span<const std::string> addresses) {
  constexpr std::size_t kHeader = 12;
  std::size_t at = kHeader;
  while (at < query.size() && query[at] != std::byte{0}) at += 1 + std::to_integer<std::size_t>(query[at]);
  if (at + 5 > query.size()) return {};
  const auto type = std::to_integer<unsigned>(query[at + 2]);
  std::vector<std::byte> out(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(at + 5));
  std::array<std::byte, 16> address{};
  std::size_t length = 0;
  for (const std::string& text : addresses) {
    if (type == 1 && inet_pton(AF_INET, text.c_str(), address.data()) == 1) length = 4;
    if (type == 28 && inet_pton(AF_INET6, text.c_str(), address.data()) == 1) length = 16;
  }
  out[2] = std::byte{0x81};  // response, recursion desired
  out[3] = std::byte{0x80};  // recursion available, no error
  for (std::size_t i = 6; i < kHeader; ++i) out[i] = std::byte{0};
  out[7] = std::byte{length == 0 ? std::uint8_t{0} : std::uint8_t{1}};
  if (length == 0) return out;
  for (const unsigned value :
       {0xc0U, 0x0cU, 0U, type, 0U, 1U, 0U, 0U, 0U, 5U, 0U, static_cast<unsigned>(length)}) {
    out.push_back(static_cast<std::byte>(value));
  }
  out.insert(out.end(), address.begin(), address.begin() + static_cast<std::ptrdiff_t>(length));
  return out;
}

void answer_tcp(int listener, std::span<const std::string> addresses) {
  const Fd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) return;
  set_timeout(fd.get(), 3000);
  std::array<std::byte, 2> length{};
  if (!receive_all(fd.get(), length.data(), 2)) return;
  std::vector<std::byte> query(std::to_integer<std::size_t>(length[0]) * 256 +
                               std::to_integer<std::size_t>(length[1]));
  if (!receive_all(fd.get(), query.data(), query.size())) return;
  const std::vector<std::byte> answer = dns_answer(query, addresses);
  length = {static_cast<std::byte>(answer.size() / 256), static_cast<std::byte>(answer.size() % 256)};
  std::vector<std::byte> out(length.begin(), length.end());
  out.insert(out.end(), answer.begin(), answer.end());
  send_all(fd.get(), out);
}

}  // namespace

int run_canary(std::span<const std::string> arguments) {
  raise_file_limit();
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const Fd stop(signalfd(-1, &set, SFD_CLOEXEC));
  Canary canary(parse_target(arguments.size() > 1 ? arguments[1] : "::", arguments[0]));
  std::puts("ready");
  std::fflush(stdout);
  canary.run(stop.get());
  return 0;
}

int run_dns_server(std::span<const std::string> arguments) {
  const Target local = parse_target("::", arguments[0]);
  const auto addresses = arguments.subspan(1);
  const Fd tcp = listen_tcp(local);
  const Fd udp = bind_udp(local);
  std::puts("ready");
  std::fflush(stdout);
  std::array<std::byte, 65536> buffer;
  while (true) {
    std::array<pollfd, 2> watched{{{.fd = tcp.get(), .events = POLLIN, .revents = 0},
                                   {.fd = udp.get(), .events = POLLIN, .revents = 0}}};
    poll(watched.data(), watched.size(), -1);
    if (watched[0].revents != 0) answer_tcp(tcp.get(), addresses);
    if (watched[1].revents == 0) continue;
    Datagram datagram;
    if (!receive_datagram(udp.get(), buffer, datagram)) continue;
    const auto answer = dns_answer(std::span<const std::byte>(buffer).first(datagram.size), addresses);
    if (!answer.empty()) send_datagram(udp.get(), answer, datagram);
  }
}

}  // namespace cordon::traffic
