// Offers between being made and being answered: their time, their place in the limits, their end.
#include "tests/sandbox/broker_rig.h"

namespace cordon::sandbox::test {
namespace {

constexpr auto kTcp = flow::Protocol::kTcp;
constexpr auto kUdp = flow::Protocol::kUdp;
constexpr unsigned kPort = 8080;

InboundOptions published(flow::Protocol protocol, base::Duration patience = 5s) {
  ForwardRule rule;
  rule.protocol = protocol;
  rule.dual_stack = true;
  rule.address = ip("::");
  rule.first = rule.last = rule.target = kPort;
  rule.target_v4 = ip("10.0.2.15");
  rule.target_v6 = ip("fd00:c0:2d::15");
  InboundOptions options;
  options.offer_patience = patience;
  options.rules = {rule};
  options.links = {{.on_link = *net::Prefix::make(ip("10.0.2.0"), 24),
                    .gateway = ip("10.0.2.2"),
                    .dns = ip("10.0.2.3"),
                    .guest = {ip("10.0.2.15")}}};
  return options;
}

base::Fd dial(int type, std::string_view address, std::string_view from, unsigned from_port = 0) {
  const net::SockAddr to = net::to_sockaddr(endpoint(address, kPort));
  const net::SockAddr at = net::to_sockaddr(endpoint(from, from_port));
  base::Fd fd{::socket(to.generic.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  cordon::test::require(::bind(fd.get(), &at.generic, at.length) == 0, "bind");
  const bool started = ::connect(fd.get(), &to.generic, to.length) == 0 || errno == EINPROGRESS;
  cordon::test::require(started, "connect");
  return fd;
}
base::Fd dial_far(int type = SOCK_STREAM) {
  return World::get().far([&] { return dial(type, "192.0.2.1", "198.51.100.1"); });
}
bool offered(Rig& rig, std::size_t count = 1) {
  return rig.until([&] { return rig.inbox.offered.size() >= count; });
}

}  // namespace

TEST_CASE("offers: a translator that leaves one unanswered is killed, and the peer reset") {
  Rig rig{{}, published(kTcp, 100ms)};
  const base::Fd client = dial_far();
  REQUIRE(offered(rig));
  const auto start = base::monotonic_now();
  rig.told();
  while (rig.broker->offers() == 1 && base::monotonic_now() - start < 3s) REQUIRE(rig.broker->turn(1000));
  CHECK(base::monotonic_now() - start >= 100ms);
  CHECK(base::monotonic_now() - start < 900ms);  // the loop wakes for it
  CHECK(rig.told().find('k') != std::string::npos);
  CHECK(rig.broker->counters().violations == 1);
  CHECK(rig.broker->inbound_counters().timed_out == 1);
  CHECK(read_some(client.get()) == "<ECONNRESET>");
  CHECK(rig.judge.accounts.empty());
  CHECK(rig.judge.wrong_releases == 0);
}

TEST_CASE("offers: an answer that waits in the channel while the broker does not run is in time") {
  Rig rig{{}, published(kTcp, 100ms)};
  const base::Fd one = dial_far();
  REQUIRE(offered(rig));
  REQUIRE(rig.gate->claim({1, 1}, rig.inbox.offered[0].offer));
  const auto start = base::monotonic_now();
  while (base::monotonic_now() - start < 200ms) ::poll(nullptr, 0, 20);
  for (int i = 0; i < 3; ++i) rig.turn(50);
  CHECK(rig.broker->counters().violations == 0);
  CHECK(rig.broker->flows() == 1);
  CHECK(rig.broker->inbound_counters().timed_out == 0);
}

TEST_CASE("offers: those that wait for an answer count in the limit of flows") {
  BrokerOptions options;
  options.max_flows = 4;
  Rig rig{std::move(options), published(kTcp)};
  const base::Fd far = serve_far(SOCK_STREAM, "198.51.100.1", 0);
  std::vector<base::Fd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(dial_far());
  REQUIRE(offered(rig, 3));
  const base::Fd own = rig.grant(tuple(kTcp, "198.51.100.1", port_of(far.get())));
  CHECK(rig.refusal(tuple(kTcp, "198.51.100.1", port_of(far.get()), 40001)) == flow::RefuseHow::kReject);
  CHECK(rig.judge.limits == std::vector{Limit::kConnections});
}

TEST_CASE("offers: paced before they are claimed, and measured when they are declined or dropped") {
  for (const bool decline : {true, false}) {
    CAPTURE(decline);
    Rig rig{{}, published(kTcp)};
    rig.judge.metered = true;
    rig.judge.shaping = {.shaper = 3, .rate = 1'000'000};
    const base::Fd client = dial_far();
    REQUIRE(offered(rig));
    const int socket = rig.inbox.offered[0].socket.get();
    std::uint64_t pacing = 0;
    socklen_t size = sizeof pacing;
    REQUIRE(::getsockopt(socket, SOL_SOCKET, SO_MAX_PACING_RATE, &pacing, &size) == 0);
    CHECK(pacing == 1'000'000);
    CHECK(rig.inbox.offered[0].shaping == rig.judge.shaping);
    CHECK(write_some(socket, std::string(1000, 'x')) == "sent");
    CHECK(read_some(client.get()).size() == 1000);
    if (decline) {
      REQUIRE(rig.gate->decline(rig.inbox.offered[0].offer));
      REQUIRE(rig.broker->turn(100));
    } else {
      rig.new_translator();
    }
    CHECK(rig.broker->offers() == 0);
    CHECK(rig.judge.most_volume >= 1000);
    CHECK(rig.judge.accounts.empty());
    CHECK(rig.judge.wrong_releases == 0);
  }
}

TEST_CASE("offers: one over its budget is cut before anybody claims it") {
  Rig rig{{}, published(kTcp)};
  rig.judge.metered = true;
  rig.judge.budget = 500;
  const base::Fd client = dial_far();
  REQUIRE(offered(rig));
  CHECK(write_some(rig.inbox.offered[0].socket.get(), std::string(1000, 'x')) == "sent");
  CHECK(rig.until([&] { return rig.broker->counters().cut == 1; }));
  const flow::Id id{7, 1};
  REQUIRE(rig.gate->claim(id, rig.inbox.offered[0].offer));
  CHECK(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  rig.close(id);
  CHECK(rig.judge.accounts.empty());
}

TEST_CASE("offers: the operator's kill takes those that nobody has claimed yet") {
  for (const bool claim : {true, false}) {
    CAPTURE(claim);
    Rig rig{{}, published(kTcp)};
    const base::Fd client = dial_far();
    REQUIRE(offered(rig));
    CHECK(rig.broker->kill([](const FlowEntry& e) { return !e.inbound; }) == 0);
    CHECK(rig.broker->kill([](const FlowEntry& e) { return e.inbound; }) == 1);
    CHECK(rig.broker->kill([](const FlowEntry&) { return true; }) == 0);
    CHECK(read_some(client.get()) == "<ECONNRESET>");
    CHECK(write_some(rig.inbox.offered[0].socket.get(), "x") != "sent");
    const flow::Id id{7, 1};
    if (claim)
      REQUIRE(rig.gate->claim(id, rig.inbox.offered[0].offer));
    else
      REQUIRE(rig.gate->decline(rig.inbox.offered[0].offer));
    rig.turn();
    CHECK(rig.inbox.revocations.contains(id) == claim);
    REQUIRE(rig.judge.cuts.size() == 1);
    CHECK(rig.judge.cuts[0].why == Cut::kOperator);
    CHECK(rig.broker->offers() == 0);
    CHECK(rig.broker->counters().violations == 0);
  }
}

TEST_CASE("offers: a UDP peer that becomes this host before the claim is cut, and recorded as that") {
  for (const bool claim : {true, false}) {
    CAPTURE(claim);
    Rig rig{{}, published(kUdp)};
    const base::Fd peer = dial_far(SOCK_DGRAM);
    CHECK(write_some(peer.get(), "x") == "sent");
    REQUIRE(offered(rig));
    rig.judge.local.insert(ip("198.51.100.1"));
    ++rig.judge.now_epoch;
    rig.turn();
    CHECK(write_some(rig.inbox.offered[0].socket.get(), "y") != "sent");
    if (claim)
      REQUIRE(rig.gate->claim({7, 1}, rig.inbox.offered[0].offer));
    else
      REQUIRE(rig.gate->decline(rig.inbox.offered[0].offer));
    rig.turn();
    REQUIRE(rig.judge.cuts.size() == 1);
    CHECK(rig.judge.cuts[0].why == Cut::kBecameLocal);
    CHECK(rig.judge.cuts[0].granted == claim);
  }
}

TEST_CASE("offers: a peer that has taken many of the gateway's ports costs others a bounded search") {
  Rig rig{{}, published(kTcp)};
  std::vector<base::Fd> clients;
  for (unsigned port = 1024; port < 1024 + 64; ++port)
    clients.push_back(dial(SOCK_STREAM, "127.0.0.1", "127.0.0.1", port));
  REQUIRE(offered(rig, 64));
  const base::Fd refused = dial(SOCK_STREAM, "127.0.0.1", "127.0.0.2", 1030);
  REQUIRE(rig.until([&] { return rig.judge.limits.size() == 1; }));
  CHECK(rig.judge.limits[0] == Limit::kConnections);
  CHECK(rig.broker->inbound_counters().limited == 1);
  CHECK(read_some(refused.get()) == "<ECONNRESET>");
  CHECK(rig.judge.accounts.size() == 64);
  // The search goes on where it stopped.
  const base::Fd next = dial(SOCK_STREAM, "127.0.0.1", "127.0.0.3", 1030);
  REQUIRE(offered(rig, 65));
  CHECK(rig.inbox.offered[64].tuple.remote == endpoint("10.0.2.2", 1024 + 64));
}

TEST_CASE("offers: a dual-stack rule takes an inherited socket that is IPv4 only") {
  World::get();
  std::vector<base::Fd> inherited;
  inherited.push_back(serve(SOCK_STREAM, "0.0.0.0", 8099));
  const int given = inherited[0].get();
  ForwardRule rule = published(kTcp).rules[0];
  rule.first = rule.last = 8099;
  const auto listeners = open_listeners(std::span{&rule, 1}, {}, std::move(inherited));
  REQUIRE(listeners);
  REQUIRE(listeners->size() == 1);
  CHECK((*listeners)[0].socket.get() == given);
}

}  // namespace cordon::sandbox::test
