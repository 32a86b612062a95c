// Rate limits, measured: bytes over the time of a fake clock.
#include "core/plane/shapers.h"

#include "core/loop/timer_wheel.h"
#include "streams.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

constexpr std::uint64_t kRate = 1'000'000;
constexpr std::uint64_t kBurst = 100'000;

}  // namespace

TEST_CASE("shapers: a TCP stream to the guest gets its rate, after one burst") {
  for (const std::uint64_t rate : {std::uint64_t{50'000}, kRate, std::uint64_t{20'000'000}}) {
    CAPTURE(rate);
    World world;
    Stream stream(world, 41000, {.shaper = 1, .rate = rate});
    std::array<Stream*, 1> all{&stream};
    const std::uint64_t burst = std::max<std::uint64_t>(rate / 10, 65536);
    run_to_guest(world, all, 2s);
    CHECK(stream.received >= burst + rate * 2 * 97 / 100);
    CHECK(stream.received <= burst + rate * 2 + 65536);
  }
}

TEST_CASE("shapers: flows of one shaper share evenly, other shapers and the unshaped are not touched") {
  World world;
  Stream a(world, 41000, {.shaper = 1, .rate = kRate});
  Stream b(world, 41001, {.shaper = 1, .rate = kRate});
  Stream c(world, 41002, {.shaper = 2, .rate = 3 * kRate});
  Stream free(world, 41003, {});
  std::array<Stream*, 4> all{&a, &b, &c, &free};
  run_to_guest(world, all, 3s);
  const double share = static_cast<double>(a.received) / static_cast<double>(a.received + b.received);
  CHECK(share > 0.45);
  CHECK(share < 0.55);
  CHECK(a.received + b.received <= kBurst + 3 * kRate + 65536);
  CHECK(c.received >= 3 * 3 * kRate * 97 / 100);
  CHECK(free.received > 10 * kRate * 3);
}

TEST_CASE("shapers: the outer one bounds all its inner ones together") {
  World world;
  Stream a(world, 41000, {.shaper = 1, .outer = 9, .rate = kRate, .outer_rate = kRate});
  Stream b(world, 41001, {.shaper = 2, .outer = 9, .rate = kRate, .outer_rate = kRate});
  std::array<Stream*, 2> all{&a, &b};
  run_to_guest(world, all, 3s);
  CHECK(a.received + b.received >= 3 * kRate * 95 / 100);
  CHECK(a.received + b.received <= kBurst + 3 * kRate + 65536);
  CHECK(a.received > kRate);
  CHECK(b.received > kRate);
}

TEST_CASE("shapers: a TCP stream from the guest leaves at its rate, nothing is lost, the window closes") {
  World world;
  Stream stream(world, 41000, {.shaper = 1, .rate = kRate});
  GuestTcp& guest = stream.guest;
  std::uint64_t arrived = 0;
  std::uint64_t sent = 0;
  std::uint32_t window = 65535;
  net::SeqNum acked = guest.seq;
  for (int ms = 0; ms < 2000; ++ms) {
    // The guest sends what the window allows.
    while ((guest.seq.raw() - acked.raw()) + 1000 <= window) {
      guest.send(bytes_of(std::string(1000, static_cast<char>('a' + (sent / 1000) % 26))));
      sent += 1000;
      while (!world.link.output.empty()) {
        const SeenTcp seen = world.take_tcp();
        acked = seen.ack;
        window = std::uint32_t{seen.window} << 7U;
      }
      if (sent > 20'000'000) break;
    }
    world.turn(3);
    while (!world.link.output.empty()) {
      const SeenTcp seen = world.take_tcp();
      acked = seen.ack;
      window = std::uint32_t{seen.window} << 7U;
    }
    const std::string got = guest.host_reads();
    for (std::size_t i = 0; i < got.size(); ++i)
      if (got[i] != static_cast<char>('a' + ((arrived + i) / 1000) % 26)) FAIL("content differs");
    arrived += got.size();
    world.clock.time = world.clock.time + 1ms;
  }
  CHECK(arrived >= kBurst + 2 * kRate * 95 / 100);
  CHECK(arrived <= kBurst + 2 * kRate + 65536);
  // What the guest could send ahead is bounded by the credit, not by the time.
  CHECK(sent - arrived <= std::uint64_t{1} << 20U);
}

TEST_CASE("shapers: the end of a shaped stream comes after all its bytes") {
  World world;
  Stream stream(world, 41000, {.shaper = 1, .rate = 20'000});
  GuestTcp& guest = stream.guest;
  for (int i = 0; i < 60; ++i) guest.send(bytes_of(std::string(1000, 'x')));
  guest.send(bytes_of(std::string(1000, 'x')), true);
  std::uint64_t arrived = 0;
  bool ended = false;
  for (int ms = 0; ms < 20'000 && !ended; ms += 10) {
    world.turn(3);
    std::string buffer(65536, '\0');
    ssize_t n = 0;
    while ((n = ::recv(guest.host.get(), buffer.data(), buffer.size(), 0)) > 0)
      arrived += static_cast<std::uint64_t>(n);
    ended = n == 0;
    world.clock.time = world.clock.time + 10ms;
  }
  CHECK(ended);
  CHECK(arrived == 61'000);
}

TEST_CASE("shapers: a flow that waits for tokens costs nothing while it waits") {
  World world;
  Stream stream(world, 41000, {.shaper = 1, .rate = 1000});
  std::array<Stream*, 1> all{&stream};
  run_to_guest(world, all, 5s, 10ms);  // timers of the handshake and the burst are over, too
  REQUIRE(stream.received >= 65536);
  // The clock stands still: what is due next is more than 100 ms away most of the time.
  int patient = 0;
  for (int i = 0; i < 3; ++i) {
    const auto begun = base::monotonic_now();
    world.worker.run_once(150ms);
    patient += base::monotonic_now() - begun >= 100ms ? 1 : 0;
    world.clock.time = world.clock.time + 10ms;
  }
  CHECK(patient >= 2);
}

TEST_CASE("shapers: datagrams over the rate are dropped and counted, both ways") {
  World world;
  const flow::Tuple t = tuple(flow::Protocol::kUdp);
  world.link.from_guest(udp_frame(t, bytes_of("x")));
  world.turn();
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
  const base::Fd host(fds[1]);
  world.worker.on_grant({.id = world.gate.requests.back().first,
                         .socket = base::Fd(fds[0]),
                         .shaping = {.shaper = 1, .rate = kRate}});
  world.turn();
  std::uint64_t out = 0;
  std::uint64_t in = 0;
  std::string buffer(2000, '\0');
  for (int ms = 0; ms < 2000; ++ms) {
    for (int i = 0; i < 4; ++i) {
      world.link.from_guest(udp_frame(t, bytes_of(std::string(1000, 'u'))));
      REQUIRE(::send(host.get(), buffer.data(), 1000, 0) == 1000);
      world.turn();
    }
    ssize_t n = 0;
    while ((n = ::recv(host.get(), buffer.data(), buffer.size(), 0)) > 0)
      out += static_cast<std::uint64_t>(n);
    for (const auto& item : world.link.output) in += item.bytes.size() - 42;
    world.link.output.clear();
    world.clock.time = world.clock.time + 1ms;
  }
  CHECK(out >= kBurst + 2 * kRate * 98 / 100);
  CHECK(out <= kBurst + 2 * kRate + 2000);
  CHECK(in >= kBurst + 2 * kRate * 98 / 100);
  CHECK(in <= kBurst + 2 * kRate + 2000);
  CHECK(world.count(Counter::kDropShaped) == 8000 - (out - 1) / 1000);
  CHECK(world.count(Counter::kDatagramsShaped) == 8000 - in / 1000);
  CHECK(world.outcomes() == world.count(Counter::kFramesFromGuest));
}

TEST_CASE("shapers: a jump of the clock gives one burst, not the time's worth") {
  World world;
  Stream stream(world, 41000, {.shaper = 1, .rate = kRate});
  std::array<Stream*, 1> all{&stream};
  run_to_guest(world, all, 500ms);
  const std::uint64_t before = stream.received;
  world.clock.time = world.clock.time + std::chrono::hours{8};
  run_to_guest(world, all, 10ms);
  CHECK(stream.received - before <= kBurst + kRate / 100 + 65536);
}

TEST_CASE("shapers: whoever leaves a line does so from any place, and the others keep theirs") {
  struct LeaveCase {
    std::string_view name;
    std::vector<std::uint32_t> leave;
    std::vector<std::uint32_t> served;
  };
  for (const LeaveCase& c : {LeaveCase{"nobody", {}, {0, 1, 2, 3}}, LeaveCase{"the head", {0}, {1, 2, 3}},
                             LeaveCase{"the middle", {2, 1}, {0, 3}}, LeaveCase{"the tail", {3}, {0, 1, 2}},
                             LeaveCase{"not in line", {5}, {0, 1, 2, 3}},
                             LeaveCase{"both ends", {3, 0}, {1, 2}}, LeaveCase{"all", {1, 0, 3, 2}, {}}}) {
    CAPTURE(c.name);
    ShaperBank bank;
    const auto start = base::Instant::from_nanos(1'000'000'000);
    loop::TimerWheel timers(8 + Shapers::kTimers, start);
    Shapers shapers(bank, 8, timers, 8);
    const ShaperIds ids = shapers.adopt({.shaper = 1, .outer = 2, .rate = kRate, .outer_rate = kRate}, start);
    shapers.charge(ids, Direction::kToHost, 10 * kBurst, start);
    for (std::uint32_t slot = 0; slot < 4; ++slot)
      CHECK(shapers.allowance(slot, ids, Direction::kToHost, 1000, start) == 0);
    for (const std::uint32_t slot : c.leave) shapers.leave(slot);
    std::vector<std::uint32_t> served;
    shapers.serve(8, start + 10s, [&](std::uint32_t slot) { served.push_back(slot); });
    CHECK(served == c.served);
    // Nothing is left of the line: newcomers are served at once, and stand in it again.
    CHECK(shapers.allowance(6, ids, Direction::kToHost, 1000, start + 10s) == 1000);
    shapers.charge(ids, Direction::kToHost, 10 * kBurst, start + 10s);
    for (const std::uint32_t slot : {2U, 0U})
      CHECK(shapers.allowance(slot, ids, Direction::kToHost, 1000, start + 10s) == 0);
    served.clear();
    shapers.serve(8, start + 20s, [&](std::uint32_t slot) { served.push_back(slot); });
    CHECK(served == std::vector<std::uint32_t>{2, 0});
  }
}
