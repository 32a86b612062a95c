// The worker against its gate, its table and hostile frames.
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

TEST_CASE("plane gate: a full channel delays requests and closes, in order, and loses none") {
  World world;
  world.gate.full = true;
  GuestTcp a(world, 40001);
  GuestTcp b(world, 40002);
  a.syn();
  b.syn();
  CHECK(world.gate.requests.empty());
  world.gate.full = false;
  world.worker.on_gate_writable();
  REQUIRE(world.gate.requests.size() == 2);
  CHECK(world.gate.requests[0].second == a.t);
  CHECK(world.gate.requests[1].second == b.t);

  a.id = world.gate.requests[0].first;
  world.gate.full = true;
  wire::TcpFields f;
  f.seq = a.seq;
  f.flags.rst = true;
  world.link.from_guest(tcp_frame(a.t, f));
  world.turn();
  CHECK(world.gate.closes.empty());
  CHECK(world.worker.live_flows() == 2);  // its id is still known to the broker
  world.gate.full = false;
  world.worker.on_gate_writable();
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].id == a.id);
  CHECK(world.worker.live_flows() == 1);
}

TEST_CASE("plane gate: a flow that ends before its request left never reaches the gate") {
  World world;
  world.gate.full = true;
  GuestTcp a(world);
  a.syn();
  wire::TcpFields f;
  f.seq = a.seq;
  f.flags.rst = true;
  world.link.from_guest(tcp_frame(a.t, f));
  world.turn();
  world.gate.full = false;
  world.worker.on_gate_writable();
  CHECK(world.gate.requests.empty());
  CHECK(world.gate.closes.empty());
  CHECK(world.worker.live_flows() == 0);
}

TEST_CASE("plane gate: answers for a slot that was reused are ignored") {
  World world;
  GuestTcp a(world, 40001);
  a.syn();
  const flow::Id old = world.gate.requests[0].first;
  world.worker.on_refuse(old, flow::RefuseHow::kDrop);
  world.turn();
  GuestTcp b(world, 40002);
  b.syn();
  const flow::Id fresh = world.gate.requests[1].first;
  REQUIRE(fresh.slot == old.slot);
  world.worker.on_refuse(old, flow::RefuseHow::kReject);
  world.worker.on_revoke(old, flow::RefuseHow::kReject);
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
  const base::Fd other(fds[1]);
  world.worker.on_grant({.id = old, .socket = base::Fd(fds[0])});
  world.turn();
  CHECK(world.link.output.empty());
  CHECK(world.count(Counter::kStaleEvents) == 3);
  char c;
  CHECK(::recv(other.get(), &c, 1, 0) == 0);  // the stale socket was closed
  b.grant();
  CHECK(world.take_tcp().flags.syn);
}

TEST_CASE("plane gate: a full table is a counted drop") {
  WorkerConfig c = config();
  c.limits.flows = 2;
  World world(c);
  for (std::uint16_t port = 1; port <= 3; ++port) GuestTcp(world, port).syn();
  CHECK(world.gate.requests.size() == 2);
  CHECK(world.count(Counter::kDropTableFull) == 1);
}

TEST_CASE("plane gate: every slot can hold a TCP flow, whatever the first ones were promised") {
  WorkerConfig c = config();
  c.limits.flows = 1024;
  c.limits.stash_bytes = c.limits.flows * kStashPerFlow;
  World world(c);
  for (std::uint16_t port = 1; port <= 1024; ++port) GuestTcp(world, port).syn();
  CHECK(world.gate.requests.size() == 1024);
  CHECK(world.count(Counter::kDropTableFull) == 0);
}

