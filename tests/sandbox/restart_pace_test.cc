#include "sandbox/restart_pace.h"

#include <doctest/doctest.h>

namespace cordon::sandbox {

using namespace std::chrono_literals;

namespace {
base::Instant at(base::Duration since) { return base::Instant::from_nanos(1'000'000'000) + since; }
}  // namespace

TEST_CASE("restart pace: two hundred ends spread over time are all followed by a start at once") {
  RestartPace pace;
  for (int i = 0; i < 200; ++i) {
    CAPTURE(i);
    const auto answer = pace.on_end(at(i * 2100ms));
    CHECK(answer.pause == 0ms);
    CHECK(answer.tell);
    pace.on_start(at(i * 2100ms));
    CHECK(pace.steady_at() == base::Instant::never());
  }
}

TEST_CASE("restart pace: a crash loop gets pauses that grow up to a bound, and is told once") {
  RestartPace pace;
  base::Duration now = 0ms;
  for (int i = 0; i < 8; ++i) CHECK(pace.on_end(at(now)).pause == 0ms);
  const base::Duration pauses[] = {250ms, 500ms, 1s, 2s, 4s, 8s, 8s, 8s};
  bool first = true;
  for (const auto pause : pauses) {
    const auto answer = pace.on_end(at(now));
    CHECK(answer.pause == pause);
    CHECK(answer.tell == first);
    first = false;
    now += pause;
    pace.on_start(at(now));
    CHECK(pace.steady_at() == at(now) + 10s);
  }
  CHECK(pace.untold() == 7);
  CHECK(pace.settled() == 7);
  CHECK(pace.steady_at() == base::Instant::never());
  // From the beginning, with what has gathered meanwhile.
  now += 20s;
  CHECK(pace.on_end(at(now)).pause == 0ms);
}

TEST_CASE("restart pace: one that ends before it has lived for a while is still in its loop") {
  RestartPace pace;
  for (int i = 0; i < 9; ++i) static_cast<void>(pace.on_end(at(0ms)));
  pace.on_start(at(250ms));
  const auto answer = pace.on_end(at(9s));  // tokens have gathered: they do not matter
  CHECK(answer.pause == 500ms);
  CHECK_FALSE(answer.tell);
}

}  // namespace cordon::sandbox
