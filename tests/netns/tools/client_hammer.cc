// Traffic for a world that changes all the time: `steady` are flows that nobody may harm, `restless` ones try
// again and again whatever becomes of them.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "tests/netns/tools/traffic.h"

namespace cordon::traffic {
namespace {

using Arguments = std::span<const std::string>;
using namespace std::chrono_literals;

// --- steady

constexpr std::size_t kBlock = 16384;
constexpr auto kPace = 5ms;  // a block each: some 3 MB/s and direction

struct Outcome {
  std::uint64_t bytes = 0;
  std::uint64_t exchanges = 0;
  std::atomic<std::int64_t> longest_ms = 0;
  std::string wrong;  // empty: as it should be
};

void note_pause(Outcome& outcome, Clock::time_point since) {
  const auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - since).count();
  if (pause > outcome.longest_ms) outcome.longest_ms = pause;
}

void send_steadily(const Target& target, const Options& options, Clock::time_point until, Outcome& outcome) {
  const std::uint64_t seed = 0x5eed0 + static_cast<std::uint64_t>(target.family());
  const Fd fd = start(target, options, {.mode = Mode::kSink, .seed = seed});
  std::vector<std::byte> block(kBlock);
  while (Clock::now() < until) {
    fill_stream(seed, outcome.bytes, block);
    const auto begun = Clock::now();
    if (!send_all(fd.get(), block)) {
      outcome.wrong = std::string("send: ") + std::strerror(errno);
      return;
    }
    note_pause(outcome, begun);
    outcome.bytes += block.size();
    std::this_thread::sleep_for(kPace);
  }
  shutdown(fd.get(), SHUT_WR);
  Report report;
  if (!receive_all(fd.get(), &report, sizeof report)) {
    outcome.wrong = std::string("report: ") + std::strerror(errno);
    return;
  }
  if (report.received != outcome.bytes || report.good != outcome.bytes || report.end != End::kFin)
    outcome.wrong =
        "the server got " + std::to_string(report.good) + " good bytes of " + std::to_string(outcome.bytes);
}

void receive_steadily(const Target& target, const Options& options, Clock::time_point until,
                      Outcome& outcome) {
  const std::uint64_t seed = 0x5eed8 + static_cast<std::uint64_t>(target.family());
  const auto blocks = static_cast<std::uint64_t>((until - Clock::now()) / kPace);
  const std::uint64_t all = std::max<std::uint64_t>(blocks, 1) * kBlock;
  const Fd fd = start(target, options, {.mode = Mode::kSource, .bytes = all, .seed = seed});
  while (outcome.bytes < all) {
    const auto begun = Clock::now();
    std::vector<std::byte> block(std::min<std::uint64_t>(kBlock, all - outcome.bytes));
    if (!receive_all(fd.get(), block.data(), block.size())) {
      outcome.wrong = std::string("receive: ") + std::strerror(errno);
      return;
    }
    note_pause(outcome, begun);
    if (good_prefix(seed, outcome.bytes, block) != block.size()) {
      outcome.wrong = "content differs after " + std::to_string(outcome.bytes) + " bytes";
      return;
    }
    outcome.bytes += block.size();
    if (Clock::now() < until) std::this_thread::sleep_for(kPace);
  }
}

// One socket all the time. Datagrams may be lost, and while there is no way out an error is the honest
// answer; afterwards it goes on.
void exchange_steadily(const Target& target, const Options& options, Clock::time_point until,
                       Outcome& outcome) {
  const Fd fd = connect_udp(target, options);
  set_timeout(fd.get(), 50);
  std::array<std::byte, 600> out{};
  std::array<std::byte, 2048> in{};
  auto answered = Clock::now();
  for (std::uint64_t seed = 1; Clock::now() < until || Clock::now() - answered < 1s; ++seed) {
    fill_stream(seed, 0, out);
    send(fd.get(), out.data(), out.size(), MSG_NOSIGNAL);
    const ssize_t got = recv(fd.get(), in.data(), in.size(), 0);
    if (got == static_cast<ssize_t>(out.size())) {
      std::uint64_t theirs = seed;  // or a late one's: of five seconds, with errors that come at once
      while (theirs > 0 && seed - theirs < 5000 &&
             good_prefix(theirs, 0, std::span(in).first(out.size())) != out.size())
        --theirs;
      if (theirs == 0 || seed - theirs >= 5000) {
        outcome.wrong = "an answer with other content";
        return;
      }
      note_pause(outcome, answered);
      answered = Clock::now();
      ++outcome.exchanges;
      if (Clock::now() >= until) return;
    }
    std::this_thread::sleep_for(kPace);
  }
  outcome.wrong = "no answer any more";
}

// Each address has a stream up, one down, and a conversation by UDP; all of them live until the end.
int steady_command(const Options& options, Arguments arguments) {
  const auto until = Clock::now() + std::chrono::milliseconds(parse_number(arguments[1]));
  struct Line {
    std::string name;
    Outcome outcome;
    std::thread thread;
  };
  std::vector<std::unique_ptr<Line>> lines;
  const auto add = [&](const char* kind, const std::string& address, auto work) {
    lines.push_back(std::make_unique<Line>());
    Line& line = *lines.back();
    line.name = std::string(kind) + " " + address;
    const Target target = parse_target(address, arguments[0]);
    line.thread = std::thread([=, &options, &line] { work(target, options, until, line.outcome); });
  };
  for (const std::string& address : arguments.subspan(2)) {
    add("up", address, send_steadily);
    add("down", address, receive_steadily);
    add("udp", address, exchange_steadily);
  }
  int status = 0;
  for (const auto& line : lines) {
    line->thread.join();
    const Outcome& outcome = line->outcome;
    std::printf("{\"command\": \"steady\", \"flow\": \"%s\", \"bytes\": %" PRIu64 ", \"exchanges\": %" PRIu64
                ", \"longest_pause_ms\": %" PRId64 ", \"wrong\": \"%s\"}\n",
                line->name.c_str(), outcome.bytes, outcome.exchanges, outcome.longest_ms.load(),
                outcome.wrong.c_str());
    if (!outcome.wrong.empty()) status = 1;
  }
  return status;
}

// --- restless

struct Tally {
  std::uint64_t connected = 0;
  std::uint64_t refused = 0;
  std::uint64_t reset = 0;
  std::uint64_t ended = 0;  // another end of a connection that stood
  std::uint64_t echoed = 0;
  std::uint64_t told = 0;     // ICMP errors
  std::uint64_t foreign = 0;  // bytes and datagrams that nobody there should have sent
};

constexpr auto kConnecting = 300ms;
constexpr auto kSocketLife = 500ms;  // of a datagram socket: new ones mean new flows

class RestlessTcp {
 public:
  RestlessTcp(Target target, const Options& options) : target_(target), options_(options) {}

