// Several workers with one guest.
#include "core/plane/shared_link.h"

#include <sys/epoll.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "core/wire/ipv4.h"
#include "core/wire/ipv6.h"
#include "fakes.h"
#include "tests/wire/packets.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

struct Lane {
  Lane(const WorkerConfig& config, WorkerGroup& group, std::uint32_t self)
      : link(queue, group, self), worker(config, link, gate, clock), sorter(link, worker, gate) {}
  ListLink queue;
  ListGate gate;
  TestClock clock;
  SharedLink link;
  Worker worker;
  InboundSorter sorter;
};

struct Crew {
  explicit Crew(std::uint32_t workers, std::size_t ring_bytes = WorkerGroup::kRingBytes)
      : group(config().key, workers, ring_bytes) {
    for (std::uint32_t i = 0; i < workers; ++i) lanes.push_back(std::make_unique<Lane>(config(), group, i));
  }
  void turn(int times = 2) {
    for (int i = 0; i < times; ++i)
      for (const auto& lane : lanes) lane->worker.run_once(0ns);
  }
  [[nodiscard]] std::uint16_t port_owned_by(std::uint32_t worker,
                                            flow::Protocol protocol = flow::Protocol::kTcp) const {
    std::uint16_t port = 40000;
    while (group.owners().of(tuple(protocol, port)) != worker) ++port;
    return port;
  }
  WorkerGroup group;
  std::vector<std::unique_ptr<Lane>> lanes;
};

std::vector<std::byte> syn(const flow::Tuple& t) {
  wire::TcpFields f;
  f.seq = net::SeqNum{1};
  f.flags.syn = true;
  f.window = 65535;
  f.mss = 1460;
  return tcp_frame(t, f);
}

}  // namespace

TEST_CASE("plane workers: a flow lives with its owner, whichever queue its frames come by") {
  Crew crew(3);
  for (std::uint32_t owner = 0; owner < 3; ++owner) {
    for (std::uint32_t reader = 0; reader < 3; ++reader) {
      CAPTURE(owner);
      CAPTURE(reader);
      for (const auto& lane : crew.lanes) lane->gate.requests.clear();
      auto t = tuple(flow::Protocol::kTcp, crew.port_owned_by(owner));
      t.remote.port = net::Port{static_cast<std::uint16_t>(1000 + reader)};
      while (crew.group.owners().of(t) != owner)
        t.guest.port = net::Port{static_cast<std::uint16_t>(t.guest.port.number() + 1)};
      crew.lanes[reader]->queue.from_guest(syn(t));
      crew.turn();
      for (std::uint32_t i = 0; i < 3; ++i)
        CHECK(crew.lanes[i]->gate.requests.size() == (i == owner ? 1U : 0U));
    }
  }
  for (const auto& lane : crew.lanes) {
    CHECK(lane->worker.counters().get(Counter::kFramesFromGuest) == 3);
    CHECK(lane->link.counters().get(Counter::kHandedOver) == 2);
  }
}

TEST_CASE("plane workers: offload metadata travels with the frame") {
  Crew crew(2);
  const auto t = tuple(flow::Protocol::kUdp, crew.port_owned_by(1, flow::Protocol::kUdp));
  auto frame = udp_frame(t, bytes_of("hello"));
  frame[14 + 20 + 6] ^= std::byte{0xff};  // a checksum that only an offload may excuse
  crew.lanes[0]->queue.from_guest(frame);
  crew.lanes[0]->queue.from_guest(frame,
                                  {.needs_checksum = true, .checksum_start = 14 + 20, .checksum_offset = 6});
  crew.turn();
  CHECK(crew.lanes[1]->worker.counters().get(Counter::kDropMalformed) == 1);
  CHECK(crew.lanes[1]->worker.counters().get(Counter::kNewFlow) == 1);
}

