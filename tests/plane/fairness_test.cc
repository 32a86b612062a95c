// One bulk flow beside others: steps, queues and order.
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

// With a second queue, as TapLink has it.
struct TwoQueues final : link::Link {
  ListLink main;
  ListLink bulk;
  std::string order;  // m, b: which queue was read
  [[nodiscard]] link::Capabilities capabilities() const override { return main.caps; }
  [[nodiscard]] int poll_fd() const override { return main.poll_fd(); }
  [[nodiscard]] int bulk_fd() const override { return bulk.poll_fd(); }
  [[nodiscard]] std::size_t receive(std::span<link::Frame> frames) override {
    order += 'm';
    return main.receive(frames);
  }
  [[nodiscard]] std::size_t receive_bulk(std::span<link::Frame> frames) override {
    order += 'b';
    most = frames.size();
    return bulk.receive(frames);
  }
  [[nodiscard]] link::SendStatus send(const link::Offload& offload, std::span<const iovec> parts) override {
    return (offload.bulk ? bulk : main).send(offload, parts);
  }
  std::size_t most = 0;
};

std::size_t payload_to_guest(World& world) {
  std::size_t sum = 0;
  while (!world.link.output.empty()) sum += world.take_tcp().payload.size();
  return sum;
}

}  // namespace

