// TCP client commands: content each way, half close and reset each way, many connections, idling.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

std::uint64_t new_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void expect_report(const char* who, const Report& report, std::uint64_t bytes, End end) {
  if (report.received != bytes || report.good != bytes || report.end != end) {
    fail("%s saw %" PRIu64 " bytes, %" PRIu64 " of them good, end %u; expected %" PRIu64 " bytes, end %u",
         who, report.received, report.good, static_cast<unsigned>(report.end), bytes,
         static_cast<unsigned>(end));
  }
}

// Asks what the server saw; it may still be reading.
Report query(const Target& target, const Options& options, std::uint64_t seed) {
  for (int attempt = 0; attempt < 50; ++attempt) {
    const Fd fd = start(target, options, {.mode = Mode::kQuery, .seed = seed});
    Report report;
    if (!receive_all(fd.get(), &report, sizeof report)) fail_errno("query");
    if (report.end != End::kNone) return report;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return {};
}

void echo_once(int fd, std::uint64_t value) {
  std::uint64_t back = 0;
  if (!send_all(fd, std::as_bytes(std::span(&value, 1)))) fail_errno("send");
  if (!receive_all(fd, &back, sizeof back)) fail_errno("receive the echo");
  if (back != value) fail("the echo differs");
}

int send_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t bytes = parse_number(arguments[2]);
  const std::uint64_t seed = new_seed();
  const auto begin = Clock::now();
  const Fd fd = start(target, options, {.mode = Mode::kSink, .seed = seed});
  if (!send_stream(fd.get(), seed, bytes)) fail_errno("send");
  shutdown(fd.get(), SHUT_WR);
  Report report;
  if (!receive_all(fd.get(), &report, sizeof report)) fail_errno("receive the report");
  expect_report("server", report, bytes, End::kFin);
  std::printf("{\"command\": \"send\", \"bytes\": %" PRIu64 ", \"seconds\": %.3f}\n", bytes,
              seconds_since(begin));
  return 0;
}

int receive_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t bytes = parse_number(arguments[2]);
  const std::uint64_t seed = new_seed();
  const auto begin = Clock::now();
  const Fd fd = start(target, options, {.mode = Mode::kSource, .bytes = bytes, .seed = seed});
  expect_report("client", receive_stream(fd.get(), seed, ~std::uint64_t{0}), bytes, End::kFin);
  std::printf("{\"command\": \"receive\", \"bytes\": %" PRIu64 ", \"seconds\": %.3f}\n", bytes,
              seconds_since(begin));
  return 0;
}

constexpr std::uint64_t kHalf = 3'000'000;  // more than fits into socket buffers and pools

int half_close_client(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t seed = new_seed();
  const Fd fd = start(target, options, {.mode = Mode::kAnswerAfterFin, .bytes = kHalf, .seed = seed});
  if (!send_stream(fd.get(), seed, kHalf)) fail_errno("send");
  shutdown(fd.get(), SHUT_WR);
  expect_report("client", receive_stream(fd.get(), seed, ~std::uint64_t{0}), kHalf, End::kFin);
  expect_report("server", query(target, options, seed), kHalf, End::kFin);
  return 0;
}

int half_close_server(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t seed = new_seed();
  Fd fd = start(target, options, {.mode = Mode::kCloseFirst, .bytes = kHalf, .seed = seed});
  expect_report("client", receive_stream(fd.get(), seed, ~std::uint64_t{0}), kHalf, End::kFin);
  if (!send_stream(fd.get(), seed, kHalf)) fail_errno("send after the server's FIN");
  fd.reset();
  expect_report("server", query(target, options, seed), kHalf, End::kFin);
  return 0;
}

int reset_by_server(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t seed = new_seed();
  const Fd fd = start(target, options, {.mode = Mode::kResetAfterByte, .bytes = kHalf, .seed = seed});
  const Report report = receive_stream(fd.get(), seed, kHalf);
  expect_report("client", report, kHalf, End::kNone);
  const char byte = 'r';
  if (!send_all(fd.get(), std::as_bytes(std::span(&byte, 1)))) fail_errno("send");
  expect_report("client", receive_stream(fd.get(), seed, 1), 0, End::kReset);
  return 0;
}

int reset_by_client(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t seed = new_seed();
  Fd fd = start(target, options, {.mode = Mode::kExpectReset, .bytes = kHalf, .seed = seed});
  if (!send_stream(fd.get(), seed, kHalf)) fail_errno("send");
  char byte = 0;
  if (!receive_all(fd.get(), &byte, 1)) fail_errno("receive");
  reset_connection(std::move(fd));
  expect_report("server", query(target, options, seed), kHalf, End::kReset);
  return 0;
}

int many_command(const Options& options, Arguments arguments) {
  raise_file_limit();
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t count = parse_number(arguments[2]);
  std::vector<Fd> held;
  for (std::uint64_t i = 0; i < count; ++i) {
    held.push_back(start(target, options, {.mode = Mode::kEcho}));
    echo_once(held.back().get(), i);
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t value = ~i;
    if (!send_all(held[i].get(), std::as_bytes(std::span(&value, 1))))
      fail_errno("send on a held connection");
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t back = 0;
    if (!receive_all(held[i].get(), &back, sizeof back)) fail_errno("receive on a held connection");
    if (back != ~i) fail("connection %" PRIu64 " got another one's bytes", i);
  }
  std::printf("{\"command\": \"many\", \"connections\": %" PRIu64 "}\n", count);
  return 0;
}