TEST_CASE(
    "plane workers: a frame with a tail reaches its owner whole, also when its start does not name it") {
  Crew crew(2);
  const auto t = tuple(flow::Protocol::kTcp, crew.port_owned_by(1));
  const link::Offload offload{.needs_checksum = true, .checksum_start = 34, .checksum_offset = 16};
  const auto plain = tcp_frame(t, {.flags = {.ack = true}}, bytes_of(std::string(5000, 'p')));
  // IPv6 with destination options in front of TCP: read only in a packet that is all there.
  auto t6 = tuple(flow::Protocol::kTcp, 40000, true);
  while (crew.group.owners().of(t6) != 1)
    t6.guest.port = net::Port{static_cast<std::uint16_t>(t6.guest.port.number() + 1)};
  auto options = tcp_frame(t6, {.flags = {.ack = true}}, bytes_of(std::string(5000, 'o')));
  const std::array<std::byte, 8> header{std::byte{6}, std::byte{0}, std::byte{1}, std::byte{4}};
  options.insert(options.begin() + 54, header.begin(), header.end());
  options[14 + 6] = std::byte{60};
  wire::ipv6_layout::PayloadLength::put(std::span(options).subspan(14), 20 + 8 + 5000);
  for (const auto& frame : {plain, options}) {
    crew.lanes[0]->queue.from_guest(frame, offload, 200);
    std::array<link::Frame, 8> frames;
    CHECK(crew.lanes[0]->link.receive(frames) == 0);
    REQUIRE(crew.lanes[1]->link.receive(frames) == 1);
    CHECK(std::ranges::equal(frames[0].bytes, frame));
    CHECK(frames[0].tail.size == 0);
    CHECK(frames[0].offload.needs_checksum);
  }
}

TEST_CASE("plane workers: a datagram in fragments reaches the owner of its flow, whoever put it together") {
  for (std::uint16_t id = 1; id < 12; ++id) {
    CAPTURE(id);
    Crew crew(2);
    const auto t = tuple(flow::Protocol::kUdp, crew.port_owned_by(1, flow::Protocol::kUdp));
    const auto whole = udp_frame(t, bytes_of(std::string(40, 'x')));
    const auto piece = [&](std::size_t from, std::size_t size, bool more) {
      std::vector<std::byte> out(34 + size);
      std::copy_n(whole.begin(), 34, out.begin());
      std::copy_n(whole.begin() + 34 + static_cast<std::ptrdiff_t>(from), size, out.begin() + 34);
      const base::MutableBytes ip = base::MutableBytes{out}.subspan(14);
      wire::ipv4_layout::TotalLength::put(ip, static_cast<std::uint16_t>(20 + size));
      wire::ipv4_layout::Identification::put(ip, id);
      wire::ipv4_layout::FlagsAndOffset::put(ip,
                                             static_cast<std::uint16_t>((more ? 0x2000U : 0U) | from / 8));
      std::vector<std::byte> header(ip.begin(), ip.end());
      cordon::test::fix_ipv4_checksum(header);
      std::copy(header.begin(), header.end(), ip.begin());
      return out;
    };
    crew.lanes[0]->queue.from_guest(piece(0, 24, true));
    crew.lanes[1]->queue.from_guest(piece(24, 24, false));
    crew.turn(3);
    CHECK(crew.lanes[0]->gate.requests.empty());
    CHECK(crew.lanes[1]->gate.requests.size() == 1);
    const auto sum = [&](Counter c) {
      return crew.lanes[0]->worker.counters().get(c) + crew.lanes[1]->worker.counters().get(c);
    };
    CHECK(sum(Counter::kNewFlow) == 1);
    CHECK(sum(Counter::kDropFragment) + sum(Counter::kDropMalformed) == 0);
  }
}

TEST_CASE("plane workers: what a full ring loses is counted, and the rest goes on") {
  Crew crew(2, 4096);
  const auto tcp = tuple(flow::Protocol::kTcp, crew.port_owned_by(1));
  const auto udp = tuple(flow::Protocol::kUdp, crew.port_owned_by(1, flow::Protocol::kUdp));
  for (int i = 0; i < 60; ++i) crew.lanes[0]->queue.from_guest(i % 2 == 0 ? syn(tcp) : udp_frame(udp, {}));
  crew.lanes[0]->worker.run_once(0ns);
  const Counters& counters = crew.lanes[0]->link.counters();
  const auto lost_tcp = counters.get(Counter::kHandOverLostTcp);
  const auto lost_other = counters.get(Counter::kHandOverLostOther);
  CHECK(lost_tcp > 0);
  CHECK(lost_other > 0);
  CHECK(counters.get(Counter::kHandedOver) + lost_tcp + lost_other == 60);
  crew.turn(4);
  CHECK(crew.lanes[1]->worker.counters().get(Counter::kFramesFromGuest) == 60 - lost_tcp - lost_other);
  crew.lanes[0]->queue.from_guest(syn(tcp));
  crew.turn();
  CHECK(counters.get(Counter::kHandedOver) + lost_tcp + lost_other == 61);
}

