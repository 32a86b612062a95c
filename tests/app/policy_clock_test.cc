// Dates of a policy on a clock that may be set.
#include "app/policy_clock.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <utility>

namespace cordon::app {
namespace {

using base::WallTime;
using namespace std::chrono_literals;

std::shared_ptr<const policy::PolicySet> ending(std::initializer_list<WallTime> untils,
                                                WallTime expires = WallTime::max()) {
  policy::Ruleset file;
  file.name = "x";
  file.expires = expires;
  for (const WallTime until : untils) {
    policy::Rule rule;
    rule.name = "r" + std::to_string(file.egress.size());
    rule.until = until;
    (file.egress.size() % 2 == 0 ? file.egress : file.ingress).push_back(rule);
  }
  return std::make_shared<const policy::PolicySet>(std::vector{std::move(file)});
}

bool wakes(const PolicyClock& clock, int wait_ms) {
  pollfd timer{.fd = clock.poll_fd(), .events = POLLIN, .revents = 0};
  return ::poll(&timer, 1, wait_ms) == 1;
}

constexpr WallTime kNoon{std::chrono::sys_days{std::chrono::year{2026} / 11 / 22} + 12h};

}  // namespace

TEST_CASE("dates: each is found once, in order, whatever it ends") {
  PolicyClock clock;
  clock.watch({ending({kNoon + 3h, kNoon + 1h, kNoon + 1h}, kNoon + 2h), ending({kNoon})}, kNoon);
  CHECK(clock.dates() == std::vector<WallTime>{kNoon, kNoon + 1h, kNoon + 2h, kNoon + 3h});
  clock.watch({ending({})}, kNoon);
  CHECK(clock.dates().empty());
}

TEST_CASE("dates: what matters is which have passed, also when the clock goes back") {
  PolicyClock clock;
  clock.watch({ending({kNoon + 1h, kNoon + 2h})}, kNoon);
  struct Step {
    std::string_view name;
    WallTime now;
    bool moved;
    WallTime before;
  };
  for (const Step& s :
       {Step{"a moment before", kNoon + 1h - 1us, false, kNoon},
        Step{"exactly then", kNoon + 1h, true, kNoon + 1h - 1us},
        Step{"the same again", kNoon + 1h, false, kNoon + 1h - 1us},
        Step{"back before it", kNoon, true, kNoon + 1h},
        Step{"far ahead, over both", kNoon + 24h, true, kNoon}, Step{"further", kNoon + 48h, false, kNoon},
        Step{"back between them", kNoon + 90min, true, kNoon + 48h}}) {
    CAPTURE(s.name);
    CHECK(clock.wake(s.now) == s.moved);
    CHECK(clock.before() == s.before);
  }
}

TEST_CASE("dates: the timer fires at the next date and not before, and not again for one that has passed") {
  PolicyClock clock;
  REQUIRE(clock.poll_fd() >= 0);
  const WallTime now = base::wall_now();
  const WallTime soon = now + 200ms;
  clock.watch({ending({soon, now - 1h})}, now);
  CHECK_FALSE(wakes(clock, 0));
  REQUIRE(wakes(clock, 5000));
  CHECK(base::wall_now() >= soon);
  CHECK(clock.wake(base::wall_now()));
  CHECK_FALSE(wakes(clock, 50));

  // One that passed between looking and arming fires at once.
  clock.watch({ending({base::wall_now() - 1us})}, base::wall_now() - 1h);
  CHECK(wakes(clock, 1000));
  CHECK(clock.wake(base::wall_now()));
  clock.watch({ending({WallTime{}})}, base::wall_now() - 1h * 24 * 365 * 100);
  CHECK(wakes(clock, 1000));
}

}  // namespace cordon::app
