// Live flows, pending ones and offers when the policy changes under them.
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>

#include "tests/sandbox/broker_rig.h"
#include "tests/sandbox/guest_links.h"

namespace cordon::sandbox::test {
namespace {

constexpr auto kTcp = flow::Protocol::kTcp;
constexpr auto kUdp = flow::Protocol::kUdp;
constexpr std::string_view kFar = "198.51.100.1";
constexpr std::string_view kFar6 = "2001:db8:1::1";
constexpr unsigned kPort = 18085;

void send_policy(Rig& rig) {
  const base::Fd bundle{::memfd_create("bundle", MFD_CLOEXEC)};
  REQUIRE(rig.launcher->send_new_policy(bundle.get(), control::LoadCause::kSignal) == SendStatus::kSent);
}
void reload(Rig& rig) {
  send_policy(rig);
  rig.turn();
}

std::uint64_t pacing_of(int socket) {
  std::uint64_t rate = 0;
  socklen_t size = sizeof rate;
  REQUIRE(::getsockopt(socket, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &size) == 0);
  return rate;
}

InboundOptions published(flow::Protocol protocol) {
  InboundOptions options;
  ForwardRule rule;
  rule.protocol = protocol;
  rule.dual_stack = true;
  rule.address = ip("::");
  rule.first = rule.last = rule.target = kPort;
  rule.target_v4 = ip("10.0.2.15");
  rule.target_v6 = ip("fd00:c0:2d::15");
  options.rules = {rule};
  options.links = guest_links();
  return options;
}
base::Fd dial_far(int type) {
  return World::get().far([&] {
    base::Fd fd{::socket(AF_INET, type | SOCK_CLOEXEC, 0)};
    const net::SockAddr at = net::to_sockaddr(endpoint("192.0.2.1", kPort));
    cordon::test::require(::connect(fd.get(), &at.generic, at.length) == 0, "connect");
    return fd;
  });
}

}  // namespace

TEST_CASE("reload: what is denied now is cut, what is not goes on, and the judge hears of the end") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  const base::Fd other = serve_far(SOCK_STREAM, kFar6, 0);
  flow::Id id;
  const base::Fd cut = rig.grant(tuple(kTcp, kFar, port_of(listener.get())), &id);
  const base::Fd stays = rig.grant(tuple(kTcp, kFar6, port_of(other.get())));
  rig.judge.host.insert(ip(kFar));
  reload(rig);
  CHECK(rig.judge.loads == 1);
  CHECK(rig.inbox.revocations.contains(id));
  CHECK(write_some(stays.get(), "x") == "sent");
  REQUIRE(rig.judge.cuts.size() == 1);
  CHECK(rig.judge.cuts[0].why == Cut::kVerdict);
  CHECK(rig.judge.reviewed == std::vector{rig.judge.now_epoch});
  CHECK(rig.judge.readmissions == 1);

  // Rejected and unchanged files move nobody.
  for (const PolicyLoad outcome : {PolicyLoad::kRejected, PolicyLoad::kUnchanged}) {
    rig.judge.load_outcome = outcome;
    reload(rig);
    CHECK(rig.running);
  }
  CHECK(rig.judge.loads == 3);
  CHECK(rig.judge.readmissions == 1);
  CHECK(rig.judge.reviewed.size() == 1);
}

TEST_CASE("reload: a connection that is pending is decided by the new policy") {
  for (const bool drains : {false, true}) {
    CAPTURE(drains);
    BrokerOptions options;
    bool reloaded = false;
    Rig* self = nullptr;
    // The connection stands, and nobody was told yet.
    options.before_second_check = [&](const flow::Tuple& t) {
      if (std::exchange(reloaded, true)) return;
      self->judge.host.insert(t.remote.address);
      if (drains) self->judge.draining.insert(t.remote.address);
      ++self->judge.now_epoch;
    };
    Rig rig{std::move(options)};
    self = &rig;
    const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
    const flow::Id id = rig.ask(tuple(kTcp, kFar, port_of(listener.get())));
    CHECK(rig.inbox.refusals.contains(id));  // drain is for flows that live
    CHECK(rig.broker->flows() == 0);
    CHECK(rig.judge.accounts.empty());

    // The same for one whose handshake is still under way.
    const flow::Id waiting = rig.request(tuple(kTcp, "192.0.2.99", 9));  // nobody answers ARP
    rig.turn();
    rig.judge.host.insert(ip("192.0.2.99"));
    if (drains) rig.judge.draining.insert(ip("192.0.2.99"));
    reload(rig);
    CHECK(rig.inbox.refusals.contains(waiting));
    CHECK(rig.judge.accounts.empty());
    CHECK(rig.judge.wrong_releases == 0);
  }
}

