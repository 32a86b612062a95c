// Flows from outside: claimed, declined, opened towards the guest.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

// Two connected sockets on loopback: what the broker offers, and the peer.
struct Pair {
  explicit Pair(flow::Protocol protocol = flow::Protocol::kTcp) {
    const int type = (protocol == flow::Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC;
    base::Fd listener(::socket(AF_INET, type, 0));
    near = base::Fd(::socket(AF_INET, type, 0));
    net::SockAddr at = net::to_sockaddr({*net::parse_ip("127.0.0.1"), net::Port{0}});
    REQUIRE(::bind(listener.get(), &at.generic, at.length) == 0);
    REQUIRE(::getsockname(listener.get(), &at.generic, &at.length) == 0);
    if (protocol == flow::Protocol::kTcp) {
      REQUIRE(::listen(listener.get(), 1) == 0);
      REQUIRE(::connect(near.get(), &at.generic, at.length) == 0);
      far = base::Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    } else {
      REQUIRE(::connect(near.get(), &at.generic, at.length) == 0);
      REQUIRE(::getsockname(near.get(), &at.generic, &at.length) == 0);
      REQUIRE(::connect(listener.get(), &at.generic, at.length) == 0);
      far = std::move(listener);
    }
    REQUIRE(::fcntl(near.get(), F_SETFL, O_NONBLOCK) == 0);
  }
  void reset() {
    const linger now{1, 0};
    REQUIRE(::setsockopt(far.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    far.reset();
  }
  base::Fd near, far;
};

struct Outside {
  explicit Outside(World& w, flow::Protocol protocol = flow::Protocol::kTcp, std::uint32_t number = 7,
                   bool v6 = false)
      : world(w), offer(number), t(tuple(protocol, 8080, v6)), pair(protocol) {
    t.remote.port = net::Port{50000};
  }
  void arrive(std::string_view first = {}) {
    const auto bytes = bytes_of(first);
    flow::Inbound inbound;
    inbound.offer = offer;
    inbound.tuple = t;
    inbound.socket = std::move(pair.near);
    inbound.first = bytes;
    world.worker.on_inbound(std::move(inbound));
    world.turn();
  }
  // The guest answers our SYN, then talks.
  void answer(bool accept = true) {
    const SeenTcp syn = world.take_tcp();
    REQUIRE(syn.flags.syn);
    REQUIRE_FALSE(syn.flags.ack);
    ack = syn.seq + 1;
    wire::TcpFields f;
    f.seq = net::SeqNum{accept ? 9000U : 0U};
    f.ack = ack;
    f.flags = {.syn = accept, .rst = !accept, .ack = true};
    f.window = 65535;
    if (accept) {
      f.mss = 1460;
      f.window_scale = 7;
      f.sack_permitted = true;
    }
    world.link.from_guest(tcp_frame(t, f));
    world.turn();
    seq = f.seq + 1;
  }
  void send(std::string_view payload, bool fin = false) {
    wire::TcpFields f;
    f.seq = seq;
    f.ack = ack;
    f.flags.ack = true;
    f.flags.fin = fin;
    f.window = 500;
    world.link.from_guest(tcp_frame(t, f, bytes_of(payload)));
    world.turn();
    seq = seq + static_cast<std::uint32_t>(payload.size()) + (fin ? 1U : 0U);
  }
  void peer_sends(std::string_view text) {
    REQUIRE(::send(pair.far.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
    world.turn();
  }
  std::string peer_reads() {
    std::string out(70000, '\0');
    const ssize_t n = ::recv(pair.far.get(), out.data(), out.size(), MSG_DONTWAIT);
    error = n < 0 ? errno : 0;
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  World& world;
  std::uint32_t offer;
  flow::Tuple t;
  Pair pair;
  net::SeqNum seq, ack;
  int error = 0;
};

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
