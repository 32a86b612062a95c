#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

TEST_CASE("plane tcp: nothing is said to the guest before the grant, then SYN-ACK, then data both ways") {
  for (const bool v6 : {false, true}) {
    CAPTURE(v6);
    World world;
    GuestTcp guest(world, 40000, v6);
    guest.syn();
    CHECK(world.link.output.empty());
    REQUIRE(world.gate.requests.size() == 1);
    CHECK(world.gate.requests[0].second == guest.t);
    guest.grant();
    const SeenTcp answer = world.take_tcp();
    CHECK(answer.flags.syn);
    CHECK(answer.ack == net::SeqNum{1001});
    guest.ack = answer.seq + 1;
    guest.send({});
    guest.send(bytes_of("question"));
    CHECK(guest.host_reads() == "question");
    REQUIRE(::send(guest.host.get(), "answer", 6, 0) == 6);
    world.turn();
    const SeenTcp data = world.take_tcp();
    CHECK(data.payload == "answer");
    CHECK(data.ack == net::SeqNum{1001} + 8);
    CHECK(data.offload.needs_checksum);
    CHECK(world.outcomes() == world.count(Counter::kFramesFromGuest));
  }
}

TEST_CASE("plane tcp: the segments of one batch leave as one write and get one ACK") {
  World world;
  GuestTcp guest(world);
  guest.connect();
  world.link.output.clear();
  for (int i = 0; i < 20; ++i) guest.queue(bytes_of(std::string(1000, static_cast<char>('a' + i))));
  world.turn();
  const std::string got = guest.host_reads();
  REQUIRE(got.size() == 20000);
  CHECK(got.substr(19000) == std::string(1000, 't'));
  REQUIRE(world.link.output.size() == 1);
  CHECK(world.take_tcp().ack == guest.seq);
}

TEST_CASE("plane tcp: out of order bytes are kept and delivered once the gap closes") {
  World world;
  GuestTcp guest(world);
  guest.connect();
  const net::SeqNum start = guest.seq;
  guest.seq = start + 6;
  guest.send(bytes_of("second"));
  CHECK(guest.host_reads().empty());
  guest.seq = start;
  guest.send(bytes_of("first "));
  guest.seq = start + 12;
  world.turn();
  CHECK(guest.host_reads() == "first second");
}

TEST_CASE("plane tcp: what a full socket does not take is stashed, never lost, and flushed before FIN") {
  World world;
  GuestTcp guest(world);
  guest.connect();
  std::string sent;
  std::string got;
  bool stalled = false;
  // As much as the window allows while the host reads nothing.
  for (int i = 0; i < 2000; ++i) {
    world.link.output.clear();
    const std::string piece(1400, static_cast<char>('a' + i % 26));
    guest.send(bytes_of(piece));
    sent += piece;
    if (world.link.output.empty()) continue;
    const SeenTcp answer = world.take_tcp();
    REQUIRE(answer.ack == guest.seq);
    if (std::uint32_t{answer.window} << 8U < 1400) {
      stalled = true;
      break;
    }
  }
  CHECK(stalled);
  guest.send({}, true);
  CHECK(world.gate.closes.empty());
  for (int i = 0; i < 500 && got.size() < sent.size(); ++i) {
    got += guest.host_reads();
    world.turn();
  }
  CHECK(got == sent);
  char c;
  CHECK(::recv(guest.host.get(), &c, 1, 0) == 0);  // FIN came after the last byte
}

TEST_CASE("plane tcp: a bulk answer leaves as super-segments and waits for the window") {
  World world;
  GuestTcp guest(world);
  guest.connect();
  world.link.output.clear();
  const std::string blob(100'000, 'z');
  REQUIRE(::send(guest.host.get(), blob.data(), blob.size(), 0) > 0);
  std::size_t got = 0;
  bool super = false;
  for (int i = 0; i < 200 && got < blob.size(); ++i) {
    world.turn();
    while (!world.link.output.empty()) {
      const SeenTcp data = world.take_tcp();
      if (data.payload.empty()) continue;
      if (data.payload.size() > 1460) {
        super = true;
        CHECK(data.offload.gso == link::Gso::kTcp4);
        CHECK(data.offload.gso_size == 1460);
      }
      got += data.payload.size();
      guest.ack = data.seq + static_cast<std::uint32_t>(data.payload.size());
    }
    guest.send({});
  }
  CHECK(got == blob.size());
  CHECK(super);
}

TEST_CASE("plane tcp: a guest that gives its offloads up gets single segments with full checksums") {
  World world;
  GuestTcp guest(world);
  guest.connect();
  world.link.output.clear();
  world.link.caps = {};
  const std::string blob(100'000, 'z');
  REQUIRE(::send(guest.host.get(), blob.data(), blob.size(), 0) > 0);
  std::size_t got = 0;
  for (int i = 0; i < 300 && got < blob.size(); ++i) {
    world.turn();
    while (!world.link.output.empty()) {
      const SeenTcp data = world.take_tcp();
      CHECK(data.payload.size() <= 1460);
      CHECK(data.offload.gso == link::Gso::kNone);
      CHECK_FALSE(data.offload.needs_checksum);
      got += data.payload.size();
      guest.ack = data.seq + static_cast<std::uint32_t>(data.payload.size());
    }
    guest.send({});
  }
  CHECK(got == blob.size());
}

TEST_CASE("plane tcp: half close in both directions ends gracefully with the volumes") {
  World world;
  GuestTcp guest(world);
  guest.connect();
  guest.send(bytes_of("request"), true);
  CHECK(guest.host_reads() == "request");
  char c;
  CHECK(::recv(guest.host.get(), &c, 1, 0) == 0);
  REQUIRE(::send(guest.host.get(), "reply", 5, 0) == 5);
  guest.host.reset();
  world.turn(3);
  std::string got;
  while (!world.link.output.empty()) {
    const SeenTcp seen = world.take_tcp();
    got += seen.payload;
    guest.ack = seen.seq + static_cast<std::uint32_t>(seen.payload.size()) + (seen.flags.fin ? 1U : 0U);
  }
  CHECK(got == "reply");
  guest.send({});
  world.turn();
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].how == flow::CloseHow::kGraceful);
  CHECK(world.gate.closes[0].volumes.bytes_from_guest == 7);
  CHECK(world.gate.closes[0].volumes.bytes_to_guest == 5);
  CHECK(world.worker.live_flows() == 0);
}

