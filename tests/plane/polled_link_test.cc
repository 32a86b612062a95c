// A link whose input is looked at while the worker is awake, and told of by its descriptor only while it
// sleeps.
#include <sys/eventfd.h>

#include <functional>

#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

struct PolledLink final : link::Link {
  [[nodiscard]] link::Capabilities capabilities() const override { return {}; }
  [[nodiscard]] int poll_fd() const override { return event.get(); }
  [[nodiscard]] std::size_t receive(std::span<link::Frame> frames) override {
    ++receives;
    std::size_t n = 0;
    held.clear();
    for (; n < frames.size() && !input.empty(); ++n) {
      held.push_back(std::move(input.front()));
      input.pop_front();
    }
    for (std::size_t i = 0; i < n; ++i) frames[i] = {held[i], {}};
    return n;
  }
  [[nodiscard]] link::SendStatus send(const link::Offload&, std::span<const iovec>) override {
    ++sends;
    return full ? link::SendStatus::kAgain : link::SendStatus::kSent;
  }
  [[nodiscard]] bool pending() const override { return !input.empty(); }
  [[nodiscard]] bool before_sleep() override {
    ++sleeps;
    if (late) std::exchange(late, nullptr)();
    return !input.empty();
  }
  [[nodiscard]] bool tells_room() const override { return tells; }

  base::Fd event{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  std::deque<std::vector<std::byte>> input, held;
  std::function<void()> late;
  bool full = false, tells = true;
  int sends = 0, sleeps = 0, receives = 0;
};

struct Bench {
  PolledLink link;
  ListGate gate;
  Worker worker{config(), link, gate};
  std::vector<std::byte> syn = tcp_frame(tuple(flow::Protocol::kTcp), {.flags = {.syn = true}});
};

base::Duration time_of(const std::function<void()>& what) {
  const auto begun = base::monotonic_now();
  what();
  return base::monotonic_now() - begun;
}

}  // namespace

TEST_CASE("polled link: input is taken without an event and without a sleep") {
  Bench bench;
  bench.link.input.push_back(bench.syn);
  CHECK(time_of([&] { bench.worker.run_once(10s); }) < 5s);
  CHECK(bench.gate.requests.size() == 1);
  CHECK(bench.link.sleeps == 0);
}

TEST_CASE("polled link: what comes at the last moment before a sleep is not slept on") {
  Bench bench;
  bench.link.late = [&] { bench.link.input.push_back(bench.syn); };
  CHECK(time_of([&] { bench.worker.run_once(10s); }) < 5s);
  CHECK(bench.gate.requests.size() == 1);
  CHECK(bench.link.sleeps == 1);
}

TEST_CASE("polled link: without input the worker sleeps, and its event wakes it") {
  Bench bench;
  CHECK(time_of([&] { bench.worker.run_once(100ms); }) >= 90ms);
  CHECK(bench.link.sleeps == 1);
  CHECK(bench.link.receives == 0);
  const std::uint64_t one = 1;
  REQUIRE(::write(bench.link.event.get(), &one, sizeof one) == sizeof one);
  CHECK(time_of([&] { bench.worker.run_once(10s); }) < 5s);
  CHECK(bench.link.receives == 1);
}

TEST_CASE("polled link: one that tells of room is not asked again by the clock") {
  for (const bool tells : {true, false}) {
    CAPTURE(tells);
    Bench bench;
    bench.link.tells = tells;
    bench.link.full = true;
    bench.link.input.push_back(bench.syn);
    bench.worker.run_once(0ms);
    REQUIRE(bench.gate.requests.size() == 1);
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
    const base::Fd host{fds[1]};
    bench.worker.on_grant({.id = bench.gate.requests[0].first, .socket = base::Fd{fds[0]}});
    CHECK(bench.link.sends == 1);
    for (int i = 0; i < 3; ++i) bench.worker.run_once(0ms);  // whatever else is due
    const int sends = bench.link.sends;
    bench.worker.run_once(50ms);
    bench.worker.run_once(50ms);
    CHECK((bench.link.sends - sends <= 2) == true);
    const auto slept = time_of([&] { bench.worker.run_once(100ms); });
    CHECK((slept >= 90ms) == tells);
  }
}