TEST_CASE("plane ingress: spoofed sources are dropped, counted and reported, with a limit on reports") {
  World world;
  flow::Tuple t = tuple(flow::Protocol::kUdp);
  t.guest.address = *net::parse_ip("10.0.2.99");
  for (int i = 0; i < 100; ++i) {
    world.link.from_guest(udp_frame(t, bytes_of("x")));
    world.turn();
  }
  CHECK(world.count(Counter::kDropSpoofed) == 100);
  CHECK(world.gate.packets.size() >= 1);
  CHECK(world.gate.packets.size() <= 20);
  CHECK(world.gate.packets[0].tuple.guest.address == *net::parse_ip("10.0.2.99"));
  CHECK(world.gate.packets[0].tuple.remote.port == net::Port{80});
  CHECK(world.gate.requests.empty());
  auto mac = udp_frame(tuple(flow::Protocol::kUdp), bytes_of("x"));
  mac[11] = std::byte{0x77};
  world.link.from_guest(mac);
  world.turn();
  CHECK(world.count(Counter::kDropSpoofed) == 101);
}

TEST_CASE("plane ingress: every frame has exactly one outcome, whatever its bytes") {
  World world;
  std::uint32_t state = 12345;
  const auto random = [&state] { return state = state * 1664525U + 1013904223U, state >> 8U; };
  const std::array<flow::Protocol, 2> protocols{flow::Protocol::kTcp, flow::Protocol::kUdp};
  std::uint64_t frames = 0;
  for (int i = 0; i < 3000; ++i) {
    const flow::Tuple t =
        tuple(protocols[random() % 2], static_cast<std::uint16_t>(40000 + random() % 20), random() % 2 == 0);
    wire::TcpFields f;
    f.seq = net::SeqNum{random()};
    f.flags = wire::TcpFlags::from_bits(static_cast<std::uint8_t>(random()));
    auto frame = t.protocol == flow::Protocol::kTcp ? tcp_frame(t, f, bytes_of("payload"))
                                                    : udp_frame(t, bytes_of("payload"));
    link::Offload offload;
    if (random() % 2 == 0) {
      frame[random() % frame.size()] = static_cast<std::byte>(random());
      offload.checksum_valid = random() % 2 == 0;
      if (random() % 4 == 0) {
        offload.needs_checksum = true;
        offload.checksum_start = static_cast<std::uint16_t>(random() % 64);
        offload.checksum_offset = static_cast<std::uint16_t>(random() % 32);
        offload.gso = static_cast<link::Gso>(random() % 4);
        offload.gso_size = static_cast<std::uint16_t>(random() % 16);
      }
    }
    if (random() % 8 == 0) frame.resize(random() % frame.size());
    world.link.from_guest(frame, offload);
    ++frames;
    if (i % 16 == 0) world.turn();
    if (i % 64 == 0 && !world.gate.requests.empty())
      world.worker.on_refuse(world.gate.requests.back().first, flow::RefuseHow::kReject);
  }
  world.turn(200);
  CHECK(world.count(Counter::kFramesFromGuest) == frames);
  CHECK(world.outcomes() == frames);
}

TEST_CASE("plane ingress: fragments, multicast and unknown protocols are counted by reason") {
  World world;
  auto fragment = udp_frame(tuple(flow::Protocol::kUdp), bytes_of("12345678"));
  fragment[20] = std::byte{0x20};  // more fragments, no DF; the header checksum follows
  const std::uint32_t sum =
      base::load_be<std::uint16_t>(std::span(std::as_const(fragment)).subspan<24, 2>()) + 0x2000U;
  base::store_be<std::uint16_t>(std::span(fragment).subspan<24, 2>(),
                                static_cast<std::uint16_t>(sum + (sum >> 16U)));
  world.link.from_guest(fragment);
  flow::Tuple group = tuple(flow::Protocol::kUdp);
  group.remote.address = *net::parse_ip("224.0.0.251");
  world.link.from_guest(udp_frame(group, bytes_of("x")));
  world.turn();
  CHECK(world.count(Counter::kFragmentHeld) == 1);
  CHECK(world.count(Counter::kDropMulticast) == 1);
  CHECK(world.outcomes() == 2);
}
