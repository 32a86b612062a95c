#include <netinet/in.h>

#include "tests/sandbox/broker_rig.h"
#include "tests/sandbox/guest_links.h"

namespace cordon::sandbox::test {
namespace {

constexpr unsigned kPort = 8080;

InboundOptions udp_port(std::string_view interface = "") {
  ForwardRule rule;
  rule.protocol = flow::Protocol::kUdp;
  rule.dual_stack = true;
  rule.address = ip("::");
  rule.interface = interface;
  rule.first = rule.last = rule.target = kPort;
  rule.target_v4 = ip("10.0.2.15");
  rule.target_v6 = ip("fd00:c0:2d::15");
  InboundOptions options;
  options.rules = {rule};
  options.links = guest_links();
  return options;
}

// A peer of the port; it hears only the address it speaks to.
base::Fd peer_at(std::string_view to, std::string_view from, unsigned from_port = 0, unsigned port = kPort) {
  const net::SockAddr target = net::to_sockaddr(endpoint(to, port));
  const net::SockAddr at = net::to_sockaddr(endpoint(from, from_port));
  base::Fd fd{::socket(at.generic.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  cordon::test::require(::bind(fd.get(), &at.generic, at.length) == 0, "bind");
  cordon::test::require(::connect(fd.get(), &target.generic, target.length) == 0, "connect");
  return fd;
}
base::Fd far_peer(std::string_view to, std::string_view from, unsigned from_port = 0) {
  return World::get().far([&] { return peer_at(to, from, from_port); });
}
bool await_offers(Rig& rig, std::size_t count) {
  return rig.until([&] { return rig.inbox.offered.size() >= count; });
}
flow::Id claim(Rig& rig, std::size_t index) {
  const flow::Id id{rig.next_slot++, 1};
  REQUIRE(rig.gate->claim(id, rig.inbox.offered.at(index).offer));
  rig.turn();
  return id;
}

}  // namespace

TEST_CASE("inbound UDP: the first datagram comes with the offer, answers from the address it was sent to") {
  struct Case {
    std::string_view to, from;
  };
  World::get();  // before anything is run: from then on we are in its namespace
  // 192.0.2.9: a second address of the host; the kernel would not choose it as source by itself.
  cordon::test::run("ip addr replace 192.0.2.9/32 dev lo && ip addr replace 2001:db8::9/128 dev lo nodad");
  const Case cases[] = {{"192.0.2.1", "198.51.100.1"},
                        {"192.0.2.9", "198.51.100.1"},
                        {"2001:db8::1", "2001:db8:1::1"},
                        {"2001:db8::9", "2001:db8:1::1"}};
  World::get().far_run("ip route replace 192.0.2.9/32 via 192.0.2.1");
  World::get().far_run("ip route replace 2001:db8::9/128 via 2001:db8::1");
  for (const Case& row : cases) {
    CAPTURE(row.to);
    Rig rig{{}, udp_port()};
    const base::Fd peer = far_peer(row.to, row.from, 40001);
    CHECK(write_some(peer.get(), "first") == "sent");
    REQUIRE(await_offers(rig, 1));
    CHECK(rig.inbox.firsts[0] == "first");
    CHECK(rig.inbox.offered[0].tuple.remote == endpoint(row.from, 40001));
    const base::Fd socket = std::move(rig.inbox.offered[0].socket);
    const flow::Id id = claim(rig, 0);
    CHECK(write_some(socket.get(), "answer") == "sent");
    CHECK(read_some(peer.get()) == "answer");
    CHECK(write_some(peer.get(), "second") == "sent");
    CHECK(read_some(socket.get()) == "second");
    rig.turn();
    CHECK(rig.inbox.offered.size() == 1);
    rig.close(id);
    CHECK(rig.broker->flows() == 0);
    CHECK(rig.judge.accounts.empty());
    // The same peer again is a new flow.
    CHECK(write_some(peer.get(), "third") == "sent");
    REQUIRE(await_offers(rig, 2));
    CHECK(rig.inbox.firsts[1] == "third");
  }
}

TEST_CASE("inbound UDP: empty and largest datagrams") {
  Rig rig{{}, udp_port()};
  const base::Fd empty = far_peer("192.0.2.1", "198.51.100.1");
  CHECK(write_some(empty.get(), "") == "sent");
  REQUIRE(await_offers(rig, 1));
  CHECK(rig.inbox.firsts[0].empty());
  const std::string longest(65507, 'x');
  const base::Fd large = far_peer("192.0.2.1", "198.51.100.1");
  CHECK(write_some(large.get(), longest) == "sent");
  REQUIRE(await_offers(rig, 2));
  CHECK(rig.inbox.firsts[1] == longest);
}

TEST_CASE("inbound UDP: what reached the listener first follows, and peers are never mixed") {
  Rig rig{{}, udp_port()};
  const base::Fd one = far_peer("192.0.2.1", "198.51.100.1", 40001);
  const base::Fd two = far_peer("192.0.2.1", "198.51.100.1", 40002);
  for (const char* text : {"a1", "a2", "a3"}) CHECK(write_some(one.get(), text) == "sent");
  CHECK(write_some(two.get(), "b1") == "sent");
  CHECK(write_some(one.get(), "a4") == "sent");
  CHECK(write_some(two.get(), "b2") == "sent");
  REQUIRE(await_offers(rig, 2));
  const bool swapped = rig.inbox.firsts[0] == "b1";
  const flow::Id a = claim(rig, swapped ? 1 : 0);
  const flow::Id b = claim(rig, swapped ? 0 : 1);
  REQUIRE(rig.until([&] { return rig.inbox.lates.size() == 4; }));
  std::string of_a;
  std::string of_b;
  for (const auto& [id, text] : rig.inbox.lates) (id == a ? of_a : of_b) += text;
  CHECK(of_a == "a2a3a4");
  CHECK(of_b == "b2");
  CHECK(a != b);
  // Now each has its own socket.
  CHECK(write_some(two.get(), "b3") == "sent");
  CHECK(read_some(rig.inbox.offered[swapped ? 0 : 1].socket.get()) == "b3");
  CHECK_FALSE(readable(rig.inbox.offered[swapped ? 1 : 0].socket.get(), 0));
}

TEST_CASE("inbound UDP: a peer that talks on before its claim has a bounded queue") {
  Rig rig{{}, udp_port()};
  const base::Fd peer = far_peer("192.0.2.1", "198.51.100.1");
  for (int i = 0; i < 60; ++i) CHECK(write_some(peer.get(), "x") == "sent");
  REQUIRE(rig.until([&] { return rig.broker->inbound_counters().dropped_datagrams == 60 - 1 - 32; }));
  claim(rig, 0);
  CHECK(rig.until([&] { return rig.inbox.lates.size() == 32; }));
}

TEST_CASE("inbound UDP: broadcast and multicast to the port are dropped") {
  Rig rig{{}, udp_port()};
  World::get().far([&] {
    base::Fd fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    CHECK(send_to(fd.get(), endpoint("192.0.2.255", kPort), "all"));
    return 0;
  });
  CHECK(rig.until([&] { return rig.broker->inbound_counters().dropped_datagrams == 1; }));
  CHECK(rig.inbox.offered.empty());
  CHECK(rig.judge.judged_inbound.empty());
}

TEST_CASE("inbound UDP: a flood of new peers costs its port's budget, and no more") {
  auto options = udp_port();
  options.new_peers_per_second = 1;
  options.new_peers_burst = 5;
  Rig rig{{}, std::move(options)};
  std::vector<base::Fd> peers;
  for (int i = 0; i < 20; ++i) {
    peers.push_back(far_peer("192.0.2.1", "198.51.100.1"));
    CHECK(write_some(peers.back().get(), "x") == "sent");
  }
  REQUIRE(rig.until([&] { return rig.broker->inbound_counters().dropped_datagrams >= 14; }));
  rig.turn();
  CHECK(rig.inbox.offered.size() <= 6);
  CHECK(rig.inbox.offered.size() >= 5);
}

TEST_CASE("inbound UDP: a stranger cannot take the port, with or without SO_REUSEADDR") {
  Rig rig{{}, udp_port()};
  const base::Fd peer = far_peer("192.0.2.1", "198.51.100.1");
  CHECK(write_some(peer.get(), "x") == "sent");
  REQUIRE(await_offers(rig, 1));
  for (const std::string_view address : {"0.0.0.0", "192.0.2.1", "::", "2001:db8::1"}) {
    CAPTURE(address);
    for (const int reuse : {0, 1}) {
      const net::SockAddr at = net::to_sockaddr(endpoint(address, kPort));
      const base::Fd fd{::socket(at.generic.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
      CHECK(::bind(fd.get(), &at.generic, at.length) == -1);
      CHECK(errno == EADDRINUSE);
    }
  }
}

TEST_CASE("inbound UDP: the guest's own flow from a published port keeps that port, in either order") {
  Rig rig{{}, udp_port()};
  const base::Fd service = serve_far(SOCK_DGRAM, "198.51.100.1", 0);
  const auto own = tuple(flow::Protocol::kUdp, "198.51.100.1", port_of(service.get()), kPort);
  const base::Fd before = far_peer("192.0.2.1", "198.51.100.1");
  CHECK(write_some(before.get(), "x") == "sent");
  REQUIRE(await_offers(rig, 1));
  const base::Fd socket = rig.grant(own);
  CHECK(port_of(socket.get()) == kPort);
  const base::Fd after = far_peer("192.0.2.1", "198.51.100.1");
  CHECK(write_some(after.get(), "y") == "sent");
  REQUIRE(await_offers(rig, 2));
  CHECK(write_some(socket.get(), "out") == "sent");
  CHECK(read_some(service.get()) == "out");
  CHECK(write_some(after.get(), "z") == "sent");
  CHECK(read_some(rig.inbox.offered[1].socket.get()) == "z");
}

TEST_CASE("inbound UDP: a peer that becomes the host itself is cut") {
  Rig rig{{}, udp_port()};
  const base::Fd peer = far_peer("192.0.2.1", "198.51.100.1");
  CHECK(write_some(peer.get(), "x") == "sent");
  REQUIRE(await_offers(rig, 1));
  const flow::Id id = claim(rig, 0);
  rig.judge.local.insert(ip("198.51.100.1"));
  ++rig.judge.now_epoch;
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  REQUIRE(rig.judge.cuts.size() == 1);
  CHECK(rig.judge.cuts[0].why == Cut::kBecameLocal);
  CHECK(write_some(rig.inbox.offered[0].socket.get(), "y") != "sent");
}

TEST_CASE("inbound UDP: a port has so many peers at a time, and whoever ends makes room") {
  auto options = udp_port();
  options.max_peers = 2;
  Rig rig{{}, std::move(options)};
  const base::Fd one = far_peer("192.0.2.1", "198.51.100.1");
  const base::Fd two = far_peer("192.0.2.1", "198.51.100.1");
  const base::Fd three = far_peer("192.0.2.1", "198.51.100.1");
  std::uint64_t dropped = 0;
  const auto full = [&] {
    CHECK(write_some(three.get(), "x") == "sent");
    ++dropped;
    REQUIRE(rig.until([&] { return rig.broker->inbound_counters().dropped_datagrams == dropped; }));
    CHECK(rig.broker->inbound_counters().limited == dropped);
  };
  CHECK(write_some(one.get(), "x") == "sent");
  CHECK(write_some(two.get(), "x") == "sent");
  REQUIRE(await_offers(rig, 2));
  full();  // offers count
  const flow::Id first = claim(rig, 0);
  full();  // and flows
  rig.close(first);
  CHECK(write_some(three.get(), "closed") == "sent");
  REQUIRE(await_offers(rig, 3));
  CHECK(rig.inbox.firsts[2] == "closed");
  CHECK(write_some(one.get(), "x") == "sent");
  ++dropped;
  REQUIRE(rig.until([&] { return rig.broker->inbound_counters().dropped_datagrams == dropped; }));
  REQUIRE(rig.gate->decline(rig.inbox.offered[2].offer));
  rig.turn();
  CHECK(write_some(one.get(), "declined") == "sent");
  REQUIRE(await_offers(rig, 4));
  rig.inbox.offered.clear();  // with the translator go its descriptors
  rig.new_translator();
  CHECK(write_some(two.get(), "restarted") == "sent");
  CHECK(write_some(three.get(), "restarted") == "sent");
  REQUIRE(await_offers(rig, 2));
  CHECK(rig.broker->inbound_counters().dropped_datagrams == dropped);
}

TEST_CASE(
    "inbound UDP: a flow of an interface's port stays whatever a route prefers, unless its way is gone") {
  for (const bool bound : {true, false}) {
    CAPTURE(bound);
    Rig rig{{}, udp_port(bound ? "up0" : "")};
    const base::Fd peer = far_peer("192.0.2.1", "198.51.100.1");
    CHECK(write_some(peer.get(), "x") == "sent");
    REQUIRE(await_offers(rig, 1));
    const flow::Id id = claim(rig, 0);
    rig.judge.interface = 1;
    rig.judge.elsewhere = Path::kLost;
    ++rig.judge.now_epoch;
    rig.turn();
    rig.turn();
    CHECK(rig.inbox.revocations.contains(id) == !bound);
    if (!bound) continue;
    CHECK(write_some(rig.inbox.offered[0].socket.get(), "on") == "sent");
    CHECK(read_some(peer.get()) == "on");
    rig.judge.way = Path::kGone;
    ++rig.judge.now_epoch;
    CHECK(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  }
}

}  // namespace cordon::sandbox::test
