// The clock jumps: a process that was stopped, a guest that was paused, a machine that was busy elsewhere.
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

TEST_CASE(
    "plane clock: after a jump of hours each TCP flow with unacknowledged data sends once, not in a storm") {
  World world;
  std::vector<std::unique_ptr<GuestTcp>> guests;
  for (std::uint16_t i = 0; i < 20; ++i) {
    guests.push_back(std::make_unique<GuestTcp>(world, static_cast<std::uint16_t>(41000 + i)));
    guests.back()->connect();
    world.link.output.clear();
    REQUIRE(::send(guests.back()->host.get(), "unacknowledged", 14, 0) == 14);
    world.turn();
    REQUIRE(world.link.output.size() == 1);
    world.link.output.clear();
  }
  world.clock.time = world.clock.time + std::chrono::hours{8};
  world.turn(50);
  CHECK(world.link.output.size() == guests.size());
  world.link.output.clear();
  // The back-off goes on from there: not one more within the next 100 ms.
  world.clock.time = world.clock.time + 100ms;
  world.turn(50);
  CHECK(world.link.output.empty());
  // And the flow works.
  GuestTcp& guest = *guests.front();
  guest.ack = guest.ack + 14;
  guest.send(bytes_of("still here"));
  CHECK(guest.host_reads() == "still here");
}

TEST_CASE("plane clock: a jump makes no turn wait less or spin") {
  World world;
  GuestTcp guest(world);
  guest.connect();
  world.turn(5);
  world.clock.time = world.clock.time + std::chrono::hours{3};
  world.turn(5);
  // With the fake clock standing still a turn that had something due would return at once.
  const auto begun = base::monotonic_now();
  world.worker.run_once(200ms);
  CHECK(base::monotonic_now() - begun >= 150ms);
}

TEST_CASE("plane clock: datagram flows that a jump has outdated end quietly, each once") {
  World world;
  for (std::uint16_t i = 0; i < 8; ++i) {
    const flow::Tuple t = tuple(flow::Protocol::kUdp, static_cast<std::uint16_t>(42000 + i));
    world.link.from_guest(udp_frame(t, bytes_of("x")));
  }
  world.turn(2);
  for (const auto& [id, t] : std::vector(world.gate.requests)) {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
    world.worker.on_grant({.id = id, .socket = base::Fd(fds[0])});
    ::close(fds[1]);
  }
  world.turn(2);
  world.link.output.clear();
  world.clock.time = world.clock.time + std::chrono::hours{8};
  world.turn(10);
  CHECK(world.gate.closes.size() == 8);
  CHECK(world.link.output.empty());
  CHECK(world.worker.live_flows() == 0);
}

TEST_CASE("plane clock: resets for stray segments do not burst beyond their limit after a jump") {
  World world;
  world.clock.time = world.clock.time + std::chrono::hours{8};
  for (std::uint16_t i = 0; i < 400; ++i) {
    wire::TcpFields f;
    f.seq = net::SeqNum{1};
    f.flags.ack = true;
    world.link.from_guest(tcp_frame(tuple(flow::Protocol::kTcp, static_cast<std::uint16_t>(43000 + i)), f));
    world.turn();
  }
  CHECK(world.count(Counter::kResetsSent) == 200);  // the burst, as without a jump
}