  void step(Tally& tally) {
    if (!fd_) return begin(tally);
    if (connecting_ && !established(tally)) return;
    std::array<std::byte, 512> data{};
    const ssize_t got = recv(fd_.get(), data.data(), data.size(), MSG_DONTWAIT);
    if (got > 0) tally.foreign += static_cast<std::uint64_t>(got);
    const bool gone =
        got == 0 || (got < 0 && errno != EAGAIN) ||
        (send(fd_.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN);
    if (!gone) return;
    ++(got != 0 && errno == ECONNRESET ? tally.reset : tally.ended);
    fd_.reset();
  }

 private:
  void begin(Tally& tally) {
    fd_ = open_socket(target_, SOCK_STREAM | SOCK_NONBLOCK, options_);
    const int one = 1;
    setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    begun_ = Clock::now();
    connecting_ = true;
    if (connect(fd_.get(), target_.get(), target_.length) == 0 || errno == EINPROGRESS) return;
    ++tally.refused;
    fd_.reset();
  }
  bool established(Tally& tally) {
    pollfd entry{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
    int error = 0;
    socklen_t size = sizeof error;
    if (poll(&entry, 1, 0) != 1) {
      if (Clock::now() - begun_ < kConnecting) return false;
      error = ETIMEDOUT;
    } else {
      getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error != 0) {
      ++tally.refused;
      fd_.reset();
      return false;
    }
    connecting_ = false;
    ++tally.connected;
    return true;
  }

  Target target_;
  const Options& options_;
  Fd fd_;
  bool connecting_ = false;
  Clock::time_point begun_;
};

class RestlessUdp {
 public:
  RestlessUdp(Target target, const Options& options) : target_(target), options_(options) {}

  void step(Tally& tally) {
    if (!fd_ || Clock::now() - begun_ > kSocketLife) {
      fd_ = open_socket(target_, SOCK_DGRAM | SOCK_NONBLOCK, options_);
      begun_ = Clock::now();
      if (connect(fd_.get(), target_.get(), target_.length) != 0) fd_.reset();
    }
    if (!fd_) return;
    std::array<char, 64> in{};
    ssize_t got = 0;
    while ((got = recv(fd_.get(), in.data(), in.size(), 0)) >= 0)
      ++(static_cast<std::size_t>(got) == kText.size() &&
                 std::memcmp(in.data(), kText.data(), kText.size()) == 0
             ? tally.echoed
             : tally.foreign);
    if (errno != EAGAIN) ++tally.told;
    if (send(fd_.get(), kText.data(), kText.size(), MSG_NOSIGNAL) < 0 && errno != EAGAIN) ++tally.told;
  }

 private:
  static constexpr std::string_view kText = "a restless datagram";
  Target target_;
  const Options& options_;
  Fd fd_;
  Clock::time_point begun_;
};

int restless_command(const Options& options, Arguments arguments) {
  std::vector<RestlessTcp> streams;
  std::vector<RestlessUdp> datagrams;
  for (const std::string& address : arguments.subspan(3)) {
    const Target target = parse_target(address, arguments[0]);
    streams.emplace_back(target, options);
    datagrams.emplace_back(target, options);
  }
  const auto until = Clock::now() + std::chrono::milliseconds(parse_number(arguments[1]));
  const auto pace = std::chrono::milliseconds(parse_number(arguments[2]));
  Tally tally;
  while (Clock::now() < until) {
    for (RestlessTcp& stream : streams) stream.step(tally);
    for (RestlessUdp& datagram : datagrams) datagram.step(tally);
    std::this_thread::sleep_for(pace);
  }
  std::printf(
      "{\"command\": \"restless\", \"connected\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"reset\": %" PRIu64
      ", \"ended\": %" PRIu64 ", \"echoed\": %" PRIu64 ", \"told\": %" PRIu64 ", \"foreign\": %" PRIu64 "}\n",
      tally.connected, tally.refused, tally.reset, tally.ended, tally.echoed, tally.told, tally.foreign);
  return tally.foreign == 0 ? 0 : 1;
}

// As `cut` (client_tcp.cc): exchanges datagrams and expects to be told, within the given time, that this is
// forbidden (RFC 1812 5.2.7.1 code 13, RFC 4443 3.1 code 1, as Linux gives them to a socket).
int udp_cut_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const int told = target.family() == AF_INET6 ? EACCES : EHOSTUNREACH;
  const Fd fd = connect_udp(target, options);
  set_timeout(fd.get(), 200);
  const auto until = Clock::now() + std::chrono::seconds(parse_number(arguments[2]));
  int silent = 0;
  for (std::uint64_t i = 0; Clock::now() < until; ++i) {
    std::uint64_t back = 0;
    const bool answered = send(fd.get(), &i, sizeof i, MSG_NOSIGNAL) == sizeof i &&
                          recv(fd.get(), &back, sizeof back, 0) == sizeof back;
    if (!answered && errno == told) {
      std::printf("{\"command\": \"udp-cut\", \"exchanges\": %" PRIu64 ", \"error\": \"%s\"}\n", i,
                  std::strerror(errno));
      return 0;
    }
    if (!answered && errno != EAGAIN) fail("another error: %s", std::strerror(errno));
    if (answered && i == 0) {
      std::puts("ready");
      std::fflush(stdout);
    }
    silent = answered ? 0 : silent + 1;
    if (silent == 10) fail("it fell silent, no error was seen");
    std::this_thread::sleep_for(2ms);
  }
  fail("it still works");
}

constexpr std::array kCommands{
    CommandEntry{"udp-cut", "ADDRESS PORT SECONDS", udp_cut_command, 3},
    CommandEntry{"steady", "PORT MILLISECONDS ADDRESS...", steady_command, 3},
    CommandEntry{"restless", "PORT MILLISECONDS PACE_MS ADDRESS...", restless_command, 4},
};

}  // namespace

std::span<const CommandEntry> hammer_commands() { return kCommands; }

}  // namespace cordon::traffic
