#include <netinet/in.h>
#include <netinet/udp.h>

#include "core/udp/fragments.h"
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

// A connected UDP pair on loopback: what the broker would grant, and the remote end.
struct UdpPair {
  explicit UdpPair(bool v6 = false) {
    const int family = v6 ? AF_INET6 : AF_INET;
    near = base::Fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    far = base::Fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto here = bind(near, v6);
    const auto there = bind(far, v6);
    REQUIRE(::connect(near.get(), &there.generic, there.length) == 0);
    REQUIRE(::connect(far.get(), &here.generic, here.length) == 0);
    const int on = 1;
    REQUIRE(::setsockopt(near.get(), SOL_UDP, UDP_GRO, &on, sizeof on) == 0);
    REQUIRE(::setsockopt(near.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on,
                         sizeof on) == 0);
  }
  static net::SockAddr bind(const base::Fd& fd, bool v6) {
    net::SockAddr address = net::to_sockaddr({*net::parse_ip(v6 ? "::1" : "127.0.0.1"), net::Port{0}});
    REQUIRE(::bind(fd.get(), &address.generic, address.length) == 0);
    REQUIRE(::getsockname(fd.get(), &address.generic, &address.length) == 0);
    return address;
  }
  std::optional<std::string> far_reads() const {
    std::string out(70000, '\0');
    const ssize_t n = ::recv(far.get(), out.data(), out.size(), 0);
    if (n < 0) return std::nullopt;
    out.resize(static_cast<std::size_t>(n));
    return out;
  }
  base::Fd near, far;
};

struct Udp {
  explicit Udp(World& w, bool v6 = false, std::uint16_t port = 40000)
      : world(w), pair(v6), t(tuple(flow::Protocol::kUdp, port, v6)) {}
  void send(std::string_view payload) { world.link.from_guest(udp_frame(t, bytes_of(payload))); }
  void grant() {
    id = world.gate.requests.back().first;
    world.worker.on_grant({.id = id, .socket = std::move(pair.near)});
    world.turn();
  }
  void open() {
    send("first");
    world.turn();
    grant();
    REQUIRE(pair.far_reads() == "first");
  }
  World& world;
  UdpPair pair;
  flow::Tuple t;
  flow::Id id;
};

wire::Packet parse(const ListLink::Item& item) {
  const auto ethernet = wire::EthernetView::parse(item.bytes);
  REQUIRE(ethernet);
  const auto packet = wire::parse_packet(
      ethernet->payload(), ethernet->type(),
      item.offload.needs_checksum ? wire::ChecksumPolicy::kSkipL4 : wire::ChecksumPolicy::kVerifyL4);
  REQUIRE(packet);
  return *packet;
}

}  // namespace

TEST_CASE("plane udp: the first datagrams wait for the grant, in order, empty ones included") {
  for (const bool v6 : {false, true}) {
    World world;
    Udp udp(world, v6);
    for (const std::string_view text : {"one", "", "three"}) udp.send(text);
    world.turn();
    REQUIRE(world.gate.requests.size() == 1);
    udp.grant();
    CHECK(udp.pair.far_reads() == "one");
    CHECK(udp.pair.far_reads() == "");
    CHECK(udp.pair.far_reads() == "three");
    CHECK_FALSE(udp.pair.far_reads());
    CHECK(world.outcomes() == 3);
  }
}

TEST_CASE("plane udp: the queue of a flow without a grant is bounded and counted") {
  World world;
  Udp udp(world);
  for (int i = 0; i < 20; ++i) udp.send("x");
  world.turn();
  CHECK(world.count(Counter::kDropPendingFull) == 12);
  udp.grant();
  int got = 0;
  while (udp.pair.far_reads()) ++got;
  CHECK(got == 8);
}

TEST_CASE("plane udp: runs of equal datagrams arrive as they were sent, whatever their sizes") {
  World world;
  Udp udp(world);
  udp.open();
  std::vector<std::string> sent;
  for (const std::size_t size : {1200U, 1200U, 1200U, 700U, 700U, 0U, 1U, 1U, 1400U, 1400U, 20U, 20U, 1400U})
    sent.emplace_back(size, static_cast<char>('a' + sent.size()));
  for (const auto& datagram : sent) udp.send(datagram);
  world.turn();
  for (const auto& datagram : sent) CHECK(udp.pair.far_reads() == datagram);
  CHECK_FALSE(udp.pair.far_reads());
  CHECK(world.outcomes() == world.count(Counter::kFramesFromGuest));
}