TEST_CASE("reload: a flow that drains lives until the judge says otherwise") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  const auto to = tuple(kTcp, kFar, port_of(listener.get()));
  flow::Id id;
  const base::Fd socket = rig.grant(to, &id);
  rig.judge.host.insert(ip(kFar));
  rig.judge.draining.insert(ip(kFar));
  reload(rig);
  CHECK(rig.inbox.revocations.empty());
  CHECK(write_some(socket.get(), "x") == "sent");
  CHECK(rig.refusal(to) == flow::RefuseHow::kReject);
  rig.judge.draining.clear();
  ++rig.judge.now_epoch;
  rig.turn();
  CHECK(rig.inbox.revocations.contains(id));
}

TEST_CASE("reload: a translator that restarts while flows drain takes them with it") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  const base::Fd socket = rig.grant(tuple(kTcp, kFar, port_of(listener.get())));
  const base::Fd peer = accept_one(listener.get());
  rig.judge.host.insert(ip(kFar));
  rig.judge.draining.insert(ip(kFar));
  reload(rig);
  rig.gate.reset();
  rig.new_translator();
  CHECK(rig.broker->flows() == 0);
  CHECK(read_some(peer.get()) == "<ECONNRESET>");
  rig.judge.draining.clear();
  ++rig.judge.now_epoch;
  rig.turn();
  CHECK(rig.judge.reviewed.back() == rig.judge.now_epoch);
  CHECK(rig.judge.accounts.empty());
}

TEST_CASE("reload: while the host state is unknown nobody is reviewed, and everybody afterwards") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  flow::Id id;
  const base::Fd socket = rig.grant(tuple(kTcp, kFar, port_of(listener.get())), &id);
  rig.judge.stale = true;
  rig.ask(tuple(kTcp, kFar, 1));  // makes it look
  rig.judge.host.insert(ip(kFar));
  reload(rig);
  rig.turn();
  CHECK(rig.inbox.revocations.empty());
  rig.judge.stale = false;
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));
}

TEST_CASE("reload: other limits reach the kernel and the translator") {
  Rig rig;
  rig.judge.relimit = true;
  rig.judge.shaping = {.shaper = 3, .outer = 1, .rate = 1'000'000, .outer_rate = 2'000'000};
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  flow::Id id;
  const base::Fd socket = rig.grant(tuple(kTcp, kFar, port_of(listener.get())), &id);
  CHECK(rig.inbox.grants.at(id).shaping == rig.judge.shaping);
  CHECK(pacing_of(socket.get()) == 1'000'000);

  reload(rig);
  CHECK(rig.inbox.reshaped.empty());  // nothing is different

  rig.judge.shaping = {.shaper = 4, .rate = 5'000'000};
  reload(rig);
  CHECK(rig.inbox.reshaped[id] == std::vector{rig.judge.shaping});
  CHECK(pacing_of(socket.get()) == 5'000'000);

  rig.judge.shaping = {};
  reload(rig);
  CHECK(rig.inbox.reshaped[id].back() == flow::Shaping{});
  CHECK(pacing_of(socket.get()) == UINT64_MAX);
  rig.close(id);
  CHECK(rig.judge.accounts.empty());
  CHECK(rig.judge.wrong_releases == 0);
}

