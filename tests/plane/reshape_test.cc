// Live flows that get other limits.
#include <array>

#include "core/plane/shapers.h"
#include "streams.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

constexpr std::uint64_t kRate = 1'000'000;

// What each stream receives in `time`.
template <std::size_t kCount>
std::array<std::uint64_t, kCount> run(World& world, std::array<Stream*, kCount> streams,
                                      base::Duration time) {
  for (Stream* stream : streams) stream->received = 0;
  run_to_guest(world, streams, time);
  std::array<std::uint64_t, kCount> out{};
  for (std::size_t k = 0; k < kCount; ++k) out[k] = streams[k]->received;
  return out;
}

bool about(std::uint64_t bytes, std::uint64_t expected) {
  return bytes >= expected * 90 / 100 && bytes <= expected * 110 / 100 + 150'000;
}

}  // namespace

TEST_CASE("reshape: a stream has the rate it is told, whatever it had before") {
  struct Case {
    std::string_view name;
    flow::Shaping before;
    flow::Shaping after;
    std::uint64_t rate;  // 0: none
  };
  const flow::Shaping slow{.shaper = 1, .rate = kRate};
  for (const Case& c :
       {Case{"the same shaper, faster", slow, {.shaper = 1, .rate = 5 * kRate}, 5 * kRate},
        Case{"the same shaper, slower", {.shaper = 1, .rate = 5 * kRate}, slow, kRate},
        Case{"from next to nothing", {.shaper = 1, .rate = 10}, {.shaper = 1, .rate = 5 * kRate}, 5 * kRate},
        Case{"another shaper", slow, {.shaper = 2, .rate = 4 * kRate}, 4 * kRate},
        Case{"another shaper, from next to nothing",
             {.shaper = 1, .rate = 10},
             {.shaper = 2, .rate = kRate},
             kRate},
        Case{"none any more", slow, {}, 0}, Case{"one where none was", {}, slow, kRate},
        Case{"an outer one comes",
             {.shaper = 1, .rate = 9 * kRate},
             {.shaper = 1, .outer = 7, .rate = 9 * kRate, .outer_rate = kRate},
             kRate},
        Case{"the outer one goes",
             {.shaper = 1, .outer = 7, .rate = 4 * kRate, .outer_rate = 10},
             {.shaper = 1, .rate = 4 * kRate},
             4 * kRate},
        Case{"another outer one",
             {.shaper = 1, .outer = 7, .rate = 9 * kRate, .outer_rate = 10},
             {.shaper = 1, .outer = 8, .rate = 9 * kRate, .outer_rate = 3 * kRate},
             3 * kRate},
        Case{"what was the outer one is its own",
             {.shaper = 1, .outer = 7, .rate = kRate, .outer_rate = 10},
             {.shaper = 7, .rate = 2 * kRate},
             2 * kRate}}) {
    CAPTURE(c.name);
    World world;
    Stream stream(world, 41000, c.before);
    run<1>(world, {&stream}, 1s);
    stream.reshape(c.after);
    const auto [received] = run<1>(world, {&stream}, 2s);
    CAPTURE(received);
    if (c.rate == 0)
      CHECK(received > 20 * kRate);
    else
      CHECK(about(received, 2 * c.rate));
  }
}

TEST_CASE("reshape: who stands in one line with it keeps its place and its share") {
  World world;
  Stream a(world, 41000, {.shaper = 1, .rate = kRate});
  Stream b(world, 41001, {.shaper = 1, .rate = kRate});
  Stream c(world, 41002, {.shaper = 1, .rate = kRate});
  run<3>(world, {&a, &b, &c}, 500ms);
  b.reshape({.shaper = 2, .rate = 3 * kRate});
  const auto [one, two, three] = run<3>(world, {&a, &b, &c}, 2s);
  CHECK(about(one, kRate));
  CHECK(about(two, 6 * kRate));
  CHECK(about(three, kRate));
  // An outer shaper comes for all of them, told to one flow of each shaper.
  a.reshape({.shaper = 1, .outer = 9, .rate = kRate, .outer_rate = 2 * kRate});
  b.reshape({.shaper = 2, .outer = 9, .rate = 3 * kRate, .outer_rate = 2 * kRate});
  const auto all = run<3>(world, {&a, &b, &c}, 2s);
  CHECK(about(all[0] + all[1] + all[2], 4 * kRate));
  for (const auto bytes : all) CHECK(bytes > kRate / 4);
}

TEST_CASE("reshape: an unknown flow and one that has ended are counted and left alone") {
  World world;
  Stream stream(world, 41000, {});
  const auto stale = [&] { return world.worker.counters().get(Counter::kStaleEvents); };
  const auto before = stale();
  world.worker.on_reshape({stream.guest.id.slot, stream.guest.id.generation + 1}, {.shaper = 1, .rate = 1});
  world.worker.on_reshape({stream.guest.id.slot + 1, 1}, {.shaper = 1, .rate = 1});
  world.worker.on_reshape({UINT32_MAX, 1}, {.shaper = 1, .rate = 1});
  CHECK(stale() == before + 3);
  const auto [received] = run<1>(world, {&stream}, 200ms);
  CHECK(received > kRate);
}

TEST_CASE("reshape: lines stay whole through any order of joining, leaving and reshaping") {
  ShaperBank bank;
  auto now = base::Instant::from_nanos(1'000'000'000);
  constexpr std::uint32_t kSlots = 12;
  loop::TimerWheel timers(kSlots + Shapers::kTimers, now);
  Shapers shapers(bank, kSlots, timers, kSlots);
  std::array<ShaperIds, kSlots> ids{};
  std::uint64_t state = 4711;
  const auto draw = [&](std::uint64_t n) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33U) % n;
  };
  for (int round = 0; round < 100'000; ++round) {
    const auto slot = static_cast<std::uint32_t>(draw(kSlots));
    const auto shaper = static_cast<std::uint16_t>(1 + draw(3));
    const auto outer = static_cast<std::uint16_t>(draw(2) == 0 ? 0 : 4 + draw(2));
    switch (draw(4)) {
      case 0:
        shapers.leave(slot);
        ids.at(slot) = shapers.adopt(
            {.shaper = shaper, .outer = outer, .rate = kRate, .outer_rate = outer == 0 ? 0 : kRate}, now);
        shapers.rearm(ids.at(slot), now);
        break;
      case 1:
        shapers.leave(slot);
        ids.at(slot) = {};
        break;
      case 2:
        if (ids.at(slot)) {
          const auto most = shapers.allowance(slot, ids.at(slot), plane::Direction::kToHost, 5000, now);
          shapers.charge(ids.at(slot), plane::Direction::kToHost, most, now);
        }
        break;
      default: now = now + base::Duration{static_cast<std::int64_t>(draw(5'000'000))}; break;
    }
    timers.fire_until(now, [&](std::uint32_t timer) {
      shapers.serve(timer, now, [&](std::uint32_t served) {
        CHECK(ids.at(served));  // nobody is served who left
        const auto most = shapers.allowance(served, ids.at(served), plane::Direction::kToHost, 5000, now);
        shapers.charge(ids.at(served), plane::Direction::kToHost, most, now);
      });
    });
  }
  // Everybody leaves, and a newcomer is served at once.
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) shapers.leave(slot);
  now = now + 100s;
  for (std::uint16_t shaper = 1; shaper <= 3; ++shaper) {
    const ShaperIds fresh =
        shapers.adopt({.shaper = shaper, .outer = 4, .rate = kRate, .outer_rate = kRate}, now);
    CHECK(shapers.allowance(0, fresh, plane::Direction::kToHost, 1000, now) == 1000);
  }
}
