// Flows from outside: claimed, declined, opened towards the guest.
#include <netinet/tcp.h>

#include "outside.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

// Closes may wait a moment for company while traffic is dense; who needs the tuple again does not.
void make_busy(World& world) {
  world.link.from_guest(udp_frame(tuple(flow::Protocol::kUdp, 9), bytes_of("x")));
  world.worker.run_once(1s);
}

}  // namespace

TEST_CASE("plane inbound: a connection is claimed, opened towards the guest and carries data both ways") {
  for (const bool v6 : {false, true}) {
    CAPTURE(v6);
    World world;
    Outside peer(world, flow::Protocol::kTcp, 7, v6);
    peer.arrive();
    REQUIRE(world.gate.claims.size() == 1);
    CHECK(world.gate.claims[0].second == 7);
    CHECK(world.gate.requests.empty());
    peer.answer();
    CHECK(world.take_tcp().flags.ack);
    peer.peer_sends("request");
    CHECK(world.take_tcp().payload == "request");
    peer.ack = peer.ack + 7;
    peer.send("reply");
    CHECK(peer.peer_reads() == "reply");
    CHECK(world.count(Counter::kFlowsInbound) == 1);
  }
}

TEST_CASE("plane inbound: what the peer sent, and its end, before the guest answered is not lost") {
  World world;
  Outside peer(world);
  peer.arrive();
  peer.peer_sends("early");
  ::shutdown(peer.pair.far.get(), SHUT_WR);
  world.turn(3);
  CHECK(world.link.output.size() == 1);  // the SYN only
  peer.answer();
  std::string got;
  bool fin = false;
  while (!world.link.output.empty()) {
    const SeenTcp s = world.take_tcp();
    got += s.payload;
    fin = fin || s.flags.fin;
  }
  CHECK(got == "early");
  CHECK(fin);
  peer.ack = peer.ack + 6;
  peer.send("answer", true);
  CHECK(peer.peer_reads() == "answer");
  REQUIRE(world.worker.live_flows() == 1);  // TIME-WAIT
  world.clock.time = world.clock.time + 1s;
  world.turn(2);
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].how == flow::CloseHow::kGraceful);
  CHECK(world.gate.closes[0].id == world.gate.claims[0].first);
  CHECK(world.gate.closes[0].volumes.bytes_to_guest == 5);
  CHECK(world.gate.closes[0].volumes.bytes_from_guest == 6);
}

TEST_CASE("plane inbound: a guest that refuses resets the peer") {
  World world;
  Outside peer(world);
  peer.arrive();
  peer.answer(false);
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].how == flow::CloseHow::kReset);
  CHECK(world.worker.live_flows() == 0);
}

TEST_CASE("plane inbound: a peer that resets before the guest answered ends the attempt") {
  World world;
  Outside peer(world);
  peer.arrive();
  CHECK(world.take_tcp().flags.syn);
  peer.pair.reset();
  world.turn(2);
  const SeenTcp reset = world.take_tcp();
  CHECK(reset.flags.rst);
  CHECK_FALSE(reset.flags.ack);
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].how == flow::CloseHow::kReset);
  CHECK(world.worker.live_flows() == 0);
}

TEST_CASE("plane inbound: a guest that is not there yet gets more SYNs; the peer is reset after 75 s") {
  World world;
  Outside peer(world);
  peer.arrive();
  const base::Instant start = world.clock.time;
  std::vector<std::int64_t> seconds;
  while (world.clock.time < start + 80s) {
    while (!world.link.output.empty()) {
      const SeenTcp s = world.take_tcp();
      if (s.flags.syn) seconds.push_back((world.clock.time - start) / 1s);
    }
    world.clock.time = world.clock.time + 100ms;
    world.turn();
    if (world.clock.time < start + 74s) REQUIRE(world.gate.closes.empty());
  }
  CHECK(seconds == std::vector<std::int64_t>{0, 1, 3, 7, 15, 31, 63});
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].how == flow::CloseHow::kReset);
}

TEST_CASE("plane inbound: an answer to another SYN is answered by RST and changes nothing") {
  World world;
  Outside peer(world);
  peer.arrive();
  const SeenTcp syn = world.take_tcp();
  wire::TcpFields f;
  f.seq = net::SeqNum{1};
  f.ack = syn.seq + 100;
  f.flags = {.syn = true, .ack = true};
  world.link.from_guest(tcp_frame(peer.t, f));
  world.turn();
  const SeenTcp reset = world.take_tcp();
  CHECK(reset.flags.rst);
  CHECK_FALSE(reset.flags.ack);
  CHECK(reset.seq == syn.seq + 100);
  CHECK(world.gate.closes.empty());
  CHECK(world.count(Counter::kStraySegment) == 1);
}

