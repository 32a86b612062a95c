#include "core/loop/timer_wheel.h"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using namespace cordon;
using namespace std::chrono_literals;
using base::Instant;

namespace {
const Instant kStart = Instant::from_nanos(123'456'789'000);
}

TEST_CASE("timer wheel: fires within two milliseconds after the deadline and never before") {
  for (const base::Duration delay :
       {base::Duration(1ms), base::Duration(63ms), base::Duration(64ms), base::Duration(70ms),
        base::Duration(5s), base::Duration(300s), base::Duration(2h)}) {
    CAPTURE(delay.count());
    loop::TimerWheel wheel(4, kStart);
    wheel.arm(2, kStart + delay);
    int fired = 0;
    const auto fire = [&](std::uint32_t slot) {
      CHECK(slot == 2);
      ++fired;
    };
    wheel.fire_until(kStart + delay - 1ns, fire);
    CHECK(fired == 0);
    wheel.fire_until(kStart + delay + 2ms, fire);
    CHECK(fired == 1);
    CHECK(wheel.next_deadline() == Instant::never());
  }
}

TEST_CASE("timer wheel: a later deadline is lazy, an earlier one moves the timer, cancel removes it") {
  loop::TimerWheel wheel(4, kStart);
  int fired = 0;
  const auto fire = [&](std::uint32_t) { ++fired; };
  wheel.arm(1, kStart + 100ms);
  wheel.arm(1, kStart + 10s);
  wheel.fire_until(kStart + 102ms, fire);
  CHECK(fired == 1);
  wheel.arm(1, kStart + 10s);
  wheel.arm(1, kStart + 200ms);
  wheel.fire_until(kStart + 202ms, fire);
  CHECK(fired == 2);
  wheel.arm(1, kStart + 300ms);
  wheel.cancel(1);
  wheel.cancel(1);
  wheel.fire_until(kStart + 1h, fire);
  CHECK(fired == 2);
  wheel.arm(1, Instant::never());
  CHECK(wheel.next_deadline() == Instant::never());
}

TEST_CASE("timer wheel: a deadline in the past or beyond the horizon still comes up") {
  loop::TimerWheel wheel(2, kStart);
  int fired = 0;
  wheel.arm(0, kStart - 5s);
  wheel.arm(1, kStart + 1000h);
  CHECK(wheel.next_deadline() <= kStart + 3ms);
  wheel.fire_until(kStart + 3ms, [&](std::uint32_t slot) {
    CHECK(slot == 0);
    ++fired;
  });
  CHECK(fired == 1);
  wheel.fire_until(kStart + 6h, [&](std::uint32_t) { ++fired; });
  CHECK(fired == 2);  // early, for its owner to arm again
}

TEST_CASE("timer wheel: a callback may arm and cancel any timer") {
  loop::TimerWheel wheel(3, kStart);
  wheel.arm(0, kStart + 10ms);
  wheel.arm(1, kStart + 10ms);
  wheel.arm(2, kStart + 10ms);
  int fired = 0;
  wheel.fire_until(kStart + 12ms, [&](std::uint32_t slot) {
    ++fired;
    for (std::uint32_t other = 0; other < 3; ++other)
      if (other != slot) wheel.cancel(other);
    wheel.arm(slot, kStart + 20ms);
  });
  CHECK(fired == 1);
  wheel.fire_until(kStart + 22ms, [&](std::uint32_t) { ++fired; });
  CHECK(fired == 2);
}

TEST_CASE("timer wheel: many random timers fire once each, in time, and the wake-up is never late") {
  constexpr std::uint32_t kTimers = 500;
  loop::TimerWheel wheel(kTimers, kStart);
  std::mt19937_64 random(7);
  std::vector<Instant> deadline(kTimers);
  std::vector<bool> fired(kTimers);
  for (std::uint32_t i = 0; i < kTimers; ++i) {
    deadline[i] = kStart + base::Duration(static_cast<std::int64_t>(random() % 400'000'000'000));
    wheel.arm(i, deadline[i]);
  }
  Instant now = kStart;
  std::size_t left = kTimers;
  for (int guard = 0; left > 0 && guard < 100000; ++guard) {
    const Instant wake = wheel.next_deadline();
    for (std::uint32_t i = 0; i < kTimers; ++i)
      if (!fired[i]) REQUIRE(wake <= deadline[i] + 2ms);
    now = std::max(now, wake);
    wheel.fire_until(now, [&](std::uint32_t slot) {
      REQUIRE_FALSE(fired[slot]);
      REQUIRE(now >= deadline[slot]);
      REQUIRE(now <= deadline[slot] + 2ms);
      fired[slot] = true;
      --left;
    });
  }
  CHECK(left == 0);
}