TEST_CASE("plane workers: a worker whose queue the guest does not use sends by the first one's") {
  Crew crew(2);
  Lane& first = *crew.lanes[0];
  Lane& second = *crew.lanes[1];
  second.queue.serves = false;
  std::vector<std::byte> frame(60, std::byte{7});
  const std::array<iovec, 2> parts{iovec{frame.data(), 20}, iovec{frame.data() + 20, 40}};
  const auto send = [&](std::uint16_t mark) {
    return second.link.send({.gso = link::Gso::kTcp4, .gso_size = mark}, parts);
  };
  CHECK(send(1) == link::SendStatus::kSent);
  CHECK(send(2) == link::SendStatus::kSent);
  CHECK(second.queue.output.empty());
  CHECK(first.queue.output.empty());
  CHECK_FALSE(second.link.tells_room());
  first.worker.run_once(0ns);
  REQUIRE(first.queue.output.size() == 2);
  CHECK(first.queue.output[0].bytes == frame);
  CHECK(first.queue.output[0].offload.gso == link::Gso::kTcp4);
  CHECK(first.queue.output[1].offload.gso_size == 2);

  // No room: kept, in order, and nobody spins for it; then all of it.
  first.queue.output.clear();
  first.queue.refuse = 3;
  for (std::uint16_t mark = 3; mark < 6; ++mark) CHECK(send(mark) == link::SendStatus::kSent);
  first.worker.run_once(0ns);
  CHECK(first.queue.output.empty());
  CHECK_FALSE(first.link.before_wait(false));
  std::array<link::Frame, 8> frames;
  for (int i = 0; i < 3; ++i) CHECK(first.link.receive(frames) == 0);
  REQUIRE(first.queue.output.size() == 3);
  CHECK(first.queue.output[0].offload.gso_size == 3);
  CHECK(first.queue.output[2].offload.gso_size == 5);

  // In use again: its own.
  second.queue.serves = true;
  CHECK(send(6) == link::SendStatus::kSent);
  CHECK(second.queue.output.size() == 1);
}

TEST_CASE("plane workers: a first queue that takes nothing fills the ring, and that is felt") {
  Crew crew(2, 4096);
  Lane& second = *crew.lanes[1];
  second.queue.serves = false;
  crew.lanes[0]->queue.refuse = 1000;
  std::vector<std::byte> frame(500);
  const iovec part{frame.data(), frame.size()};
  int sent = 0;
  for (int i = 0; i < 100; ++i) {
    if (second.link.send({}, std::span(&part, 1)) != link::SendStatus::kSent) break;
    ++sent;
    crew.lanes[0]->worker.run_once(0ns);
  }
  CHECK(sent > 2);
  CHECK(sent < 10);
  crew.lanes[0]->queue.refuse = 0;
  std::array<link::Frame, 8> frames;
  CHECK(crew.lanes[0]->link.receive(frames) == 0);
  CHECK(crew.lanes[0]->queue.output.size() == static_cast<std::size_t>(sent));
  CHECK(second.link.send({}, std::span(&part, 1)) == link::SendStatus::kSent);
}

namespace {
struct InboundList final : flow::GateEvents {
  void on_grant(flow::Grant) override {}
  void on_refuse(flow::Id, flow::RefuseHow) override {}
  void on_revoke(flow::Id, flow::RefuseHow) override {}
  void on_reshape(flow::Id, const flow::Shaping&) override {}
  void on_gate_writable() override {}
  void on_late_datagram(const flow::LateDatagram&) override {}
  void on_inbound(flow::Inbound inbound) override {
    first = text_of(inbound.first);
    last = std::move(inbound);
    ++count;
  }
  flow::Inbound last;
  std::string first;
  int count = 0;
};
}  // namespace

TEST_CASE("plane workers: a flow from outside that finds ring and channel full is declined later") {
  WorkerGroup group(config().key, 2, 4096);
  std::array<ListLink, 2> queues;
  SharedLink zero(queues[0], group, 0);
  ListGate gate;
  InboundList at_zero;
  InboundSorter sorter(zero, at_zero, gate);
  std::uint16_t port = 50000;
  while (group.owners().of(tuple(flow::Protocol::kUdp, port)) != 1) ++port;
  const std::vector<std::byte> large(8192);  // larger than the ring
  const auto arrive = [&](std::uint32_t offer) {
    flow::Inbound inbound;
    inbound.offer = offer;
    inbound.tuple = tuple(flow::Protocol::kUdp, port);
    inbound.first = large;
    sorter.on_inbound(std::move(inbound));
  };
  gate.full = true;
  for (const std::uint32_t offer : {7U, 8U}) arrive(offer);
  CHECK(gate.declines.empty());
  sorter.on_gate_writable();  // and full again
  gate.full = false;
  sorter.on_gate_writable();
  std::ranges::sort(gate.declines);
  CHECK(gate.declines == std::vector<std::uint32_t>{7, 8});
  sorter.on_gate_writable();
  CHECK(gate.declines.size() == 2);  // once each
  CHECK(at_zero.count == 0);
}