TEST_CASE("plane tcp: a RST of the guest resets the host side") {
  World world;
  GuestTcp guest(world);
  guest.connect();
  wire::TcpFields f;
  f.seq = guest.seq;
  f.ack = guest.ack;
  f.flags.rst = f.flags.ack = true;
  world.link.from_guest(tcp_frame(guest.t, f));
  world.turn();
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].how == flow::CloseHow::kReset);
  CHECK(world.gate.closes[0].reason == flow::EndReason::kReset);
}

TEST_CASE("plane tcp: refusals look as they were meant") {
  struct Case {
    std::string_view name;
    flow::RefuseHow how;
    std::size_t frames;
    bool reset;
  };
  for (const Case& c : {Case{"policy", flow::RefuseHow::kReject, 1, true},
                        Case{"refused", flow::RefuseHow::kConnectionRefused, 1, true},
                        Case{"silent", flow::RefuseHow::kDrop, 0, false},
                        Case{"unreachable", flow::RefuseHow::kHostUnreachable, 1, false}}) {
    CAPTURE(c.name);
    World world;
    GuestTcp guest(world);
    guest.syn();
    world.worker.on_refuse(world.gate.requests[0].first, c.how);
    world.turn();
    REQUIRE(world.link.output.size() == c.frames);
    if (c.reset) {
      const SeenTcp reset = world.take_tcp();
      CHECK(reset.flags.rst);
      CHECK(reset.ack == net::SeqNum{1001});
    }
    CHECK(world.gate.closes.empty());
    CHECK(world.worker.live_flows() == 0);
  }
}

TEST_CASE("plane tcp: a revocation tells the guest and closes at the gate") {
  World world;
  GuestTcp guest(world);
  guest.connect();
  world.link.output.clear();
  world.worker.on_revoke(guest.id, flow::RefuseHow::kReject);
  world.turn();
  CHECK(world.take_tcp().flags.rst);
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].how == flow::CloseHow::kReset);
  CHECK(world.gate.closes[0].reason == flow::EndReason::kRevoked);
}

TEST_CASE("plane tcp: segments without a flow are answered by RST, a RST by nothing") {
  World world;
  GuestTcp guest(world);
  guest.seq = net::SeqNum{5000};
  guest.ack = net::SeqNum{7000};
  guest.send(bytes_of("data"));
  const SeenTcp reset = world.take_tcp();
  CHECK(reset.flags.rst);
  CHECK_FALSE(reset.flags.ack);
  CHECK(reset.seq == net::SeqNum{7000});
  wire::TcpFields f;
  f.seq = net::SeqNum{1};
  f.flags.rst = true;
  world.link.from_guest(tcp_frame(guest.t, f));
  world.turn();
  CHECK(world.link.output.empty());
  CHECK(world.gate.requests.empty());
  CHECK(world.count(Counter::kStraySegment) == 2);
}

TEST_CASE("plane tcp: a busy link gets the frame later") {
  World world;
  GuestTcp guest(world);
  guest.syn();
  world.link.refuse = 2;
  guest.grant();
  CHECK(world.link.output.empty());
  world.turn(3);
  CHECK(world.take_tcp().flags.syn);
}

TEST_CASE("plane tcp: a bulk flow does not starve another one") {
  WorkerConfig c = config();
  c.limits.turn_bytes = 32U << 10U;
  World world(c);
  GuestTcp bulk(world, 40000);
  bulk.connect();
  GuestTcp small(world, 40001);
  small.connect();
  world.link.output.clear();
  const std::string blob(150'000, 'b');
  REQUIRE(::send(bulk.host.get(), blob.data(), blob.size(), 0) > 64'000);
  REQUIRE(::send(small.host.get(), "tiny", 4, 0) == 4);
  world.turn();
  bool seen = false;
  std::size_t before = 0;
  while (!world.link.output.empty() && !seen) {
    const SeenTcp data = world.take_tcp();
    seen = data.payload == "tiny";
    before += data.payload.size();
  }
  CHECK(seen);
  CHECK(before <= (32U << 10U) + 4);
}

TEST_CASE("plane tcp: while traffic is dense a close waits for the next request, or for a lull") {
  for (const bool lull : {false, true}) {
    CAPTURE(lull);
    WorkerConfig c = config();
    c.busy_poll.longest = 10s;
    World world(c);
    GuestTcp guest(world);
    guest.connect();
    // A sleep that ends at once is what makes the poller busy.
    guest.queue(bytes_of("x"));
    world.worker.run_once(1s);
    wire::TcpFields f;
    f.seq = guest.seq;
    f.ack = guest.ack;
    f.flags.rst = f.flags.ack = true;
    world.link.from_guest(tcp_frame(guest.t, f));
    world.turn();
    CHECK(world.gate.closes.empty());
    if (lull) {
      world.worker.run_once(1ms);
    } else {
      GuestTcp next(world, 40001);
      next.syn();
      CHECK(world.gate.requests.size() == 2);
    }
    REQUIRE(world.gate.closes.size() == 1);
    CHECK(world.gate.closes[0].how == flow::CloseHow::kReset);
  }
}