TEST_CASE("plane udp: a super-frame of the guest is split by its segment size") {
  World world;
  Udp udp(world);
  udp.open();
  std::string payload;
  for (int i = 0; i < 45; ++i) payload += std::string(1000, static_cast<char>('A' + i));
  payload += "tail";
  link::Offload offload;
  offload.needs_checksum = true;
  offload.checksum_start = 34;
  offload.checksum_offset = 6;
  offload.gso = link::Gso::kUdp;
  offload.gso_size = 1000;
  offload.header_length = 42;
  world.link.from_guest(udp_frame(udp.t, bytes_of(payload)), offload);
  world.turn();
  for (int i = 0; i < 45; ++i) CHECK(udp.pair.far_reads() == std::string(1000, static_cast<char>('A' + i)));
  CHECK(udp.pair.far_reads() == "tail");
  CHECK(world.outcomes() == world.count(Counter::kFramesFromGuest));
}

TEST_CASE("plane udp: answers become super-frames with USO and single frames without") {
  for (const bool uso : {true, false}) {
    CAPTURE(uso);
    WorkerConfig c = config();
    ListLink probe;
    World world(c);
    world.link.caps.uso = uso;
    // Capabilities are read at construction: build the worker again on the changed link.
    world.worker.~Worker();
    std::construct_at(&world.worker, c, world.link, world.gate, world.clock);
    Udp udp(world);
    udp.open();
    for (int i = 0; i < 10; ++i)
      REQUIRE(::send(udp.pair.far.get(), std::string(500, 'r').data(), 500, 0) == 500);
    REQUIRE(::send(udp.pair.far.get(), "end", 3, 0) == 3);
    world.turn(2);
    if (uso) {
      REQUIRE(world.link.output.size() == 1);
      CHECK(world.link.output[0].offload.gso == link::Gso::kUdp);
      CHECK(world.link.output[0].offload.gso_size == 500);
      CHECK(parse(world.link.output[0]).l4.size() == 8 + 5003);
    } else {
      REQUIRE(world.link.output.size() == 11);
      CHECK(parse(world.link.output[10]).l4.size() == 8 + 3);
    }
  }
}

TEST_CASE("plane udp: what exceeds the guest's MTU arrives as fragments") {
  World world;
  Udp udp(world);
  udp.open();
  REQUIRE(::send(udp.pair.far.get(), std::string(4000, 'f').data(), 4000, 0) == 4000);
  world.turn(2);
  REQUIRE(world.link.output.size() == 3);
  CHECK(parse(world.link.output[0]).more_fragments);
  CHECK_FALSE(parse(world.link.output[2]).more_fragments);
  CHECK(world.count(Counter::kFragmentsToGuest) == 1);
}

TEST_CASE("plane udp: fragmented datagrams of one batch arrive whole and unmixed") {
  World world;
  Udp udp(world);
  udp.open();
  const auto flow = from_guest(udp.t, wire::IpProtocol::kUdp);
  for (std::uint32_t id = 0; id < 20; ++id) {
    const auto payload = bytes_of(std::string(4000, static_cast<char>('a' + id)));
    udp::Fragments fragments(flow, payload, 1500, id);
    std::array<std::byte, wire::kMaxHeaders> headers;
    while (const auto fragment = fragments.next(headers))
      world.link.from_guest(join(headers, fragment->header_length, fragment->payload));
  }
  world.turn(2);
  for (std::uint32_t id = 0; id < 20; ++id) {
    const auto got = udp.pair.far_reads();
    REQUIRE(got);
    CHECK((*got == std::string(4000, static_cast<char>('a' + id))));
  }
  CHECK(world.outcomes() == world.count(Counter::kFramesFromGuest));
}

TEST_CASE("plane udp: a closed port of the remote becomes ICMP port unreachable in its name") {
  World world;
  Udp udp(world);
  udp.open();
  udp.pair.far.reset();
  udp.send("lost");
  world.turn(3);
  REQUIRE(world.link.output.size() == 1);
  const wire::Packet error = parse(world.link.output[0]);
  CHECK(error.protocol == wire::IpProtocol::kIcmp);
  CHECK(error.source == udp.t.remote.address);
  CHECK(error.l4[0] == std::byte{3});
  CHECK(error.l4[1] == std::byte{3});
}

TEST_CASE("plane udp: a refusal quotes the first datagram, a silent one says nothing") {
  for (const bool silent : {false, true}) {
    World world;
    Udp udp(world);
    udp.send("hello");
    world.turn();
    world.worker.on_refuse(world.gate.requests[0].first,
                           silent ? flow::RefuseHow::kDrop : flow::RefuseHow::kReject);
    REQUIRE(world.link.output.size() == (silent ? 0 : 1));
    CHECK(world.worker.live_flows() == 0);
    if (silent) continue;
    const wire::Packet error = parse(world.link.output[0]);
    CHECK(error.l4[0] == std::byte{3});
    CHECK(error.l4[1] == std::byte{13});
  }
}

