// Live flows as the operator sees and ends them.
#include <algorithm>

#include "tests/sandbox/broker_rig.h"

namespace cordon::sandbox::test {
namespace {

constexpr auto kTcp = flow::Protocol::kTcp;
constexpr auto kUdp = flow::Protocol::kUdp;
constexpr std::string_view kFar = "198.51.100.1";

struct Listed {
  std::vector<std::uint32_t> slots;
  std::size_t pages = 0;
};
Listed list(Rig& rig, std::uint32_t page) {
  Listed out;
  std::optional<std::uint32_t> cursor = 0;
  for (; cursor; ++out.pages)
    cursor =
        rig.broker->list_flows(*cursor, page, [&](const FlowEntry& e) { out.slots.push_back(e.id.slot); });
  return out;
}

}  // namespace

TEST_CASE("operator: flows are listed in pages that hold still while flows come and go") {
  Rig rig;
  CHECK(list(rig, 3).slots.empty());
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  const unsigned port = port_of(listener.get());
  std::vector<base::Fd> sockets;
  std::vector<flow::Id> ids(7);
  for (unsigned i = 0; i < 7; ++i) sockets.push_back(rig.grant(tuple(kTcp, kFar, port, 40000 + i), &ids[i]));
  const auto all = list(rig, 3);
  CHECK(all.slots == std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6});
  CHECK(all.pages == 3);

  // The first page was read, then one of it ends and a new flow comes.
  std::vector<std::uint32_t> seen;
  const auto visit = [&](const FlowEntry& e) { seen.push_back(e.id.slot); };
  const auto cursor = rig.broker->list_flows(0, 3, visit);
  REQUIRE(cursor);
  rig.close(ids[1]);
  sockets.push_back(rig.grant(tuple(kTcp, kFar, port, 41000)));
  CHECK_FALSE(rig.broker->list_flows(*cursor, 100, visit));
  CHECK(seen == std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 7});

  // Beyond the table is nothing, and no room means no entry but the same cursor.
  CHECK_FALSE(rig.broker->list_flows(UINT32_MAX, 100, visit));
  CHECK(rig.broker->list_flows(0, 0, visit) == 0);
  CHECK(seen.size() == 8);
}

TEST_CASE("operator: an entry says what the flow is") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  const auto to = tuple(kTcp, kFar, port_of(listener.get()));
  const base::Fd socket = rig.grant(to);
  const flow::Id pending = rig.request(tuple(kTcp, "192.0.2.99", 9));  // nobody answers ARP
  rig.turn();
  int visits = 0;
  rig.broker->list_flows(0, 10, [&](const FlowEntry& e) {
    ++visits;
    if (e.id == pending) {
      CHECK(e.state == BrokerFlow::State::kConnecting);
      return;
    }
    CHECK(e.flow.tuple == to);
    CHECK(e.flow.dialed == to.remote);
    CHECK(e.state == BrokerFlow::State::kGranted);
    CHECK(e.local == ip("192.0.2.1"));
    CHECK(e.interface == ::if_nametoindex("up0"));
    CHECK_FALSE(e.inbound);
  });
  CHECK(visits == 2);
}

TEST_CASE("operator: volumes are the kernel's count, and only of live TCP flows") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  std::array<flow::Id, 2> ids{};
  const base::Fd tcp = rig.grant(tuple(kTcp, kFar, port_of(listener.get())), &ids[0]);
  const base::Fd udp = rig.grant(tuple(kUdp, kFar, 9), &ids[1]);
  const flow::Id pending = rig.request(tuple(kTcp, "192.0.2.99", 9));
  const base::Fd peer{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
  const std::string bytes(1234, 'x');
  REQUIRE(::send(peer.get(), bytes.data(), bytes.size(), 0) == 1234);
  std::string got(2000, ' ');
  REQUIRE(::recv(tcp.get(), got.data(), 1234, MSG_WAITALL | MSG_DONTWAIT) == 1234);
  const std::array asked{ids[0], ids[1], pending, flow::Id{500, 1}};
  const auto volumes = rig.broker->volumes_of(asked);
  REQUIRE(volumes.size() == 4);
  REQUIRE(volumes[0]);
  CHECK((*volumes[0] == 1234 || *volumes[0] == 1235));  // the kernel counts an acknowledged SYN as a byte
  CHECK_FALSE(volumes[1]);
  CHECK_FALSE(volumes[2]);
  CHECK_FALSE(volumes[3]);
  CHECK(rig.broker->volumes_of({}).empty());
}

