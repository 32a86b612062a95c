// Measuring commands: throughput, round trips, connection rate, datagrams received. One JSON line each.
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>

#include "tests/netns/tools/server.h"

namespace cordon::traffic {
namespace {

using Arguments = std::span<const std::string>;
using Microseconds = std::chrono::duration<double, std::micro>;

std::chrono::milliseconds duration(const std::string& text) {
  return std::chrono::milliseconds(parse_number(text));
}

// Sends for the time, then waits until the far end has read it all: what counts has arrived.
std::uint64_t send_for(const Target& target, const Options& options, Clock::time_point until) {
  const Fd fd = start(target, options, {.mode = Mode::kBulkSink});
  const std::vector<std::byte> buffer(1 << 20);
  while (Clock::now() < until) {
    if (!send_all(fd.get(), buffer)) fail_errno("send");
  }
  shutdown(fd.get(), SHUT_WR);
  Report report;
  if (!receive_all(fd.get(), &report, sizeof report)) fail_errno("receive the report");
  return report.received;
}

std::uint64_t receive_for(const Target& target, const Options& options, Clock::time_point until) {
  const Fd fd = start(target, options, {.mode = Mode::kBulkSource});
  std::vector<std::byte> buffer(1 << 20);
  std::uint64_t total = 0;
  while (Clock::now() < until) {
    const ssize_t got = recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) fail_errno("receive");
    total += static_cast<std::uint64_t>(got);
  }
  return total;
}

int throughput(const Options& options, Arguments arguments,
               std::uint64_t (*move)(const Target&, const Options&, Clock::time_point), const char* name) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t streams = parse_number(arguments[2]);
  const auto begin = Clock::now();
  const auto until = begin + duration(arguments[3]);
  std::atomic<std::uint64_t> total = 0;
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 0; i < streams; ++i) {
      threads.emplace_back([&] { total += move(target, options, until); });
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf("{\"command\": \"%s\", \"streams\": %" PRIu64 ", \"bytes\": %" PRIu64
              ", \"seconds\": %.4f, \"gbps\": %.3f}\n",
              name, streams, total.load(), seconds, static_cast<double>(total.load()) * 8e-9 / seconds);
  return 0;
}

int out_command(const Options& options, Arguments arguments) {
  return throughput(options, arguments, send_for, "out");
}
int in_command(const Options& options, Arguments arguments) {
  return throughput(options, arguments, receive_for, "in");
}

void print_latencies(const char* name, std::vector<double>& samples, double seconds) {
  if (samples.empty()) fail("no round trip was completed");
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    return samples[static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1))];
  };
  std::printf(
      "{\"command\": \"%s\", \"count\": %zu, \"rate\": %.1f, \"median_us\": %.2f, \"p99_us\": %.2f}\n", name,
      samples.size(), static_cast<double>(samples.size()) / seconds, at(0.5), at(0.99));
}

int round_trips(int fd, const std::string& time, const char* name) {
  std::vector<double> samples;
  samples.reserve(1 << 20);
  std::array<std::byte, 1> byte{};
  std::uint64_t lost = 0;
  const auto begin = Clock::now();
  for (const auto until = begin + duration(time); Clock::now() < until;) {
    const auto sent = Clock::now();
    if (send(fd, byte.data(), 1, 0) != 1) fail_errno("send");
    if (recv(fd, byte.data(), 1, 0) != 1) {
      if (errno != EAGAIN || ++lost > 10) fail_errno("receive");
      continue;
    }
    samples.push_back(Microseconds(Clock::now() - sent).count());
  }
  print_latencies(name, samples, std::chrono::duration<double>(Clock::now() - begin).count());
  return 0;
}

int tcp_rr_command(const Options& options, Arguments arguments) {
  const Fd fd = start(parse_target(arguments[0], arguments[1]), options, {.mode = Mode::kEcho});
  return round_trips(fd.get(), arguments[2], "tcp-rr");
}

int udp_rr_command(const Options& options, Arguments arguments) {
  const Fd fd = connect_udp(parse_target(arguments[0], arguments[1]), options);
  set_timeout(fd.get(), 500);
  return round_trips(fd.get(), arguments[2], "udp-rr");
}

