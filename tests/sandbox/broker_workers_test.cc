// A translator with several workers: a channel and slot numbers for each.
#include <memory>

#include "tests/sandbox/broker_rig.h"

namespace cordon::sandbox::test {
namespace {

constexpr std::uint32_t kSlots = 16;
constexpr std::uint32_t kWorkers = 3;

struct Lane {
  explicit Lane(base::Fd fd) : gate(std::move(fd)) {}
  void dispatch() { open = gate.dispatch(inbox, true) == ChannelGate::Status::kOpen; }
  ChannelGate gate;
  Inbox inbox;
  bool open = true;
};

// Worker 0 is the rig's own.
struct Workers : Rig {
  Workers() : Rig(options()), server(serve_far(SOCK_DGRAM, "198.51.100.1", 0)) {}
  static BrokerOptions options() {
    BrokerOptions o;
    o.max_workers = kWorkers;
    o.max_slots = kSlots;
    return o;
  }
  // A further channel; `worker` as the launcher would say it.
  Lane& add(std::uint32_t worker) {
    auto pair = make_channel_pair();
    REQUIRE(pair);
    REQUIRE(launcher->send_new_translator(pair->broker.get(), worker) == SendStatus::kSent);
    pair->broker.reset();
    lanes.push_back(std::make_unique<Lane>(std::move(pair->translator)));
    turn_all();
    return *lanes.back();
  }
  void turn_all() {
    turn(5);
    for (const auto& lane : lanes) lane->dispatch();
  }
  [[nodiscard]] flow::Tuple to_server(unsigned guest_port) const {
    return tuple(flow::Protocol::kUdp, "198.51.100.1", port_of(server.get()), guest_port);
  }
  bool grants(Lane& lane, flow::Id id, unsigned guest_port) {
    REQUIRE(lane.gate.request(id, to_server(guest_port)));
    for (int i = 0; i < 200 && lane.inbox.answers() == 0; ++i) turn_all();
    return lane.inbox.grants.contains(id);
  }
  base::Fd server;
  std::vector<std::unique_ptr<Lane>> lanes;
};

TEST_CASE("broker: two workers use the same slot number for flows of their own") {
  Workers rig;
  Lane& second = rig.add(1);
  flow::Id first_id;
  const base::Fd first = rig.grant(rig.to_server(41000), &first_id);
  CHECK(first_id == flow::Id{0, 1});
  REQUIRE(rig.grants(second, {0, 1}, 41001));
  CHECK(rig.broker->flows() == 2);
  CHECK_FALSE(rig.inbox.refusals.contains({0, 1}));

  rig.close(first_id);
  CHECK(rig.broker->flows() == 1);
  CHECK(write_some(second.inbox.grants.at({0, 1}).socket.get(), "still there") == "sent");
  CHECK(read_some(rig.server.get()) == "still there");

  REQUIRE(second.gate.close({0, 1}, flow::CloseHow::kGraceful, flow::EndReason::kFin, {}));
  rig.turn_all();
  CHECK(rig.broker->flows() == 0);
}

TEST_CASE("broker: a slot number beyond a worker's own reaches nobody else's flow") {
  Workers rig;
  Lane& second = rig.add(1);
  REQUIRE(rig.grants(second, {0, 1}, 41002));
  // Slot 16 would be the second worker's slot 0, were it not for the check.
  REQUIRE(rig.gate->close({kSlots, 1}, flow::CloseHow::kReset, flow::EndReason::kFin, {}));
  rig.turn_all();
  CHECK(rig.broker->counters().unknown_close == 1);
  CHECK(rig.broker->flows() == 1);
  CHECK(second.open);

  REQUIRE(rig.gate->request({kSlots, 2}, rig.to_server(41003)));
  rig.turn_all();
  CHECK(rig.broker->counters().violations == 1);
  CHECK(rig.told().find('k') != std::string::npos);
  CHECK(rig.broker->flows() == 0);
  CHECK_FALSE(rig.gate_open);
  CHECK_FALSE(second.open);
}

TEST_CASE("broker: the end of one worker's channel is the end of the translator") {
  Workers rig;
  Lane& second = rig.add(1);
  REQUIRE(rig.grants(second, {3, 1}, 41004));
  const base::Fd first = rig.grant(rig.to_server(41005));
  rig.lanes.clear();
  rig.turn(5);
  CHECK(rig.broker->flows() == 0);
  CHECK_FALSE(rig.gate_open);
  CHECK(rig.judge.cuts.size() == 2);
}

TEST_CASE("broker: a worker's channel that is out of order is closed, the others go on") {
  for (const std::uint32_t worker : {2U, kWorkers, control::kMaxWorkers - 1}) {
    CAPTURE(worker);
    Workers rig;
    const Lane& stray = rig.add(worker);
    CHECK_FALSE(stray.open);
    CHECK(rig.gate_open);
    CHECK(rig.add(1).open);
    CHECK(rig.add(2).open);
  }
}

TEST_CASE("broker: a new translator's first channel ends every channel of the old one") {
  Workers rig;
  Lane& second = rig.add(1);
  REQUIRE(rig.grants(second, {0, 1}, 41006));
  rig.new_translator();
  rig.turn_all();
  CHECK_FALSE(second.open);
  CHECK(rig.gate_open);
  CHECK(rig.broker->flows() == 0);
}

TEST_CASE("broker: the workers' counters are told as one sum, which a new translator goes on with") {
  Workers rig;
  Lane& second = rig.add(1);
  CounterValues values{};
  values[0] = 10;
  REQUIRE(rig.gate->send_counters(values));
  values[1] = 5;
  REQUIRE(second.gate.send_counters(values));
  rig.turn_all();
  CHECK(rig.judge.counters[0] == 20);
  CHECK(rig.judge.counters[1] == 5);
  values[0] = 11;
  REQUIRE(rig.gate->send_counters(values));  // totals, not differences
  rig.turn_all();
  CHECK(rig.judge.counters[0] == 21);
  CHECK(rig.judge.counters[1] == 10);

  rig.new_translator();
  values = {};
  values[0] = 1;
  REQUIRE(rig.gate->send_counters(values));
  rig.turn_all();
  CHECK(rig.judge.counters[0] == 22);
}

}  // namespace
}  // namespace cordon::sandbox::test
