// One TCP connection and one UDP socket in constant use while the network changes: prints what happens to
// each, and when.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <thread>

#include "tests/netns/tools/traffic.h"

namespace cordon::traffic {
namespace {

using Arguments = std::span<const std::string>;
using namespace std::chrono_literals;

constexpr auto kStep = 5ms;           // between two exchanges
constexpr auto kSilence = 200ms;      // without an answer: told as silent
constexpr auto kConnecting = 1500ms;  // a connect() that takes longer is given up

// Tells a state once, when it is entered.
class Teller {
 public:
  explicit Teller(const char* who) : who_(who) {}
  void say(const std::string& state) {
    if (state == said_) return;
    said_ = state;
    const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch());
    std::printf("%.3f %s %s\n", now.count(), who_, state.c_str());
    std::fflush(stdout);
  }

 private:
  const char* who_;
  std::string said_;
};

void non_blocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

class TcpWatch {
 public:
  TcpWatch(Target target, const Options& options, const char* who)
      : target_(target), options_(options), teller_(who) {}

  void step() {
    if (!fd_) return begin();
    if (connecting_) return finish();
    std::array<std::byte, 512> back;
    const ssize_t got = recv(fd_.get(), back.data(), back.size(), 0);
    if (got > 0) {
      answered_ = Clock::now();
      outstanding_ = false;
      teller_.say("up");
    }
    if (got == 0) return failed("end of file");
    if (got < 0 && errno != EAGAIN) return failed(std::strerror(errno));
    if (Clock::now() - answered_ > kSilence) teller_.say("silent");
    if (outstanding_) return;
    const std::uint64_t value = 1;
    if (send(fd_.get(), &value, sizeof value, MSG_NOSIGNAL) < 0) return failed(std::strerror(errno));
    outstanding_ = true;
  }

 private:
  void failed(const char* how) {
    teller_.say(std::string("failed: ") + how);
    fd_.reset();
  }
  void begin() {
    fd_ = open_socket(target_, SOCK_STREAM, options_);
    non_blocking(fd_.get());
    const int one = 1;
    setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    begun_ = Clock::now();
    connecting_ = true;
    if (connect(fd_.get(), target_.get(), target_.length) == 0 || errno == EINPROGRESS) return;
    refused(errno);
  }
  void refused(int error) {
    teller_.say(std::string("refused: ") + std::strerror(error));
    fd_.reset();
  }
  void finish() {
    pollfd entry{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
    if (poll(&entry, 1, 0) != 1) {
      if (Clock::now() - begun_ > kConnecting) refused(ETIMEDOUT);
      return;
    }
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return refused(error);
    connecting_ = false;
    outstanding_ = false;
    answered_ = Clock::now();
    const Request request{.mode = Mode::kEcho};
    send_all(fd_.get(), std::as_bytes(std::span(&request, 1)));
  }

  Target target_;
  const Options& options_;
  Teller teller_;
  Fd fd_;
  bool connecting_ = false;
  bool outstanding_ = false;
  Clock::time_point begun_, answered_;
};

class UdpWatch {
 public:
  UdpWatch(Target target, const Options& options, const char* who)
      : fd_(connect_udp(target, options)), teller_(who), answered_(Clock::now()) {
    non_blocking(fd_.get());
    const int one = 1;  // else an unreachable network is not told to a connected socket (udp(7))
    setsockopt(fd_.get(), IPPROTO_IP, IP_RECVERR, &one, sizeof one);
    setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof one);
  }
  void step() {
    std::array<std::byte, 512> back;
    ssize_t got = 0;
    while ((got = recv(fd_.get(), back.data(), back.size(), 0)) > 0) {
      answered_ = Clock::now();
      teller_.say("up");
    }
    if (got < 0 && errno != EAGAIN)
      teller_.say(std::string("error: ") + std::strerror(errno));
    else if (Clock::now() - answered_ > kSilence)
      teller_.say("silent");
    const std::uint64_t value = 1;
    if (send(fd_.get(), &value, sizeof value, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
      teller_.say(std::string("error: ") + std::strerror(errno));
  }

 private:
  Fd fd_;
  Teller teller_;
  Clock::time_point answered_;
};

// All four kinds at once: TCP and UDP over both families.
int watch_command(const Options& options, Arguments arguments) {
  const Target v4 = parse_target(arguments[0], arguments[2]);
  const Target v6 = parse_target(arguments[1], arguments[2]);
  TcpWatch tcp4(v4, options, "tcp4");
  TcpWatch tcp6(v6, options, "tcp6");
  UdpWatch udp4(v4, options, "udp4");
  UdpWatch udp6(v6, options, "udp6");
  std::puts("ready");
  std::fflush(stdout);
  const auto until = Clock::now() + std::chrono::seconds(parse_number(arguments[3]));
  while (Clock::now() < until) {
    tcp4.step();
    tcp6.step();
    udp4.step();
    udp6.step();
    std::this_thread::sleep_for(kStep);
  }
  return 0;
}

constexpr std::array kCommands{CommandEntry{"watch", "ADDRESS4 ADDRESS6 PORT SECONDS", watch_command, 4}};

}  // namespace

std::span<const CommandEntry> watch_commands() { return kCommands; }

}  // namespace cordon::traffic
