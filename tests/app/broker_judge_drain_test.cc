// What live flows keep after a reload, and until when; what a date ends, in the real judge.
#include "tests/app/reload_rig.h"

namespace cordon::app {
using namespace reload;

TEST_CASE("reload: drain lets flows live on, but not new ones, and not against the host") {
  Rig rig{file(kFar + kOther)};
  const auto tuple = to("198.51.100.1");
  const auto token = rig.ask(tuple).token;
  const auto stays = rig.ask(to("203.0.113.9")).token;
  REQUIRE(rig.load(file(kOther, "reload: drain 30s")) == PolicyLoad::kInForce);
  CHECK_FALSE(rig.ask(tuple).allow);
  const auto drains = rig.again(tuple, token);
  CHECK(drains.allow);
  CHECK(drains.dial == tuple.remote);
  CHECK(tag_of(drains.token) == 1);  // still by the old one
  CHECK(tag_of(rig.again(to("203.0.113.9"), stays).token) == 2);
  CHECK(rig.judge->tick_due() <= rig.now + 30s);

  // A review in between forgets nothing that still drains.
  rig.judge->on_reviewed(rig.judge->epoch());
  CHECK(rig.again(tuple, token).allow);

  // The host comes first.
  const auto local = to("198.51.100.78");
  CHECK(rig.again(local, token).allow);
  test::run("ip addr add 198.51.100.78/32 dev lo");
  rig.judge->drain(rig.now);
  CHECK(reason_of(rig.again(local, token)) == policy::Reason::kHostAddress);
  test::run("ip addr del 198.51.100.78/32 dev lo");
  rig.judge->drain(rig.now);
  CHECK(rig.again(tuple, token).allow);

  // Its time is over: exactly then, and the tick asks for a review.
  rig.now = rig.now + 30s - 1ns;
  CHECK(rig.again(tuple, token).allow);
  rig.now = rig.now + 1ns;
  const auto epoch = rig.judge->epoch();
  rig.judge->on_tick(rig.now);
  CHECK(rig.judge->epoch() == epoch + 1);
  const auto over = rig.again(tuple, token);
  CHECK(reason_of(over) == policy::Reason::kNoRule);
  CHECK(has(rig.cut(tuple, token, over), "\"sandbox.cause\":\"policy-changed\""));
  rig.judge->on_tick(rig.now);
  CHECK(rig.judge->epoch() == epoch + 1);
}

TEST_CASE("reload: a later policy shortens a drain and never lengthens it") {
  struct Case {
    std::string_view name;
    std::string_view first;
    std::string_view second;
    base::Duration lives;
  };
  for (const Case& c :
       {Case{"shorter", "drain 30s", "drain 5s", 5s}, Case{"longer", "drain 5s", "drain 60s", 5s},
        Case{"revoke", "drain 30s", "revoke", 0s}}) {
    CAPTURE(c.name);
    Rig rig{file(kFar)};
    const auto tuple = to("198.51.100.1");
    const auto token = rig.ask(tuple).token;
    REQUIRE(rig.load(file(kOther, "reload: " + std::string{c.first})) == PolicyLoad::kInForce);
    REQUIRE(rig.load("\n" + file(kOther, "reload: " + std::string{c.second})) == PolicyLoad::kInForce);
    if (c.lives > 0s) {
      rig.now = rig.now + c.lives - 1ms;
      CHECK(rig.again(tuple, token).allow);
      rig.now = rig.now + 1ms;
    }
    CHECK_FALSE(rig.again(tuple, token).allow);
  }
}

TEST_CASE("reload: inbound flows drain too") {
  const std::string ingress = "ingress:\n  - {name: in, allow: [192.0.2.0/24], ports: [tcp/80]}\n";
  Rig rig{file(kFar) + ingress};
  const flow::Tuple seen{flow::Protocol::kTcp,
                         {*net::parse_ip("10.0.2.15"), net::Port{80}},
                         {*net::parse_ip("192.0.2.10"), net::Port{50000}}};
  const auto before = rig.judge->judge_inbound(seen, rig.now);
  REQUIRE(before.allow);
  REQUIRE(rig.load(file(kFar, "reload: drain 10s")) == PolicyLoad::kInForce);
  CHECK_FALSE(rig.judge->judge_inbound(seen, rig.now).allow);
  const sandbox::FlowView flow{seen, seen.remote, before.token, rig.now};
  CHECK(rig.judge->judge_again(flow, true, rig.now).allow);
  CHECK_FALSE(rig.judge->judge_again(flow, true, rig.now + 10s).allow);
}

TEST_CASE("dates: a rule and a file end at their date, for live flows by a timer") {
  for (const bool whole_file : {false, true}) {
    CAPTURE(whole_file);
    Rig rig{file(kOther)};
    constexpr auto kNever = base::WallTime::max();
    const auto date = base::wall_now() + 300ms;
    REQUIRE(rig.load_ending(file(kFar), whole_file ? date : kNever, whole_file ? kNever : date) ==
            PolicyLoad::kInForce);
    const auto tuple = to("198.51.100.1");
    const auto before = rig.ask(tuple);
    REQUIRE(before.allow);
    const auto epoch = rig.judge->epoch();
    pollfd timer{.fd = rig.judge->clock_fd(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&timer, 1, 0) == 0);
    REQUIRE(::poll(&timer, 1, 5000) == 1);
    CHECK(base::wall_now() >= date);
    rig.judge->on_clock(rig.now);
    CHECK(rig.judge->epoch() != epoch);
    CHECK(::poll(&timer, 1, 0) == 0);
    const auto after = rig.again(tuple, before.token);
    CHECK_FALSE(after.allow);
    CHECK(reason_of(after) == (whole_file ? policy::Reason::kExpired : policy::Reason::kNoRule));
    CHECK(has(rig.cut(tuple, before.token, after), "\"sandbox.cause\":\"expired\""));
  }
}

}  // namespace cordon::app