TEST_CASE("plane workers: a flow from outside comes to its owner with its socket and first datagram") {
  WorkerGroup group(config().key, 2);
  std::array<ListLink, 2> queues;
  SharedLink zero(queues[0], group, 0);
  SharedLink one(queues[1], group, 1);
  ListGate gate;
  InboundList at_zero;
  InboundList at_one;
  InboundSorter sorter(zero, at_zero, gate);
  one.on_passed(at_one);
  std::array<link::Frame, 8> frames;
  for (std::uint16_t port = 50000; port < 50020; ++port) {
    CAPTURE(port);
    at_zero.count = at_one.count = 0;
    std::array<int, 2> pair{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair.data()) == 0);
    const base::Fd peer{pair[1]};
    flow::Inbound inbound;
    inbound.offer = port;
    inbound.tuple = tuple(flow::Protocol::kUdp, port);
    inbound.socket = base::Fd{pair[0]};
    inbound.path_mtu = 1400;
    const auto datagram = bytes_of("first");
    inbound.first = datagram;
    sorter.on_inbound(std::move(inbound));
    REQUIRE(one.receive(frames) == 0);
    const bool second = group.owners().of(tuple(flow::Protocol::kUdp, port)) == 1;
    CHECK(at_zero.count == (second ? 0 : 1));
    CHECK(at_one.count == (second ? 1 : 0));
    const InboundList& got = second ? at_one : at_zero;
    CHECK(got.first == "first");
    CHECK(got.last.offer == port);
    CHECK(got.last.path_mtu == 1400);
    CHECK(::write(got.last.socket.get(), "x", 1) == 1);
    char c = 0;
    CHECK(::recv(peer.get(), &c, 1, MSG_DONTWAIT) == 1);
  }
}

// Each side sleeps in epoll until the other hands it a frame: a lost wake-up hangs both.
TEST_CASE("plane workers: who hands over wakes a sleeper, every time") {
  WorkerGroup group(config().key, 2);
  std::array<ListLink, 2> queues;
  std::array<std::uint16_t, 2> port{40000, 40000};
  for (std::uint32_t i = 0; i < 2; ++i)
    while (group.owners().of(tuple(flow::Protocol::kUdp, port[i])) != i) ++port[i];
  constexpr int kRounds = 20'000;
  std::atomic<int> time_outs{0};
  const auto play = [&](std::uint32_t self) {
    ListLink& queue = queues[self];
    SharedLink link(queue, group, self);
    const base::Fd epoll{::epoll_create1(0)};
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = 0}};
    ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, link.wake_fd(), &event);
    const auto frame = udp_frame(tuple(flow::Protocol::kUdp, port[1 - self]), bytes_of("ball"));
    std::array<link::Frame, 8> frames;
    const auto hit = [&] {
      queue.from_guest(frame);
      CHECK(link.receive(frames) == 0);
    };
    if (self == 0) hit();
    for (int seen = 0; seen < kRounds && time_outs == 0;) {
      const std::size_t n = link.receive(frames);
      if (n > 0) {
        ++seen;
        if (seen < kRounds || self == 1) hit();
        continue;
      }
      if (!link.before_wait(true) && ::epoll_wait(epoll.get(), &event, 1, 5000) == 0) ++time_outs;
      link.after_wait();
    }
  };
  {
    std::jthread other([&] { play(1); });
    play(0);
  }
  CHECK(time_outs == 0);
}

TEST_CASE("plane workers: a stopped group keeps nobody asleep") {
  WorkerGroup group(config().key, 2);
  ListLink queue;
  SharedLink link(queue, group, 0);
  CHECK_FALSE(link.before_wait(true));
  group.stop();
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = 0}};
  const base::Fd epoll{::epoll_create1(0)};
  ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, link.wake_fd(), &event);
  CHECK(::epoll_wait(epoll.get(), &event, 1, 0) == 1);
  link.after_wait();
  CHECK(link.before_wait(true));
}