TEST_CASE("plane udp: a flow ends after 30 s, a stream after 120 s of silence") {
  World world;
  Udp udp(world);
  udp.open();
  world.clock.time = world.clock.time + 29s;
  world.turn(2);
  CHECK(world.worker.live_flows() == 1);
  REQUIRE(::send(udp.pair.far.get(), "a", 1, 0) == 1);
  world.turn(2);
  udp.send("again");
  world.turn();
  world.clock.time = world.clock.time + 119s;
  world.turn(2);
  CHECK(world.worker.live_flows() == 1);
  world.clock.time = world.clock.time + 2s;
  world.turn(2);
  CHECK(world.worker.live_flows() == 0);
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].reason == flow::EndReason::kTimeout);
  CHECK(world.gate.closes[0].volumes.bytes_from_guest == 10);
  CHECK(world.gate.closes[0].volumes.bytes_to_guest == 1);
  CHECK(world.gate.closes[0].volumes.datagrams_from_guest == 2);
}

TEST_CASE("plane udp: a full protocol evicts the longest idle flow, but no busy one") {
  World world;
  for (std::uint16_t i = 0; i < 9; ++i) {
    world.link.from_guest(
        udp_frame(tuple(flow::Protocol::kUdp, static_cast<std::uint16_t>(100 + i)), bytes_of("x")));
    world.turn();
  }
  CHECK(world.gate.requests.size() == 8);
  CHECK(world.count(Counter::kDropTableFull) == 1);
  world.clock.time = world.clock.time + 3s;
  world.link.from_guest(udp_frame(tuple(flow::Protocol::kUdp, 200), bytes_of("x")));
  world.turn();
  CHECK(world.gate.requests.size() == 9);
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].id == world.gate.requests[0].first);
  CHECK(world.count(Counter::kFlowsEvicted) == 1);
}

TEST_CASE("plane udp: a revocation is told by ICMP and closed") {
  World world;
  Udp udp(world);
  udp.open();
  world.worker.on_revoke(udp.id, flow::RefuseHow::kReject);
  world.turn();
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].reason == flow::EndReason::kRevoked);
  CHECK(world.link.output.size() == 1);
}

TEST_CASE("plane udp: a flow that comes under a budget says at once where counting begins") {
  World world;
  Udp udp(world);
  udp.send("first");
  world.turn();
  udp.id = world.gate.requests.back().first;
  world.worker.on_grant({.id = udp.id, .socket = std::move(udp.pair.near)});
  world.turn();
  udp.send(std::string(9000, 'u'));
  world.turn();
  CHECK(world.gate.volume_reports.empty());
  world.worker.on_reshape(udp.id, {.report = 3000});
  REQUIRE(world.gate.volume_reports.size() == 1);
  CHECK(world.gate.volume_reports[0].second.bytes_from_guest == 9005);
  world.worker.on_reshape(udp.id, {.shaper = 1, .rate = 1'000'000, .report = 3000});
  CHECK(world.gate.volume_reports.size() == 1);
  udp.send(std::string(2999, 'u'));
  world.turn();
  CHECK(world.gate.volume_reports.size() == 1);
  udp.send("x");
  world.turn();
  CHECK(world.gate.volume_reports.size() == 2);
}

TEST_CASE(
    "plane udp: a metered flow tells its volume by steps, both directions together, and goes on asking") {
  World world;
  Udp udp(world);
  udp.send("first");
  world.turn();
  udp.id = world.gate.requests.back().first;
  world.worker.on_grant({.id = udp.id, .socket = std::move(udp.pair.near), .shaping = {.report = 3000}});
  world.turn();
  udp.send(std::string(1000, 'u'));
  world.turn();
  CHECK(world.gate.volume_reports.empty());
  REQUIRE(::send(udp.pair.far.get(), std::string(1995, 'd').data(), 1995, 0) == 1995);
  world.turn(2);
  REQUIRE(world.gate.volume_reports.size() == 1);
  CHECK(world.gate.volume_reports[0].first == udp.id);
  CHECK(world.gate.volume_reports[0].second.bytes_from_guest == 1005);
  CHECK(world.gate.volume_reports[0].second.bytes_to_guest == 1995);
  world.gate.full = true;  // what finds no room is told with a later datagram
  for (int i = 0; i < 4; ++i) udp.send(std::string(1000, 'u'));
  world.turn();
  CHECK(world.gate.volume_reports.size() == 1);
  world.gate.full = false;
  udp.send("x");
  world.turn();
  REQUIRE(world.gate.volume_reports.size() == 2);
  CHECK(world.gate.volume_reports[1].second.bytes_from_guest == 5006);

  Udp other(world, false, 40001);
  other.open();
  for (int i = 0; i < 10; ++i) other.send(std::string(1000, 'u'));
  world.turn();
  CHECK(world.gate.volume_reports.size() == 2);
}
