// The TCP side of the server: one epoll loop echoes and holds (thousands of connections cost no thread),
// every other request gets a thread of its own.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "tests/netns/tools/server.h"

namespace cordon::traffic {
namespace {

constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

class ReportBook {
 public:
  void keep(std::uint64_t seed, const Report& report) {
    const std::scoped_lock lock(mutex_);
    reports_[seed] = report;
  }
  Report find(std::uint64_t seed) {
    const std::scoped_lock lock(mutex_);
    const auto found = reports_.find(seed);
    return found == reports_.end() ? Report{} : found->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::uint64_t, Report> reports_;
};

void send_report(int fd, const Report& report) { send_all(fd, std::as_bytes(std::span(&report, 1))); }

void drain_to_fin(int fd) {
  std::array<char, 4096> rest;
  while (recv(fd, rest.data(), rest.size(), 0) > 0) {
  }
}

void bulk_sink(int fd) {
  std::vector<std::byte> buffer(1 << 20);
  Report report;
  while (true) {
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    report.received += static_cast<std::uint64_t>(got);
  }
  report.end = End::kFin;
  send_report(fd, report);
}

void bulk_source(int fd) {
  static const std::vector<std::byte> buffer(1 << 20);  // one for thousands of connections
  while (send_all(fd, buffer)) {
  }
}

void serve(Fd fd, const Request& request, ReportBook& book) {
  switch (request.mode) {
    case Mode::kSink: send_report(fd.get(), receive_stream(fd.get(), request.seed, kNoLimit)); break;
    case Mode::kSource:
      send_stream(fd.get(), request.seed, request.bytes);
      shutdown(fd.get(), SHUT_WR);
      drain_to_fin(fd.get());
      break;
    case Mode::kCloseFirst:
      send_stream(fd.get(), request.seed, request.bytes);
      shutdown(fd.get(), SHUT_WR);
      book.keep(request.seed, receive_stream(fd.get(), request.seed, kNoLimit));
      break;
    case Mode::kAnswerAfterFin: {
      const Report report = receive_stream(fd.get(), request.seed, kNoLimit);
      book.keep(request.seed, report);
      if (report.end == End::kFin) send_stream(fd.get(), request.seed, request.bytes);
      break;
    }
    case Mode::kResetAfterByte: {
      char byte = 0;
      send_stream(fd.get(), request.seed, request.bytes);
      receive_all(fd.get(), &byte, 1);
      reset_connection(std::move(fd));
      break;
    }
    case Mode::kExpectReset: {
      Report report = receive_stream(fd.get(), request.seed, request.bytes);
      const char byte = 'k';
      send_all(fd.get(), std::as_bytes(std::span(&byte, 1)));
      report.end = receive_stream(fd.get(), request.seed, kNoLimit).end;
      book.keep(request.seed, report);
      break;
    }
    case Mode::kQuery: send_report(fd.get(), book.find(request.seed)); break;
    case Mode::kBulkSink: bulk_sink(fd.get()); break;
    case Mode::kBulkSource: bulk_source(fd.get()); break;
    case Mode::kDeaf:
    case Mode::kEcho: break;
  }
}

struct Pending {
  Fd fd;
  Request request{};
  std::size_t have = 0;  // bytes of the request read so far; complete = an echo connection
};

class TcpServer {
 public:
  explicit TcpServer(Fd listener) : listener_(std::move(listener)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    watch(listener_.get());
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    while (true) {
      const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == listener_.get()) {
          accept_all();
        } else {
          readable(fd);
        }
      }
    }
  }

 private:
  void watch(int fd) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  void accept_all() {
    while (true) {
      Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd) return;
      const int one = 1;
      setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      const int number = fd.get();
      watch(number);
      pending_[number].fd = std::move(fd);
      readable(number);  // the request often came with the handshake
    }
  }

  void readable(int number) {
    const auto found = pending_.find(number);
    if (found == pending_.end()) return;
    Pending& connection = found->second;
    if (connection.have < sizeof(Request) && !read_request(connection)) return;
    if (connection.have < sizeof(Request)) return;
    if (connection.request.mode == Mode::kDeaf) {
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, number, nullptr);
      return;
    }
    if (connection.request.mode == Mode::kEcho) {
      if (!echo(number)) pending_.erase(found);
      return;
    }
    hand_over(found);
  }

  // False when the connection is gone.
  bool read_request(Pending& connection) {
    auto* at = reinterpret_cast<char*>(&connection.request) + connection.have;
    const ssize_t got = recv(connection.fd.get(), at, sizeof(Request) - connection.have, 0);
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) {
      pending_.erase(connection.fd.get());
      return false;
    }
    connection.have += static_cast<std::size_t>(got);
    if (connection.have == sizeof(Request) && connection.request.magic != Request::kMagic) {
      pending_.erase(connection.fd.get());
      return false;
    }
    return true;
  }

  bool echo(int fd) {
    while (true) {
      const ssize_t got = recv(fd, buffer_.data(), buffer_.size(), 0);
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
      auto part = std::span<const std::byte>(buffer_).first(static_cast<std::size_t>(got));
      while (!part.empty()) {
        const ssize_t sent = send(fd, part.data(), part.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
          pollfd writable{.fd = fd, .events = POLLOUT, .revents = 0};
          if (poll(&writable, 1, 5000) != 1) return false;
          continue;
        }
        if (sent < 0) return false;
        part = part.subspan(static_cast<std::size_t>(sent));
      }
      if (static_cast<std::size_t>(got) < buffer_.size()) return true;
    }
  }

  void hand_over(std::map<int, Pending>::iterator found) {
    Pending connection = std::move(found->second);
    const int number = connection.fd.get();
    pending_.erase(found);
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, number, nullptr);
    make_blocking(number);
    set_timeout(number, 120000);
    std::thread([this, fd = std::move(connection.fd), request = connection.request]() mutable {
      serve(std::move(fd), request, book_);
    }).detach();
  }

  Fd listener_;
  Fd epoll_;
  std::map<int, Pending> pending_;
  std::array<std::byte, 65536> buffer_{};
  ReportBook book_;
};

}  // namespace

void raise_file_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int run_server(std::span<const std::string> arguments) {
  raise_file_limit();
  const std::string address = arguments.size() > 1 ? arguments[1] : "::";
  const Target local = parse_target(address, arguments[0]);
  auto server = std::make_unique<TcpServer>(listen_tcp(local));
  std::thread([socket = bind_udp(local)]() { serve_udp(socket.get()); }).detach();
  std::puts("ready");
  std::fflush(stdout);
  server->run();
}

}  // namespace cordon::traffic