TEST_CASE("operator: killed flows are cut, refused where they were pending, and the others stay") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  const base::Fd datagrams = serve_far(SOCK_DGRAM, kFar, 0);
  const unsigned port = port_of(listener.get());
  flow::Id id;
  flow::Id other;
  flow::Id udp;
  const base::Fd cut = rig.grant(tuple(kTcp, kFar, port, 40001), &id);
  const base::Fd peer = accept_one(listener.get());
  const base::Fd stays = rig.grant(tuple(kTcp, kFar, port, 40002), &other);
  const base::Fd packet = rig.grant(tuple(kUdp, kFar, port_of(datagrams.get()), 40003), &udp);
  const flow::Id pending = rig.request(tuple(kTcp, "192.0.2.99", 9, 40004));
  rig.turn();

  const auto chosen = [&](const FlowEntry& e) { return e.id != other; };
  CHECK(rig.broker->kill(chosen) == 3);
  CHECK(rig.broker->kill(chosen) == 0);  // they are on their way already
  rig.turn();
  CHECK(rig.inbox.revocations.contains(id));
  CHECK(rig.inbox.revocations.contains(udp));
  CHECK(rig.inbox.refusals.contains(pending));
  CHECK_FALSE(rig.inbox.revocations.contains(other));
  CHECK(read_some(peer.get()) == "<ECONNRESET>");
  CHECK(write_some(packet.get(), "x") == "<EPIPE>");
  CHECK(write_some(stays.get(), "x") == "sent");
  REQUIRE(rig.judge.cuts.size() == 3);
  for (const auto& record : rig.judge.cuts) CHECK(record.why == Cut::kOperator);
  CHECK(rig.broker->kill(chosen) == 0);  // cut, and not yet closed by the translator
  rig.close(id);
  rig.close(udp);
  CHECK(rig.broker->flows() == 1);
  CHECK(rig.judge.wrong_releases == 0);
}

TEST_CASE("operator: many are cut in several turns, and whoever comes meanwhile is served") {
  Rig rig;
  const base::Fd datagrams = serve_far(SOCK_DGRAM, kFar, 0);
  const unsigned port = port_of(datagrams.get());
  constexpr unsigned kFlows = 600;
  for (unsigned i = 0; i < kFlows; ++i) rig.ask(tuple(kUdp, kFar, port, 30000 + i));
  CHECK(rig.broker->kill([](const FlowEntry&) { return true; }) == kFlows);
  rig.turn();
  CHECK(rig.judge.cuts.size() > 0);
  CHECK(rig.judge.cuts.size() < kFlows);
  const base::Fd fresh = rig.grant(tuple(kUdp, kFar, port, 29000));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.size() == kFlows; }));
  CHECK(write_some(fresh.get(), "x") == "sent");
}

TEST_CASE("operator: a kill that waits dies with its translator") {
  Rig rig;
  const base::Fd datagrams = serve_far(SOCK_DGRAM, kFar, 0);
  rig.ask(tuple(kUdp, kFar, port_of(datagrams.get())));
  CHECK(rig.broker->kill([](const FlowEntry&) { return true; }) == 1);
  rig.gate.reset();
  rig.new_translator();
  rig.inbox.grants.clear();
  rig.next_slot = 0;
  const base::Fd fresh = rig.grant(tuple(kUdp, kFar, port_of(datagrams.get())));
  CHECK(write_some(fresh.get(), "x") == "sent");
  CHECK(rig.inbox.revocations.empty());
}

}  // namespace cordon::sandbox::test
