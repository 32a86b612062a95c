// Live flows whose way out changes, with a judge that says what the network does.
#include "tests/sandbox/broker_rig.h"

namespace cordon::sandbox::test {
namespace {

constexpr auto kTcp = flow::Protocol::kTcp;
constexpr auto kUdp = flow::Protocol::kUdp;

BrokerOptions with_grace(base::Duration grace) {
  BrokerOptions options;
  options.path_grace = grace;
  return options;
}

struct Live {
  Live(Rig& rig, flow::Protocol protocol)
      : listener(serve_far(protocol == kTcp ? SOCK_STREAM : SOCK_DGRAM, "198.51.100.1", 0)) {
    holder = rig.grant(tuple(protocol, "198.51.100.1", port_of(listener.get()), 46000), &id);
    if (protocol == kTcp) peer = accept_one(listener.get());
  }
  base::Fd listener;
  base::Fd holder;
  base::Fd peer;
  flow::Id id;
};

}  // namespace

TEST_CASE("path: what becomes of a live flow, by protocol and by what the network does") {
  struct Case {
    std::string_view name;
    flow::Protocol protocol;
    Path way;
    bool routeless;
    std::optional<flow::RefuseHow> ends;  // at once
  };
  constexpr auto kDrop = flow::RefuseHow::kDrop;
  constexpr auto kNet = flow::RefuseHow::kNetworkUnreachable;
  for (const Case& c : {Case{"TCP, as before", kTcp, Path::kGood, false, {}},
                        Case{"TCP stays where a better way appears", kTcp, Path::kWorse, false, {}},
                        Case{"TCP waits for a lost way", kTcp, Path::kLost, false, {}},
                        Case{"TCP without any route waits too", kTcp, Path::kGood, true, {}},
                        Case{"TCP ends with its interface", kTcp, Path::kGone, false, kNet},
                        Case{"TCP ends with its interface, no route", kTcp, Path::kGone, true, kNet},
                        Case{"UDP, as before", kUdp, Path::kGood, false, {}},
                        Case{"UDP moves to a better way in silence", kUdp, Path::kWorse, false, kDrop},
                        Case{"UDP moves from a lost way", kUdp, Path::kLost, false, kDrop},
                        Case{"UDP moves from a deleted interface", kUdp, Path::kGone, false, kDrop},
                        Case{"UDP without any route is told", kUdp, Path::kGood, true, kNet}}) {
    CAPTURE(c.name);
    Rig rig{with_grace(1h)};
    Live flow{rig, c.protocol};
    rig.judge.way = c.way;
    rig.judge.routeless = c.routeless;
    ++rig.judge.now_epoch;
    rig.turn();
    rig.turn();
    REQUIRE(rig.inbox.revocations.contains(flow.id) == c.ends.has_value());
    if (!c.ends) {
      CHECK(write_some(flow.holder.get(), "on") == "sent");
      continue;
    }
    // TCP knows one answer only, whatever the word.
    if (c.protocol == kUdp) CHECK(rig.inbox.revocations.at(flow.id) == *c.ends);
    CHECK(write_some(flow.holder.get(), "more").starts_with("<"));
    REQUIRE(rig.judge.cuts.size() == 1);
    CHECK(rig.judge.cuts[0].why == (*c.ends == kDrop ? Cut::kMoved : Cut::kPathLost));
    rig.close(flow.id);
    REQUIRE(rig.judge.ended.size() == 1);
    CHECK(rig.judge.ended[0] == (*c.ends == kDrop ? flow::EndReason::kFin : flow::EndReason::kRevoked));
  }
}

TEST_CASE("path: a TCP flow whose way comes back in time goes on, and its grace is whole the next time") {
  Rig rig{with_grace(300ms)};
  Live flow{rig, kTcp};
  for (int round = 0; round < 2; ++round) {
    rig.judge.way = Path::kLost;
    ++rig.judge.now_epoch;
    rig.turn();
    const auto end = base::monotonic_now() + 150ms;
    while (base::monotonic_now() < end) rig.turn(5);
    rig.judge.way = Path::kGood;
    ++rig.judge.now_epoch;
    rig.turn();
    const auto later = base::monotonic_now() + 300ms;
    while (base::monotonic_now() < later) rig.turn(5);
    REQUIRE_FALSE(rig.inbox.revocations.contains(flow.id));
  }
  CHECK(write_some(flow.holder.get(), "on") == "sent");
  CHECK(read_some(flow.peer.get()) == "on");
}

TEST_CASE("path: a TCP flow whose way stays lost is reset when the grace is over, without any event") {
  Rig rig{with_grace(200ms)};
  Live flow{rig, kTcp};
  rig.judge.way = Path::kLost;
  ++rig.judge.now_epoch;
  const auto begun = base::monotonic_now();
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(flow.id); }));
  CHECK(base::monotonic_now() - begun >= 195ms);
  CHECK(base::monotonic_now() - begun < 2s);
  CHECK(read_some(flow.peer.get()) == "<ECONNRESET>");
  REQUIRE(rig.judge.cuts.size() == 1);
  CHECK(rig.judge.cuts[0].why == Cut::kPathLost);
}

TEST_CASE("path: policy's word needs no grace") {
  Rig rig{with_grace(1h)};
  Live flow{rig, kTcp};
  rig.judge.way = Path::kLost;
  ++rig.judge.now_epoch;
  rig.turn();
  REQUIRE_FALSE(rig.inbox.revocations.contains(flow.id));
  rig.judge.becomes_host(ip("198.51.100.1"));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(flow.id); }));
  CHECK(rig.judge.cuts.at(0).why == Cut::kVerdict);
}

TEST_CASE(
    "path: a connection being opened when its way is lost is refused, silently where there is another") {
  World::get().far_run("ip route add blackhole 192.0.2.1/32 2>/dev/null || true");  // no answer comes
  for (const bool other : {true, false}) {
    CAPTURE(other);
    Rig rig;
    const flow::Id id = rig.request(tuple(kTcp, "198.51.100.1", 9));
    REQUIRE(rig.until([&] { return rig.broker->pending() == 1; }));
    rig.judge.way = Path::kLost;
    rig.judge.routeless = !other;
    ++rig.judge.now_epoch;
    REQUIRE(rig.until([&] { return rig.inbox.refusals.contains(id); }));
    CHECK(rig.inbox.refusals.at(id) ==
          (other ? flow::RefuseHow::kDrop : flow::RefuseHow::kNetworkUnreachable));
    CHECK(rig.broker->pending() == 0);
    CHECK(rig.broker->flows() == 0);
  }
  World::get().far_run("ip route del blackhole 192.0.2.1/32");
}

TEST_CASE("path: while the host state is unknown live flows are left alone, and it is read again by itself") {
  Rig rig;
  Live flow{rig, kTcp};
  rig.judge.stale = true;
  ++rig.judge.now_epoch;
  static_cast<void>(rig.ask(tuple(kTcp, "198.51.100.1", 9)));  // makes the broker drain
  const int before = rig.judge.drains;
  const auto end = base::monotonic_now() + 300ms;
  while (base::monotonic_now() < end) rig.turn(1000);
  CHECK(rig.judge.drains > before);
  CHECK(rig.judge.drains < before + 20);  // not in a loop
  CHECK_FALSE(rig.inbox.revocations.contains(flow.id));
  rig.judge.stale = false;
  rig.judge.host.insert(ip("198.51.100.1"));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(flow.id); }));
}

}  // namespace cordon::sandbox::test
