#include "app/backstop.h"

#include <doctest/doctest.h>

#include "tests/support/world.h"

namespace cordon::app {
namespace {

TEST_CASE("backstop: two families make one answer") {
  using enum Backstop;
  struct Case {
    Backstop v4, v6, both;
  };
  for (const Case& test :
       {Case{kActive, kActive, kActive}, Case{kNone, kNone, kNone}, Case{kActive, kNone, kPartial},
        Case{kNone, kActive, kPartial}, Case{kActive, kUnknown, kActive}, Case{kUnknown, kNone, kNone},
        Case{kUnknown, kUnknown, kUnknown}}) {
    CAPTURE(to_string(test.v4));
    CAPTURE(to_string(test.v6));
    CHECK(to_string(combine(test.v4, test.v6)) == to_string(test.both));
  }
}

TEST_CASE("backstop: a machine without a filter has none, and is asked again after a minute") {
  test::World::get();
  const base::Instant now = base::monotonic_now();
  BackstopWatch watch;
  CHECK(watch.due() == base::Instant::never());
  CHECK(watch.look(now));
  CHECK(to_string(watch.state()) == "none");
  CHECK(watch.due() == now + std::chrono::minutes{1});
  CHECK_FALSE(watch.look(now));
}

}  // namespace
}  // namespace cordon::app
