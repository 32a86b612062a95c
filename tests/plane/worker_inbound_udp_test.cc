// Datagram flows from outside: first datagrams, late ones, ends, and who makes room for whom.
#include <netinet/udp.h>

#include "outside.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

std::string udp_to_guest(World& world, const flow::Tuple& t) {
  if (world.link.output.empty()) return "(nothing)";
  const auto item = std::move(world.link.output.front());
  world.link.output.pop_front();
  const auto ethernet = wire::EthernetView::parse(item.bytes);
  REQUIRE(ethernet);
  const auto packet =
      wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kSkipL4);
  REQUIRE(packet);
  CHECK(packet->source == t.remote.address);
  CHECK(packet->destination == t.guest.address);
  const auto view = wire::UdpView::parse(packet->l4);
  REQUIRE(view);
  CHECK(view->source_port() == t.remote.port);
  CHECK(view->destination_port() == t.guest.port);
  return text_of(view->payload());
}

}  // namespace

TEST_CASE("plane inbound: the first datagram reaches the guest and the answer goes by the flow's socket") {
  for (const bool v6 : {false, true}) {
    for (const std::string_view text : {"hello", ""}) {
      CAPTURE(v6);
      World world;
      Outside peer(world, flow::Protocol::kUdp, 9, v6);
      peer.arrive(text);
      REQUIRE(world.gate.claims.size() == 1);
      CHECK(udp_to_guest(world, peer.t) == text);
      world.link.from_guest(udp_frame(peer.t, bytes_of("answer")));
      world.turn();
      CHECK(peer.peer_reads() == "answer");
      peer.peer_sends("more");
      CHECK(udp_to_guest(world, peer.t) == "more");
      CHECK(world.gate.requests.empty());
    }
  }
}

TEST_CASE("plane inbound: a further first datagram goes by the flow that exists") {
  World world;
  Outside peer(world, flow::Protocol::kUdp, 1);
  peer.arrive("one");
  Outside again(world, flow::Protocol::kUdp, 2);
  again.arrive("two");
  CHECK(udp_to_guest(world, peer.t) == "one");
  CHECK(udp_to_guest(world, peer.t) == "two");
  CHECK(world.gate.claims.size() == 1);
  CHECK(world.gate.declines == std::vector<std::uint32_t>{2});
  CHECK(world.count(Counter::kDatagramsLate) == 1);
}

TEST_CASE("plane inbound: datagrams that reached the listener late are delivered while the flow lives") {
  World world;
  Outside peer(world, flow::Protocol::kUdp, 1);
  peer.arrive("one");
  const flow::Id id = world.gate.claims[0].first;
  const auto two = bytes_of("two");
  world.worker.on_late_datagram({id, two});
  CHECK(udp_to_guest(world, peer.t) == "one");
  CHECK(udp_to_guest(world, peer.t) == "two");
  world.worker.on_revoke(id, flow::RefuseHow::kDrop);
  world.worker.on_late_datagram({id, two});
  world.worker.on_late_datagram({{id.slot, id.generation + 1}, two});
  world.turn();
  CHECK(world.link.output.empty());
  CHECK(world.count(Counter::kDatagramsLate) == 1);
  CHECK(world.count(Counter::kStaleEvents) == 2);
}

TEST_CASE("plane inbound: a first datagram above the guest's MTU comes in fragments") {
  World world;
  Outside peer(world, flow::Protocol::kUdp);
  peer.arrive(std::string(4000, 'f'));
  CHECK(world.link.output.size() == 3);
  CHECK(world.count(Counter::kFragmentsToGuest) == 1);
}

TEST_CASE("plane inbound: datagram flows end by their idle timer as others do") {
  World world;
  Outside asked(world, flow::Protocol::kUdp, 1);
  asked.arrive("x");
  world.clock.time = world.clock.time + 31s;
  world.turn(2);
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].reason == flow::EndReason::kTimeout);
  CHECK(world.gate.closes[0].volumes.bytes_to_guest == 1);
  Outside stream(world, flow::Protocol::kUdp, 2);
  stream.arrive("x");
  world.link.from_guest(udp_frame(stream.t, bytes_of("y")));
  world.turn();
  world.clock.time = world.clock.time + 31s;
  world.turn(2);
  CHECK(world.gate.closes.size() == 1);
  world.clock.time = world.clock.time + 100s;
  world.turn(2);
  CHECK(world.gate.closes.size() == 2);
}

TEST_CASE("plane inbound: a new peer takes an idle peer's place, and never more than the part for peers") {
  World world;  // 8 datagram flows, 2 of them from outside
  for (std::uint32_t i = 1; i <= 4; ++i) {
    CAPTURE(i);
    Outside peer(world, flow::Protocol::kUdp, i);
    peer.t.remote.port = net::Port{static_cast<std::uint16_t>(50000 + i)};
    if (i == 4) world.clock.time = world.clock.time + 3s;
    world.turn();
    peer.arrive("x");
    CHECK(world.worker.live_flows() == std::min(i, 2U));
  }
  CHECK(world.gate.claims.size() == 3);
  CHECK(world.gate.declines.size() == 1);  // nobody was idle yet
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].id == world.gate.claims[0].first);
  CHECK(world.count(Counter::kFlowsEvicted) == 1);
}

TEST_CASE("plane inbound: a flood of new peers never ends what the guest began, however idle") {
  World world;
  for (std::uint16_t i = 0; i < 7; ++i) {
    world.link.from_guest(
        udp_frame(tuple(flow::Protocol::kUdp, static_cast<std::uint16_t>(100 + i)), bytes_of("x")));
    world.turn();
  }
  REQUIRE(world.gate.requests.size() == 7);
  std::uint32_t number = 1;
  for (int round = 0; round < 5; ++round) {
    world.clock.time = world.clock.time + 3s;
    world.turn();
    for (int i = 0; i < 10; ++i, ++number) {
      Outside peer(world, flow::Protocol::kUdp, number);
      peer.t.remote.port = net::Port{static_cast<std::uint16_t>(50000 + number)};
      peer.arrive("x");
    }
  }
  CHECK(world.worker.live_flows() == 8);
  CHECK(world.gate.claims.size() == 5);
  REQUIRE(world.gate.closes.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(world.gate.closes[i].id == world.gate.claims[i].first);
  // The guest, for its part, takes the longest idle one of all: here its own first.
  world.link.from_guest(udp_frame(tuple(flow::Protocol::kUdp, 200), bytes_of("x")));
  world.turn();
  REQUIRE(world.gate.closes.size() == 5);
  CHECK(world.gate.closes[4].id == world.gate.requests[0].first);
}