// Connect, one byte each way, close.
double connect_request_close(const Target& target, const Options& options) {
  const auto begin = Clock::now();
  const Fd fd = connect_tcp_or_fail(target, options);
  const Request request{.mode = Mode::kEcho};
  std::array<std::byte, sizeof request + 1> message{};
  std::memcpy(message.data(), &request, sizeof request);
  if (!send_all(fd.get(), message)) fail_errno("send");
  char back = 0;
  if (!receive_all(fd.get(), &back, 1)) fail_errno("receive");
  return Microseconds(Clock::now() - begin).count();
}

int crr_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t parallel = parse_number(arguments[3]);
  std::vector<std::vector<double>> samples(parallel);
  const auto begin = Clock::now();
  const auto until = begin + duration(arguments[2]);
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 0; i < parallel; ++i) {
      threads.emplace_back([&, i] {
        while (Clock::now() < until) samples[i].push_back(connect_request_close(target, options));
      });
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::vector<double> all;
  for (const auto& part : samples) all.insert(all.end(), part.begin(), part.end());
  print_latencies("crr", all, seconds);
  return 0;
}

// Asks for a burst and counts what arrives.
int udp_in_command(const Options& options, Arguments arguments) {
  constexpr std::size_t kBatch = 64;
  const Fd fd = connect_udp(parse_target(arguments[0], arguments[1]), options);
  set_timeout(fd.get(), 300);
  const BurstRequest request{.size = static_cast<std::uint32_t>(parse_number(arguments[3])),
                             .milliseconds = static_cast<std::uint32_t>(parse_number(arguments[2])),
                             .nonce = std::random_device{}()};
  std::vector<std::vector<std::byte>> buffers(kBatch, std::vector<std::byte>(65536));
  std::array<iovec, kBatch> parts{};
  std::array<mmsghdr, kBatch> batch{};
  for (std::size_t i = 0; i < kBatch; ++i) {
    parts[i] = {.iov_base = buffers[i].data(), .iov_len = buffers[i].size()};
    batch[i].msg_hdr.msg_iov = &parts[i];
    batch[i].msg_hdr.msg_iovlen = 1;
  }
  std::uint64_t datagrams = 0;
  std::uint64_t bytes = 0;
  Clock::time_point first;
  Clock::time_point last;
  for (int asked = 0; asked < 5 && datagrams == 0; ++asked) {
    if (send(fd.get(), &request, sizeof request, 0) < 0) fail_errno("send");
    while (true) {
      const int got = recvmmsg(fd.get(), batch.data(), kBatch, MSG_WAITFORONE, nullptr);
      if (got <= 0) break;
      last = Clock::now();
      if (datagrams == 0) first = last;
      datagrams += static_cast<std::uint64_t>(got);
      for (int i = 0; i < got; ++i) bytes += batch[static_cast<std::size_t>(i)].msg_len;
    }
  }
  const double seconds = std::max(1e-3 * static_cast<double>(request.milliseconds),
                                  std::chrono::duration<double>(last - first).count());
  if (datagrams == 0) fail("no datagram arrived");
  std::printf("{\"command\": \"udp-in\", \"size\": %u, \"datagrams\": %" PRIu64
              ", \"rate\": %.0f, \"gbps\": %.3f}\n",
              request.size, datagrams, static_cast<double>(datagrams) / seconds,
              static_cast<double>(bytes) * 8e-9 / seconds);
  return 0;
}

constexpr std::array kCommands{
    CommandEntry{"out", "ADDRESS PORT STREAMS MILLISECONDS", out_command, 4},
    CommandEntry{"in", "ADDRESS PORT STREAMS MILLISECONDS", in_command, 4},
    CommandEntry{"tcp-rr", "ADDRESS PORT MILLISECONDS", tcp_rr_command, 3},
    CommandEntry{"udp-rr", "ADDRESS PORT MILLISECONDS", udp_rr_command, 3},
    CommandEntry{"crr", "ADDRESS PORT MILLISECONDS PARALLEL", crr_command, 4},
    CommandEntry{"udp-in", "ADDRESS PORT MILLISECONDS SIZE", udp_in_command, 4},
};

}  // namespace

std::span<const CommandEntry> bench_commands() { return kCommands; }

}  // namespace cordon::traffic