int idle_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const Fd fd = start(target, options, {.mode = Mode::kEcho});
  const Fd udp = connect_udp(target, options);
  echo_once(fd.get(), 1);
  echo_once(udp.get(), 1);
  std::this_thread::sleep_for(std::chrono::seconds(parse_number(arguments[2])));
  echo_once(fd.get(), 2);
  echo_once(udp.get(), 2);
  return 0;
}

// Uses a connection all the time and expects that somebody cuts it within the given time.
int cut_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const Fd fd = start(target, options, {.mode = Mode::kEcho});
  echo_once(fd.get(), 0);
  std::puts("ready");
  std::fflush(stdout);
  const auto until = Clock::now() + std::chrono::seconds(parse_number(arguments[2]));
  set_timeout(fd.get(), 1000);
  for (std::uint64_t i = 1; Clock::now() < until; ++i) {
    std::uint64_t back = 0;
    if (send_all(fd.get(), std::as_bytes(std::span(&i, 1))) && receive_all(fd.get(), &back, sizeof back)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    if (errno == EAGAIN) fail("the connection fell silent, no reset was seen");
    std::printf("{\"command\": \"cut\", \"exchanges\": %" PRIu64 ", \"error\": \"%s\"}\n", i,
                std::strerror(errno));
    return 0;
  }
  fail("the connection still works");
}

// Holds connections until a line (or the end) comes on stdin.
int hold_command(const Options& options, Arguments arguments) {
  raise_file_limit();
  const Target target = parse_target(arguments[0], arguments[1]);
  std::vector<Fd> held;
  for (std::uint64_t i = 0; i < parse_number(arguments[2]); ++i) {
    held.push_back(start(target, options, {.mode = Mode::kEcho}));
    echo_once(held.back().get(), i);
  }
  std::puts("ready");
  std::fflush(stdout);
  char byte = 0;
  if (read(STDIN_FILENO, &byte, 1) < 0) return 1;
  return 0;
}

// Half of the connections never read what the server floods them with, half write to a server that never
// reads.
int greedy_command(const Options& options, Arguments arguments) {
  raise_file_limit();
  const Target target = parse_target(arguments[0], arguments[1]);
  const std::uint64_t count = parse_number(arguments[2]);
  std::vector<Fd> deaf;
  std::vector<Fd> flooding;
  std::uint64_t refused = 0;
  const std::vector<std::byte> block(65536);
  std::size_t flooded = 0;  // of `flooding`, have had their bytes
  const auto flood = [&] {
    for (; flooded < flooding.size(); ++flooded)
      for (int i = 0; i < 8; ++i)
        send(flooding[flooded].get(), block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  };
  for (std::uint64_t i = 0; i < count; ++i) {
    Connected attempt = connect_tcp(target, options);
    if (attempt.error != 0) {
      ++refused;
      continue;
    }
    const Request request{.mode = i % 2 == 0 ? Mode::kBulkSource : Mode::kDeaf};
    send_all(attempt.fd.get(), std::as_bytes(std::span(&request, 1)));
    (i % 2 == 0 ? deaf : flooding).push_back(std::move(attempt.fd));
    if (i % 64 == 63) flood();
  }
  std::printf("{\"command\": \"greedy\", \"connected\": %zu, \"refused\": %" PRIu64 "}\n",
              deaf.size() + flooding.size(), refused);
  std::puts("ready");
  std::fflush(stdout);
  flood();
  std::this_thread::sleep_for(std::chrono::seconds(parse_number(arguments[3])));
  return 0;
}

// One exchange, tried again until the deadline: prints when it first worked.
int first_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const auto until = Clock::now() + std::chrono::milliseconds(options.timeout_ms);
  while (Clock::now() < until) {
    const Connected attempt = connect_tcp(target, options);
    if (attempt.error != 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    const Request request{.mode = Mode::kEcho};
    if (!send_all(attempt.fd.get(), std::as_bytes(std::span(&request, 1)))) fail_errno("send");
    echo_once(attempt.fd.get(), 7);
    const auto now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    std::printf("{\"command\": \"first\", \"time\": %.6f}\n", now);
    return 0;
  }
  fail("no connection within %d ms", options.timeout_ms);
}

constexpr std::array kCommands{
    CommandEntry{"send", "ADDRESS PORT BYTES", send_command, 3},
    CommandEntry{"receive", "ADDRESS PORT BYTES", receive_command, 3},
    CommandEntry{"half-close-client", "ADDRESS PORT", half_close_client, 2},
    CommandEntry{"half-close-server", "ADDRESS PORT", half_close_server, 2},
    CommandEntry{"reset-by-server", "ADDRESS PORT", reset_by_server, 2},
    CommandEntry{"reset-by-client", "ADDRESS PORT", reset_by_client, 2},
    CommandEntry{"many", "ADDRESS PORT COUNT", many_command, 3},
    CommandEntry{"idle", "ADDRESS PORT SECONDS", idle_command, 3},
    CommandEntry{"cut", "ADDRESS PORT SECONDS", cut_command, 3},
    CommandEntry{"hold", "ADDRESS PORT COUNT", hold_command, 3},
    CommandEntry{"first", "ADDRESS PORT", first_command, 2},
    CommandEntry{"greedy", "ADDRESS PORT COUNT SECONDS", greedy_command, 4},
};

}  // namespace

std::span<const CommandEntry> tcp_commands() { return kCommands; }

}  // namespace cordon::traffic