TEST_CASE("reload: a flow that comes under a budget is measured before anything is charged") {
  Rig rig;
  rig.judge.relimit = true;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  flow::Id id;
  const base::Fd socket = rig.grant(tuple(kTcp, kFar, port_of(listener.get())), &id);
  const base::Fd peer = accept_one(listener.get());
  CHECK(write_some(peer.get(), std::string(1500, 'x')) == "sent");
  CHECK(read_some(socket.get()).size() == 1500);
  (void)rig.told();
  rig.judge.metered = true;
  reload(rig);
  CHECK(rig.judge.most_volume >= 1500);
  CHECK(rig.told() == "be");  // the launcher's clock ran: another process may hold the socket's lock
  CHECK(rig.broker->metered() == 1);
  // And is cut when the judge says that it is over.
  rig.judge.budget = 1600;
  CHECK(write_some(peer.get(), std::string(1500, 'x')) == "sent");
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  CHECK(rig.judge.cuts.back().why == Cut::kLimit);
  rig.close(id);
  CHECK(rig.broker->metered() == 0);
}

TEST_CASE("reload: an offer is judged again, and claimed with the limits of now") {
  for (const flow::Protocol protocol : {kTcp, kUdp}) {
    CAPTURE(protocol == kTcp);
    Rig rig{{}, published(protocol)};
    rig.judge.relimit = true;
    rig.judge.shaping = {.shaper = 3, .rate = 1'000'000};
    const base::Fd client = dial_far(protocol == kTcp ? SOCK_STREAM : SOCK_DGRAM);
    if (protocol == kUdp) CHECK(write_some(client.get(), "x") == "sent");
    REQUIRE(rig.until([&] { return !rig.inbox.offered.empty(); }));
    CHECK(rig.inbox.offered[0].shaping == rig.judge.shaping);
    rig.judge.shaping = {.shaper = 4, .rate = 2'000'000};
    reload(rig);
    const flow::Id id{7, 1};
    CHECK(rig.inbox.reshaped.empty());
    REQUIRE(rig.gate->claim(id, rig.inbox.offered[0].offer));
    rig.turn();
    CHECK(rig.inbox.reshaped[id] == std::vector{rig.judge.shaping});

    // One that the new policy denies, before anybody claims it.
    const base::Fd second = dial_far(protocol == kTcp ? SOCK_STREAM : SOCK_DGRAM);
    if (protocol == kUdp) CHECK(write_some(second.get(), "x") == "sent");
    REQUIRE(rig.until([&] { return rig.inbox.offered.size() == 2; }));
    const net::IpAddress peer = rig.inbox.offered[1].tuple.remote.address;
    rig.judge.host.insert(peer);
    rig.judge.draining.insert(peer);
    reload(rig);
    CHECK(rig.broker->counters().cut == 0);  // it drains
    rig.judge.draining.clear();
    ++rig.judge.now_epoch;
    rig.turn();
    CHECK(rig.inbox.revocations.contains(id));
    CHECK(rig.broker->counters().cut == 2);
    REQUIRE(rig.gate->decline(rig.inbox.offered[1].offer));
    rig.turn();
    CHECK(rig.broker->offers() == 0);
    rig.close(id);
    CHECK(rig.judge.accounts.empty());
    CHECK(rig.judge.wrong_releases == 0);
  }
}

TEST_CASE("reload: many flows take several turns, whoever comes meanwhile is served, and none is left out") {
  Rig rig;
  rig.judge.relimit = true;
  const base::Fd sink = serve_far(SOCK_DGRAM, kFar, 0);
  const base::Fd sink6 = serve_far(SOCK_DGRAM, kFar6, 0);
  constexpr unsigned kFlows = 1500;
  for (unsigned i = 0; i < kFlows; ++i)
    rig.ask(i % 2 == 0 ? tuple(kUdp, kFar, port_of(sink.get()), 20000 + i)
                       : tuple(kUdp, kFar6, port_of(sink6.get()), 20000 + i));
  rig.judge.host.insert(ip(kFar));
  rig.judge.shaping = {.shaper = 9, .rate = 1'000'000};
  send_policy(rig);
  REQUIRE(rig.broker->turn(0));
  CHECK(rig.judge.cuts.size() < kFlows / 2);  // not all in one turn
  const base::Fd fresh = rig.grant(tuple(kUdp, kFar6, port_of(sink6.get()), 19999));
  CHECK(write_some(fresh.get(), "x") == "sent");
  REQUIRE(rig.until(
      [&] { return rig.inbox.revocations.size() == kFlows / 2 && rig.inbox.reshaped.size() == kFlows / 2; }));
  CHECK(rig.judge.reviewed == std::vector{rig.judge.now_epoch});
  for (const auto& [id, shapings] : rig.inbox.reshaped) CHECK(shapings.size() == 1);
}