TEST_CASE("plane inbound: no room, a tuple in use and a family without address are declined") {
  WorkerConfig c = config();
  c.limits.flows = 1;
  c.limits.udp_flows = 1;
  c.lan.v6.reset();
  World world(c);
  Outside first(world, flow::Protocol::kTcp, 1);
  first.arrive();
  Outside same(world, flow::Protocol::kTcp, 2);
  same.arrive();
  Outside other(world, flow::Protocol::kTcp, 3);
  other.t.remote.port = net::Port{50001};
  other.arrive();
  Outside datagram(world, flow::Protocol::kUdp, 4);
  datagram.arrive("x");
  Outside v6(world, flow::Protocol::kTcp, 5, true);
  v6.arrive();
  CHECK(world.gate.claims.size() == 1);
  CHECK(world.gate.declines == std::vector<std::uint32_t>{2, 3, 4, 5});
  CHECK(world.count(Counter::kFlowsDeclined) == 4);
  CHECK(world.worker.live_flows() == 1);
}

TEST_CASE("plane inbound: a full channel delays claims, closes and declines, and loses none") {
  World world;
  world.gate.full = true;
  Outside a(world, flow::Protocol::kTcp, 1);
  a.arrive();
  Outside b(world, flow::Protocol::kTcp, 2);  // the same tuple
  b.arrive();
  Outside c(world, flow::Protocol::kUdp, 3);
  c.arrive("x");
  a.answer(false);  // over before the broker knows its name
  CHECK(world.gate.claims.empty());
  CHECK(world.gate.declines.empty());
  CHECK(world.worker.live_flows() == 2);
  world.gate.full = false;
  world.worker.on_gate_writable();
  REQUIRE(world.gate.claims.size() == 2);
  CHECK(world.gate.claims[0].second == 1);
  CHECK(world.gate.claims[1].second == 3);
  CHECK(world.gate.declines == std::vector<std::uint32_t>{2});
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].id == world.gate.claims[0].first);
  CHECK(world.worker.live_flows() == 1);
}

TEST_CASE("plane inbound: a revoked connection is reset for the guest") {
  World world;
  Outside peer(world);
  peer.arrive();
  peer.answer();
  CHECK(world.take_tcp().flags.ack);
  world.worker.on_revoke(world.gate.claims[0].first, flow::RefuseHow::kReject);
  world.turn();
  CHECK(world.take_tcp().flags.rst);
  CHECK(world.gate.closes.size() == 1);
}

TEST_CASE("plane inbound: a peer that uses its port again replaces a connection in TIME-WAIT") {
  for (const bool busy : {false, true}) {
    CAPTURE(busy);
    WorkerConfig c = config();
    c.busy_poll.longest = 1s;
    World world(c);
    Outside peer(world, flow::Protocol::kTcp, 1);
    peer.arrive();
    peer.answer();
    ::shutdown(peer.pair.far.get(), SHUT_WR);
    world.turn(2);
    peer.ack = peer.ack + 1;
    peer.send("", true);
    if (busy) make_busy(world);
    world.link.output.clear();
    const std::uint32_t flows = world.worker.live_flows();  // in TIME-WAIT
    Outside again(world, flow::Protocol::kTcp, 2);
    again.arrive();
    CHECK(world.worker.live_flows() == flows);
    CHECK(world.gate.claims.size() == 2);
    CHECK(world.gate.closes.size() == 1);
    CHECK(world.take_tcp().flags.syn);
  }
}

TEST_CASE("plane tcp: a guest that uses its port again in TIME-WAIT is served at once") {
  for (const bool busy : {false, true}) {
    CAPTURE(busy);
    WorkerConfig c = config();
    c.busy_poll.longest = 1s;
    World world(c);
    GuestTcp guest(world);
    guest.connect();
    ::shutdown(guest.host.get(), SHUT_WR);
    world.turn(2);
    guest.ack = guest.ack + 1;
    guest.send({}, true);
    if (busy) make_busy(world);
    const std::size_t asked = world.gate.requests.size();
    guest.isn = 100'000;
    guest.syn();
    CHECK(world.gate.requests.size() == asked + 1);
    CHECK(world.gate.closes.size() == 1);
  }
}
