// Commands that expect not to get through, and the blast that tries for some seconds and counts.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "tests/netns/tools/server.h"

namespace cordon::traffic {
namespace {

using Arguments = std::span<const std::string>;

int expect_error(const Options& options, Arguments arguments, std::span<const int> accepted) {
  const Connected attempt = connect_tcp(parse_target(arguments[0], arguments[1]), options);
  for (const int error : accepted) {
    if (attempt.error == error) return 0;
  }
  fail("connect: %s", attempt.error == 0 ? "it succeeded" : std::strerror(attempt.error));
}

int refused_command(const Options& options, Arguments arguments) {
  return expect_error(options, arguments, std::array{ECONNREFUSED});
}

int unreachable_command(const Options& options, Arguments arguments) {
  return expect_error(options, arguments, std::array{EHOSTUNREACH, ENETUNREACH});
}

// Neither TCP nor UDP gets an answer: an error or, with `--timeout`, silence.
int denied_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const Connected attempt = connect_tcp(target, options);
  if (attempt.error == 0) fail("tcp to %s port %s was connected", arguments[0].c_str(), arguments[1].c_str());
  const Fd udp = open_socket(target, SOCK_DGRAM, options);
  set_timeout(udp.get(), 300);
  std::array<std::byte, 64> data{};
  if (connect(udp.get(), target.get(), target.length) != 0) return 0;
  for (int i = 0; i < 2; ++i) {
    if (send(udp.get(), data.data(), data.size(), 0) < 0) return 0;
    if (recv(udp.get(), data.data(), data.size(), 0) >= 0) {
      fail("udp to %s port %s was answered", arguments[0].c_str(), arguments[1].c_str());
    }
  }
  return 0;
}

struct BlastCounts {
  std::uint64_t attempts = 0;
  std::uint64_t connected = 0;
  std::uint64_t tcp_replies = 0;  // bytes read on any connection
  std::uint64_t datagrams = 0;
  std::uint64_t udp_replies = 0;
};

// One connection attempt with a deadline of 50 ms: payload goes out as soon as the handshake is said to be
// done.
void blast_tcp(const Target& target, BlastCounts& counts) {
  const Fd fd(socket(target.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ++counts.attempts;
  pollfd watched{.fd = fd.get(), .events = POLLOUT, .revents = 0};
  if (connect(fd.get(), target.get(), target.length) != 0) {
    if (errno != EINPROGRESS || poll(&watched, 1, 50) != 1) return;
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return;
  }
  ++counts.connected;
  std::array<std::byte, 64> data{};
  send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL);
  watched.events = POLLIN;
  if (poll(&watched, 1, 20) != 1) return;
  const ssize_t got = recv(fd.get(), data.data(), data.size(), 0);
  if (got > 0) counts.tcp_replies += static_cast<std::uint64_t>(got);
}

void blast_udp(const Target& target, BlastCounts& counts) {
  const Fd fd(socket(target.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(fd.get(), target.get(), target.length) != 0) return;
  std::array<std::byte, 64> data{};
  for (int i = 0; i < 3; ++i) {
    if (send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL) >= 0) ++counts.datagrams;
  }
  pollfd watched{.fd = fd.get(), .events = POLLIN, .revents = 0};
  if (poll(&watched, 1, 2) == 1 && recv(fd.get(), data.data(), data.size(), 0) > 0) ++counts.udp_replies;
}

int blast_command(const Options&, Arguments arguments) {
  const std::uint64_t milliseconds = parse_number(arguments[1]);
  std::vector<Target> targets;
  for (const std::string& address : arguments.subspan(3))
    targets.push_back(parse_target(address, arguments[0]));
  BlastCounts counts;
  const auto until = Clock::now() + std::chrono::milliseconds(milliseconds);
  for (std::size_t i = 0; Clock::now() < until; ++i) {
    const Target& target = targets[i % targets.size()];
    if (arguments[2] != "udp") blast_tcp(target, counts);
    if (arguments[2] != "tcp") blast_udp(target, counts);
  }
  std::printf("{\"command\": \"blast\", \"attempts\": %" PRIu64 ", \"connected\": %" PRIu64
              ", \"tcp_replies\": %" PRIu64 ", \"datagrams\": %" PRIu64 ", \"udp_replies\": %" PRIu64 "}\n",
              counts.attempts, counts.connected, counts.tcp_replies, counts.datagrams, counts.udp_replies);
  return 0;
}

constexpr std::array kCommands{
    CommandEntry{"refused", "ADDRESS PORT", refused_command, 2},
    CommandEntry{"unreachable", "ADDRESS PORT", unreachable_command, 2},
    CommandEntry{"denied", "ADDRESS PORT", denied_command, 2},
    CommandEntry{"blast", "PORT MILLISECONDS tcp|udp|both ADDRESS...", blast_command, 4},
};

}  // namespace

std::span<const CommandEntry> refusal_commands() { return kCommands; }

}  // namespace cordon::traffic