TEST_CASE("reload: a translator that reads nothing keeps no denied flow alive, and no answer piles up") {
  Rig rig;
  rig.judge.relimit = true;
  const base::Fd sink = serve_far(SOCK_DGRAM, kFar, 0);
  const base::Fd sink6 = serve_far(SOCK_DGRAM, kFar6, 0);
  constexpr unsigned kFlows = 1200;
  for (unsigned i = 0; i < kFlows; ++i)
    rig.ask(i < kFlows - 100 ? tuple(kUdp, kFar6, port_of(sink6.get()), 20000 + i)
                             : tuple(kUdp, kFar, port_of(sink.get()), 20000 + i));
  // Many reshapes fill the channel; the denied ones are the oldest and come last.
  rig.judge.host.insert(ip(kFar));
  const auto end = base::monotonic_now() + 5s;
  for (std::uint16_t round = 1; rig.judge.cuts.size() < 100 && base::monotonic_now() < end; ++round) {
    rig.judge.shaping = {.shaper = static_cast<std::uint16_t>(1 + round % 2), .rate = 1000U + round};
    send_policy(rig);
    for (int i = 0; i < 20; ++i) REQUIRE(rig.broker->turn(1));
  }
  CHECK(rig.judge.cuts.size() == 100);
  // When it reads at last, each flow that goes on was told once or twice, the last time what is right.
  REQUIRE(rig.until([&] { return rig.inbox.revocations.size() == 100; }));
  REQUIRE(rig.until([&] {
    return std::ranges::count_if(rig.inbox.reshaped, [&](const auto& entry) {
             return entry.second.back() == rig.judge.shaping;
           }) == kFlows - 100;
  }));
}

TEST_CASE("reload: a hundred in a row, and the last one's word holds") {
  Rig rig;
  const base::Fd sink = serve_far(SOCK_DGRAM, kFar, 0);
  const base::Fd sink6 = serve_far(SOCK_DGRAM, kFar6, 0);
  for (unsigned i = 0; i < 700; ++i)
    rig.ask(i % 2 == 0 ? tuple(kUdp, kFar, port_of(sink.get()), 20000 + i)
                       : tuple(kUdp, kFar6, port_of(sink6.get()), 20000 + i));
  rig.judge.now_epoch = UINT32_MAX - 50;  // and it wraps
  for (int i = 0; i < 100; ++i) {
    if (i == 99) rig.judge.host.insert(ip(kFar));
    send_policy(rig);
    if (i % 3 == 0) rig.turn();
  }
  REQUIRE(rig.until([&] { return rig.inbox.revocations.size() == 350; }));
  CHECK(rig.judge.loads == 100);
  CHECK(rig.broker->flows() == 700);
  REQUIRE(rig.until([&] { return rig.judge.reviewed.back() == rig.judge.now_epoch; }));
  CHECK(rig.inbox.revocations.size() == 350);
}

TEST_CASE("reload: without a first policy the broker is not ready, and ends when it is rejected") {
  for (const bool good : {true, false}) {
    CAPTURE(good);
    Rig rig;
    rig.judge.ready = false;
    rig.judge.load_outcome = good ? PolicyLoad::kInForce : PolicyLoad::kRejected;
    send_policy(rig);
    REQUIRE(rig.launcher->send_stop() == SendStatus::kSent);
    const auto end = rig.broker->run();
    REQUIRE(end);
    CHECK(*end == (good ? Broker::End::kStopped : Broker::End::kNoPolicy));
  }
}

}  // namespace cordon::sandbox::test
