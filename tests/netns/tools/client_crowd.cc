// A crowd of connections that lives through a change: whoever is to be cut is, nobody else, and how long the
// others had to wait meanwhile.
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <thread>

#include "tests/netns/tools/traffic.h"

namespace cordon::traffic {
namespace {

using Arguments = std::span<const std::string>;
using std::chrono::microseconds;

struct Waits {
  std::vector<std::uint64_t> micros;
  void note(Clock::duration waited) {
    micros.push_back(static_cast<std::uint64_t>(std::chrono::duration_cast<microseconds>(waited).count()));
  }
  [[nodiscard]] std::uint64_t most() const { return micros.empty() ? 0 : *std::ranges::max_element(micros); }
  [[nodiscard]] std::uint64_t median() {
    if (micros.empty()) return 0;
    const auto middle = micros.begin() + static_cast<std::ptrdiff_t>(micros.size() / 2);
    std::ranges::nth_element(micros, middle);
    return *middle;
  }
};

bool echo(int fd, std::uint64_t value) {
  std::uint64_t back = 0;
  return send_all(fd, std::as_bytes(std::span(&value, 1))) && receive_all(fd, &back, sizeof back) &&
         back == value;
}

void raise_limit() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

std::vector<Fd> gather(const Target& target, const Options& options, std::uint64_t count) {
  std::vector<Fd> crowd;
  for (std::uint64_t i = 0; i < count; ++i) {
    crowd.push_back(start(target, options, {.mode = Mode::kEcho}));
    set_timeout(crowd.back().get(), 5000);
    if (!echo(crowd.back().get(), i)) fail("connection %" PRIu64 " does not echo", i);
  }
  return crowd;
}

// Reset or closed, and nothing to wait for.
bool is_cut(int fd) {
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  if (poll(&entry, 1, 0) != 1) return false;
  char byte = 0;
  return recv(fd, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN;
}

// crowd KEPT CUT PORT COUNT MILLISECONDS: half of the connections go to each address.
int crowd_command(const Options& options, Arguments arguments) {
  raise_limit();
  const Target kept_target = parse_target(arguments[0], arguments[2]);
  const Target cut_target = parse_target(arguments[1], arguments[2]);
  const std::uint64_t half = parse_number(arguments[3]) / 2;
  const std::vector<Fd> kept = gather(kept_target, options, half);
  const std::vector<Fd> doomed = gather(cut_target, options, half);
  const Fd steady = start(kept_target, options, {.mode = Mode::kEcho});
  set_timeout(steady.get(), 10'000);
  std::puts("ready");
  std::fflush(stdout);

  const auto until = Clock::now() + std::chrono::milliseconds(parse_number(arguments[4]));
  Waits connects;
  std::atomic<bool> failed = false;
  std::thread newcomer([&] {
    while (Clock::now() < until && !failed) {
      const auto begin = Clock::now();
      const Connected fresh = connect_tcp(kept_target, options);
      connects.note(Clock::now() - begin);
      if (fresh.error != 0) failed = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  Waits gaps;
  for (std::uint64_t i = 0; Clock::now() < until; ++i) {
    const auto begin = Clock::now();
    if (!echo(steady.get(), i)) fail("the steady connection ended");
    gaps.note(Clock::now() - begin);
    std::this_thread::sleep_for(microseconds(200));
  }
  newcomer.join();
  if (failed) fail("a new connection was refused");

  const auto cuts = static_cast<std::uint64_t>(
      std::ranges::count_if(doomed, [](const Fd& fd) { return is_cut(fd.get()); }));
  std::uint64_t alive = 0;
  for (const Fd& fd : kept)
    if (echo(fd.get(), alive)) ++alive;
  std::printf("{\"command\": \"crowd\", \"kept\": %" PRIu64 ", \"cut\": %" PRIu64
              ", \"exchange_us\": %" PRIu64 ", \"longest_exchange_us\": %" PRIu64
              ", \"connects\": %zu"
              ", \"connect_us\": %" PRIu64 ", \"longest_connect_us\": %" PRIu64 "}\n",
              alive, cuts, gaps.median(), gaps.most(), connects.micros.size(), connects.median(),
              connects.most());
  return alive == half && cuts == half ? 0 : 1;
}

constexpr CommandEntry kCommands[] = {
    {"crowd", "KEPT CUT PORT COUNT MILLISECONDS", crowd_command, 5},
};

}  // namespace

std::span<const CommandEntry> crowd_commands() { return kCommands; }

}  // namespace cordon::traffic