TEST_CASE("plane fairness: a flow alone works in large steps, beside another one in small ones") {
  WorkerConfig c = config();
  c.limits.turn_bytes = 256U << 10U;
  c.limits.shared_turn_bytes = 16U << 10U;
  World world(c);
  GuestTcp bulk(world, 40000);
  bulk.connect();
  const int size = 1 << 20;
  ::setsockopt(bulk.host.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  GuestTcp small(world, 40001);
  small.connect();
  world.clock.time = world.clock.time + 1s;
  bulk.send({});  // the last who stirred
  world.clock.time = world.clock.time + 1s;
  world.link.output.clear();
  const std::string blob(60'000, 'b');
  REQUIRE(::send(bulk.host.get(), blob.data(), blob.size(), 0) == 60'000);
  world.turn();
  const std::size_t alone = payload_to_guest(world);
  CHECK(alone > 16U << 10U);

  bulk.ack = bulk.ack + static_cast<std::uint32_t>(alone);
  bulk.send({});
  while (const std::size_t more = payload_to_guest(world)) {
    bulk.ack = bulk.ack + static_cast<std::uint32_t>(more);
    bulk.send({});
  }
  REQUIRE(::send(bulk.host.get(), blob.data(), blob.size(), 0) == 60'000);
  small.queue({});
  world.turn();
  const std::size_t beside = payload_to_guest(world);
  CHECK(beside > 0);
  CHECK(beside <= 16U << 10U);
}

TEST_CASE("plane fairness: two bulk flows work in large steps, until a small one stirs") {
  WorkerConfig c = config();
  c.limits.turn_bytes = 256U << 10U;
  c.limits.shared_turn_bytes = 16U << 10U;
  World world(c);
  GuestTcp one(world, 40000), two(world, 40001), small(world, 40002);
  for (GuestTcp* const guest : {&one, &two, &small}) {
    guest->connect();
    const int size = 1 << 20;
    ::setsockopt(guest->host.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  }
  const std::vector<std::byte> payload(1400, std::byte{'x'});
  for (int i = 0; i < 200; ++i) {  // 280,000 bytes each, at once
    for (GuestTcp* const guest : {&one, &two}) {
      guest->send(payload);
      static_cast<void>(guest->host_reads());
    }
  }
  world.clock.time = world.clock.time + 3ms;
  world.link.output.clear();
  const std::string blob(60'000, 'b');
  two.send({});
  REQUIRE(::send(one.host.get(), blob.data(), blob.size(), 0) == 60'000);
  world.turn();
  const std::size_t beside_bulk = payload_to_guest(world);
  CHECK(beside_bulk > 16U << 10U);

  one.ack = one.ack + static_cast<std::uint32_t>(beside_bulk);
  one.send({});
  while (const std::size_t more = payload_to_guest(world)) {
    one.ack = one.ack + static_cast<std::uint32_t>(more);
    one.send({});
  }
  REQUIRE(::send(one.host.get(), blob.data(), blob.size(), 0) == 60'000);
  small.queue({});
  world.turn();
  const std::size_t beside_small = payload_to_guest(world);
  CHECK(beside_small > 0);
  CHECK(beside_small <= 16U << 10U);
}

TEST_CASE("plane fairness: segments of a flow that sends much are asked to come by the second queue") {
  TwoQueues link;
  ListGate gate;
  TestClock clock;
  Worker worker(config(), link, gate, clock);
  const auto t = tuple(flow::Protocol::kTcp);
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
  const base::Fd host{fds[1]};
  wire::TcpFields f;
  f.seq = net::SeqNum{1000};
  f.flags.syn = true;
  f.window = 65535;
  f.mss = 1460;
  link.main.from_guest(tcp_frame(t, f));
  worker.run_once(0ns);
  REQUIRE(gate.requests.size() == 1);
  worker.on_grant({.id = gate.requests[0].first, .socket = base::Fd{fds[0]}});
  worker.run_once(0ns);
  REQUIRE(link.main.output.size() == 1);
  const auto ethernet = wire::EthernetView::parse(link.main.output[0].bytes);
  const auto packet =
      wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kSkipL4);
  const auto answer = wire::TcpView::parse(packet->l4);
  f = {};
  f.seq = net::SeqNum{1001};
  f.ack = answer->seq() + 1;
  f.flags.ack = true;
  f.window = 65535;
  const std::vector<std::byte> payload(1460, std::byte{'x'});
  std::string sink(1 << 20, '\0');
  // 400 segments in 4 ms: 584,000 bytes, 1.2 Gbit/s.
  const auto send_for = [&](int segments, base::Duration step, ListLink& queue) {
    for (int i = 0; i < segments; ++i) {
      queue.from_guest(tcp_frame(t, f, payload));
      f.seq = f.seq + 1460U;
      clock.time = clock.time + step;
      worker.run_once(0ns);
      while (::recv(host.get(), sink.data(), sink.size(), 0) > 0) {
      }
    }
  };
  send_for(40, 10us, link.main);
  CHECK(link.bulk.output.empty());
  send_for(360, 10us, link.main);
  CHECK_FALSE(link.bulk.output.empty());
  // What comes by it is served like the rest.
  send_for(10, 10us, link.bulk);
  CHECK(worker.counters().get(Counter::kToTcpFlow) == 410);
  // And a flow that has become quiet is one of many again.
  send_for(3, 20ms, link.bulk);
  link.bulk.output.clear();
  link.main.output.clear();
  send_for(1, 20ms, link.bulk);
  CHECK(link.bulk.output.empty());
  CHECK_FALSE(link.main.output.empty());
}

TEST_CASE("plane fairness: the second queue is read last, and frame by frame while others are active") {
  TwoQueues link;
  ListGate gate;
  TestClock clock;
  Worker worker(config(), link, gate, clock);
  const auto syn_from = [&](ListLink& queue, std::uint16_t port) {
    wire::TcpFields f;
    f.flags.syn = true;
    f.window = 1000;
    queue.from_guest(tcp_frame(tuple(flow::Protocol::kTcp, port), f));
  };
  syn_from(link.bulk, 40001);
  syn_from(link.main, 40002);
  worker.run_once(0ns);
  CHECK(link.order == "mb");
  CHECK(link.most > 1);
  // Two flows in turns.
  syn_from(link.main, 40001);
  syn_from(link.main, 40002);
  syn_from(link.bulk, 40001);
  worker.run_once(0ns);
  CHECK(link.most == 1);
  clock.time = clock.time + 1s;
  syn_from(link.bulk, 40001);
  worker.run_once(0ns);
  CHECK(link.most > 1);
}
