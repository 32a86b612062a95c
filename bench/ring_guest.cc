// A virtual machine that is nothing but its network: drives the rings of a vhost-user back-end itself and
// plays the guest's TCP, so that a measurement has the back-end and the host's sockets in it and next to
// nothing else. Payload is neither made nor looked at; one IPv4 connection to a `traffic server`.
//
//   ring_guest SOCKET out|in|tcp-rr SERVER PORT MILLISECONDS [--mtu N] [--backend PID]
//
// It behaves as a Linux guest does where that costs or spares the back-end something: super-frames where they
// are negotiated, one ACK for 64 KiB or for a batch, one kick for a batch, asleep while there is nothing to
// do. Its TCP is the least that a link without loss needs; what is lost all the same is sent again from the
// last ACK on.
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>

#include "bench/ring_tcp.h"

namespace {

using namespace cordon::bench;

struct Arguments {
  std::string socket, command, server;
  std::string backend = "self";
  std::uint16_t port = 0;
  std::chrono::milliseconds time{1000};
  std::uint32_t mtu = 1500;
};

// Processor time of a process and all below it, in ns. The back-end may have one process for each connection,
// so that only we can look while it lives.
std::uint64_t spent(const std::string& pid) {
  std::uint64_t total = 0;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + pid + "/task", error)) {
    std::uint64_t own = 0;
    if (std::ifstream(task.path() / "schedstat") >> own) total += own;
    std::ifstream children(task.path() / "children");
    for (std::string child; children >> child;) total += spent(child);
  }
  return total;
}

struct Measured {
  std::uint64_t bytes = 0;
  double seconds = 0;
  double median_us = 0;
};

Measured move(Guest& guest, const Arguments& arguments) {
  const bool out = arguments.command == "out";
  guest.connect(out ? Mode::kBulkSink : Mode::kBulkSource);
  if (out) guest.expect_report();
  const auto begin = Clock::now();
  const auto until = begin + arguments.time;
  // Allowed bytes are never taken back: some megabytes at a time.
  std::uint64_t allowed = sizeof(cordon::traffic::Request);
  while (Clock::now() < until) {
    if (out && guest.unsent() < kAhead) guest.allow(allowed += kAhead);
    guest.turn(until);
  }
  if (out) {
    guest.finish();
    while (guest.received() < sizeof(Report)) {
      guest.turn(Clock::now() + kPatience);
      if (Clock::now() > until + std::chrono::seconds{5}) throw std::runtime_error("no report comes");
    }
  }
  const std::chrono::duration<double> time = Clock::now() - begin;
  return {out ? guest.report().received : guest.received(), time.count(), 0};
}

Measured round_trips(Guest& guest, const Arguments& arguments) {
  guest.connect(Mode::kEcho);
  guest.delay_acks();
  std::vector<double> samples;
  const auto begin = Clock::now();
  for (std::uint64_t n = 1; Clock::now() < begin + arguments.time; ++n) {
    const auto sent = Clock::now();
    guest.allow(sizeof(cordon::traffic::Request) + n);
    while (guest.received() < n) {
      guest.turn();
      if (Clock::now() > sent + std::chrono::seconds{5}) throw std::runtime_error("no echo comes");
    }
    samples.push_back(std::chrono::duration<double, std::micro>(Clock::now() - sent).count());
  }
  std::ranges::sort(samples);
  const std::chrono::duration<double> time = Clock::now() - begin;
  return {samples.size(), time.count(), samples.at(samples.size() / 2)};
}

// A machine's memory and its card.
struct Machine {
  explicit Machine(const std::string& socket)
      : memory(kRing * (kReceiveBuffer + 2 * (kLongest + 64)) + (std::size_t{1} << 20U)),
        card(socket, memory) {}
  GuestMemory memory;
  Card card;
};
// A back-end whose last client has just left may need a moment.
std::unique_ptr<Machine> connect(const std::string& socket) {
  for (int tries = 0;; ++tries) {
    try {
      return std::make_unique<Machine>(socket);
    } catch (const std::exception&) {
      if (tries == 50) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
  }
}

Arguments parse(int argc, char** argv) {
  constexpr const char* kUsage =
      "usage: ring_guest SOCKET out|in|tcp-rr SERVER PORT MILLISECONDS [--mtu N] [--backend PID]";
  Arguments arguments;
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--mtu" && i + 1 < argc)
      arguments.mtu = static_cast<std::uint32_t>(std::stoul(argv[++i]));
    else if (word == "--backend" && i + 1 < argc)
      arguments.backend = argv[++i];
    else
      words.emplace_back(word);
  }
  if (words.size() != 5 || (words[1] != "out" && words[1] != "in" && words[1] != "tcp-rr"))
    throw std::runtime_error(kUsage);
  arguments.socket = words[0];
  arguments.command = words[1];
  arguments.server = words[2];
  arguments.port = static_cast<std::uint16_t>(std::stoul(words[3]));
  arguments.time = std::chrono::milliseconds{std::stoul(words[4])};
  return arguments;
}

}  // namespace

int main(int argc, char** argv) try {
  const Arguments arguments = parse(argc, argv);
  const std::unique_ptr<Machine> machine = connect(arguments.socket);
  Guest guest(machine->card, arguments.server, arguments.port, arguments.mtu);
  const std::uint64_t before = spent(arguments.backend);
  const Measured measured =
      arguments.command == "tcp-rr" ? round_trips(guest, arguments) : move(guest, arguments);
  const std::uint64_t cost = spent(arguments.backend) - before;
  timespec own{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
  guest.reset();
  std::printf("{\"command\": \"%s\", \"bytes\": %" PRIu64
              ", \"seconds\": %.4f, \"gbps\": %.3f, \"median_us\": %.2f, \"cpu_ns\": %" PRIu64
              ", \"guest_ns\": %lld, \"resent\": %" PRIu64 "}\n",
              arguments.command.c_str(), measured.bytes, measured.seconds,
              static_cast<double>(measured.bytes) * 8e-9 / measured.seconds, measured.median_us, cost,
              static_cast<long long>(own.tv_sec) * 1'000'000'000 + own.tv_nsec, guest.resent());
} catch (const std::exception& error) {
  std::fprintf(stderr, "ring_guest: %s\n", error.what());
  return 1;
}
