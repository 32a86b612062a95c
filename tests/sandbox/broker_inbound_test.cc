#include <netinet/tcp.h>
#include <sys/resource.h>

#include "tests/sandbox/broker_rig.h"
#include "tests/sandbox/guest_links.h"

namespace cordon::sandbox::test {
namespace {

constexpr auto kTcp = flow::Protocol::kTcp;
constexpr auto kUdp = flow::Protocol::kUdp;
constexpr unsigned kPort = 8080;
constexpr unsigned kGuestPort = 80;

ForwardRule rule(flow::Protocol protocol, std::string_view address = "", unsigned port = kPort) {
  ForwardRule out;
  out.protocol = protocol;
  out.dual_stack = address.empty();
  out.address = ip(address.empty() ? "::" : address);
  out.first = out.last = static_cast<std::uint16_t>(port);
  out.target = kGuestPort;
  if (out.dual_stack || out.address.is_v4()) out.target_v4 = ip("10.0.2.15");
  if (out.address.is_v6()) out.target_v6 = ip("fd00:c0:2d::15");
  out.text = "--tcp-ports 8080:80";
  return out;
}

InboundOptions published(std::vector<ForwardRule> rules) {
  InboundOptions options;
  options.rules = std::move(rules);
  options.links = guest_links();
  return options;
}

base::Fd dial(int type, std::string_view address, unsigned port = kPort, std::string_view from = "",
              unsigned from_port = 0) {
  const net::SockAddr to = net::to_sockaddr(endpoint(address, port));
  base::Fd fd{::socket(to.generic.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!from.empty()) {
    const net::SockAddr at = net::to_sockaddr(endpoint(from, from_port));
    cordon::test::require(::bind(fd.get(), &at.generic, at.length) == 0, "bind");
  }
  const bool started = ::connect(fd.get(), &to.generic, to.length) == 0 || errno == EINPROGRESS;
  cordon::test::require(started, "connect");
  return fd;
}
base::Fd dial_far(int type, std::string_view address, unsigned port = kPort, std::string_view from = "",
                  unsigned from_port = 0) {
  return World::get().far([&] { return dial(type, address, port, from, from_port); });
}

net::Endpoint name_of(int fd) {
  net::SockAddr name;
  name.length = sizeof name.storage;
  ::getsockname(fd, &name.generic, &name.length);
  return *net::from_sockaddr(name);
}

// One offer, whatever the translator does with it next.
flow::Inbound* offered(Rig& rig, std::size_t count = 1) {
  if (!rig.until([&] { return rig.inbox.offered.size() >= count; })) return nullptr;
  return &rig.inbox.offered.back();
}
flow::Id claim(Rig& rig, std::uint32_t offer) {
  const flow::Id id{rig.next_slot++, 1};
  REQUIRE(rig.gate->claim(id, offer));
  rig.turn();
  return id;
}

}  // namespace

TEST_CASE("inbound: a connection is judged, offered, claimed and carries data both ways") {
  for (const std::string_view address : {"192.0.2.1", "2001:db8::1"}) {
    CAPTURE(address);
    Rig rig{{}, published({rule(kTcp)})};
    const base::Fd client = dial_far(SOCK_STREAM, address);
    flow::Inbound* offer = offered(rig);
    REQUIRE(offer != nullptr);
    const bool v6 = address.find(':') != std::string_view::npos;
    CHECK(offer->tuple.protocol == kTcp);
    CHECK(offer->tuple.guest == endpoint(v6 ? "fd00:c0:2d::15" : "10.0.2.15", kGuestPort));
    CHECK(offer->tuple.remote == name_of(client.get()));  // the source is kept
    CHECK(offer->path_mtu == 1500);
    CHECK(offer->first.empty());
    CHECK(rig.judge.judged_inbound == std::vector{offer->tuple});
    CHECK(rig.judge.allowed == 0);
    const flow::Id id = claim(rig, offer->offer);
    CHECK(rig.judge.allowed == 1);
    CHECK(rig.broker->flows() == 1);
    CHECK(rig.broker->offers() == 0);
    CHECK(write_some(client.get(), "hello") == "sent");
    CHECK(read_some(offer->socket.get()) == "hello");
    CHECK(write_some(offer->socket.get(), "back") == "sent");
    CHECK(read_some(client.get()) == "back");
    int value = 0;
    socklen_t size = sizeof value;
    REQUIRE(::getsockopt(offer->socket.get(), IPPROTO_TCP, TCP_NODELAY, &value, &size) == 0);
    CHECK(value == 1);
    CHECK((::fcntl(offer->socket.get(), F_GETFL) & O_NONBLOCK) != 0);
    offer->socket.reset();
    rig.close(id);
    CHECK(read_some(client.get()) == "<eof>");
    CHECK(rig.judge.ended == std::vector{flow::EndReason::kFin});
    CHECK(rig.judge.accounts.empty());
    CHECK(rig.judge.wrong_releases == 0);
  }
}

TEST_CASE("inbound: what is denied is reset and never offered") {
  Rig rig{{}, published({rule(kTcp), rule(kUdp)})};
  rig.judge.becomes_host(ip("198.51.100.1"));
  const base::Fd client = dial_far(SOCK_STREAM, "192.0.2.1", kPort, "198.51.100.1");
  const base::Fd talker = dial_far(SOCK_DGRAM, "192.0.2.1", kPort, "198.51.100.1");
  CHECK(write_some(talker.get(), "x") == "sent");
  REQUIRE(rig.until([&] { return rig.judge.denied.size() == 2; }));
  CHECK(read_some(client.get()) == "<ECONNRESET>");
  CHECK_FALSE(readable(talker.get(), 0));
  CHECK(rig.inbox.offered.empty());
  CHECK(rig.broker->inbound_counters().denied == 2);
  CHECK(rig.judge.admissions == 0);
}

TEST_CASE("inbound: over a limit of the policy is refused like a denial") {
  Rig rig{{}, published({rule(kTcp)})};
  rig.judge.most_accounts = 1;
  const base::Fd one = dial_far(SOCK_STREAM, "192.0.2.1");
  REQUIRE(offered(rig) != nullptr);
  const base::Fd two = dial_far(SOCK_STREAM, "192.0.2.1");
  REQUIRE(rig.until([&] { return rig.judge.denied.size() == 1; }));
  CHECK(read_some(two.get()) == "<ECONNRESET>");
  // A decline gives the place back.
  REQUIRE(rig.gate->decline(rig.inbox.offered[0].offer));
  rig.turn();
  CHECK(read_some(one.get()) == "<ECONNRESET>");
  CHECK(rig.judge.accounts.empty());
  const base::Fd three = dial_far(SOCK_STREAM, "192.0.2.1");
  CHECK(offered(rig, 2) != nullptr);
}

TEST_CASE("inbound: a declined offer resets the peer and is recorded") {
  Rig rig{{}, published({rule(kTcp)})};
  const base::Fd client = dial_far(SOCK_STREAM, "192.0.2.1");
  REQUIRE(offered(rig) != nullptr);
  REQUIRE(rig.gate->decline(rig.inbox.offered[0].offer));
  rig.turn();
  CHECK(read_some(client.get()) == "<ECONNRESET>");
  CHECK(rig.judge.limits == std::vector{Limit::kConnections});
  CHECK(rig.broker->inbound_counters().declined == 1);
  CHECK(rig.broker->offers() == 0);
  CHECK(rig.told().empty());
}

TEST_CASE("inbound: hostile answers to offers get the translator killed, and every peer with it") {
  Rig rig{{}, published({rule(kTcp)})};
  const base::Fd first = dial_far(SOCK_STREAM, "192.0.2.1");
  REQUIRE(offered(rig) != nullptr);
  const flow::Id id = claim(rig, rig.inbox.offered[0].offer);
  const base::Fd client = dial_far(SOCK_STREAM, "192.0.2.1");
  REQUIRE(offered(rig, 2) != nullptr);
  const std::uint32_t claimed = rig.inbox.offered[0].offer;
  const std::uint32_t open = rig.inbox.offered[1].offer;
  SUBCASE("a claim of nothing") { REQUIRE(rig.gate->claim({9, 1}, open + 1)); }
  SUBCASE("a decline of nothing") { REQUIRE(rig.gate->decline(0xffffffffU)); }
  SUBCASE("a claim that was made before") { REQUIRE(rig.gate->claim({9, 1}, claimed)); }
  SUBCASE("a decline after the claim") { REQUIRE(rig.gate->decline(claimed)); }
  SUBCASE("a slot that is in use") { REQUIRE(rig.gate->claim(id, open)); }
  SUBCASE("a slot out of range") { REQUIRE(rig.gate->claim({65536, 1}, open)); }
  SUBCASE("a claim twice at once") {
    REQUIRE(rig.gate->claim({9, 1}, open));
    REQUIRE(rig.gate->claim({10, 1}, open));
  }
  REQUIRE(rig.broker->turn(100));
  CHECK(rig.told() == "k");
  CHECK(rig.broker->flows() == 0);
  CHECK(rig.broker->offers() == 0);
  CHECK(rig.judge.accounts.empty());
  CHECK(rig.judge.wrong_releases == 0);
  CHECK(read_some(first.get()) == "<ECONNRESET>");
  CHECK(read_some(client.get()) == "<ECONNRESET>");
  rig.new_translator();
  const base::Fd next = dial_far(SOCK_STREAM, "192.0.2.1");
  CHECK(offered(rig, 3) != nullptr);
}

TEST_CASE("inbound: without a translator connections wait, and the next one gets them") {
  Rig rig{{}, published({rule(kTcp)})};
  rig.gate.reset();
  REQUIRE(rig.broker->turn(100));
  const base::Fd client = dial_far(SOCK_STREAM, "192.0.2.1");
  const auto started = base::monotonic_now();
  for (int i = 0; i < 3; ++i) REQUIRE(rig.broker->turn(20));
  CHECK(base::monotonic_now() - started >= 50ms);  // it sleeps: the listener is readable all the time
  CHECK_FALSE(readable(client.get(), 0));          // not reset either
  rig.new_translator();
  flow::Inbound* offer = offered(rig);
  REQUIRE(offer != nullptr);
  claim(rig, offer->offer);
  CHECK(write_some(client.get(), "hello") == "sent");
  CHECK(read_some(offer->socket.get()) == "hello");
}

TEST_CASE("inbound: a change of policy cuts offers and flows, and a claim meets the revocation") {
  Rig rig{{}, published({rule(kTcp)})};
  const base::Fd one = dial_far(SOCK_STREAM, "192.0.2.1", kPort, "198.51.100.1");
  REQUIRE(offered(rig) != nullptr);
  const flow::Id id = claim(rig, rig.inbox.offered[0].offer);
  const base::Fd two = dial_far(SOCK_STREAM, "192.0.2.1", kPort, "198.51.100.1");
  REQUIRE(offered(rig, 2) != nullptr);
  rig.told();
  rig.judge.becomes_host(ip("198.51.100.1"));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  CHECK(read_some(one.get()) == "<ECONNRESET>");
  CHECK(read_some(two.get()) == "<ECONNRESET>");
  CHECK(rig.told() == "bebe");  // the offer, then the flow: each within the launcher's clock
  const flow::Id late = claim(rig, rig.inbox.offered[1].offer);
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(late); }));
  rig.close(id);
  rig.close(late);
  CHECK(rig.broker->flows() == 0);
  CHECK(rig.broker->offers() == 0);
  CHECK(rig.judge.cuts.size() == 2);
  CHECK(rig.judge.accounts.empty());
  CHECK(rig.judge.wrong_releases == 0);
}

TEST_CASE("inbound: sources the guest could not answer become the gateway's") {
  Rig rig{{}, published({rule(kTcp)})};
  World::get().far_run("ip addr add 10.0.2.77/32 dev far0 2>/dev/null || true");
  cordon::test::run("ip route replace 10.0.2.77/32 via 192.0.2.254");
  const base::Fd local = dial(SOCK_STREAM, "127.0.0.1", kPort, "127.0.0.1", 45000);
  const base::Fd same_port = dial(SOCK_STREAM, "127.0.0.2", kPort, "127.0.0.2", 45000);
  const base::Fd local6 = dial(SOCK_STREAM, "::1", kPort, "::1", 45000);
  const base::Fd on_link = dial_far(SOCK_STREAM, "192.0.2.1", kPort, "10.0.2.77", 45001);
  const base::Fd host = dial(SOCK_STREAM, "192.0.2.1", kPort, "192.0.2.1", 45002);
  REQUIRE(rig.until([&] { return rig.inbox.offered.size() == 5; }));
  std::set<net::Endpoint> remotes;
  for (const auto& offer : rig.inbox.offered) remotes.insert(offer.tuple.remote);
  CHECK(remotes.size() == 5);
  CHECK(remotes.contains(endpoint("10.0.2.2", 45000)));  // the port stays where it is free
  CHECK(remotes.contains(endpoint("fd00:c0:2d::2", 45000)));
  CHECK(remotes.contains(endpoint("10.0.2.2", 45001)));
  CHECK(remotes.contains(endpoint("192.0.2.1", 45002)));  // a real address of the host stays itself
  // Policy and records see the true source.
  std::set<net::Endpoint> judged;
  for (const auto& seen : rig.judge.judged_inbound) judged.insert(seen.remote);
  CHECK(judged.contains(endpoint("127.0.0.1", 45000)));
  CHECK(judged.contains(endpoint("127.0.0.2", 45000)));
  CHECK(judged.contains(endpoint("10.0.2.77", 45001)));
  cordon::test::run("ip route del 10.0.2.77/32");
}

TEST_CASE("inbound: many connections at once; the table's last quarter is not theirs") {
  BrokerOptions options;
  options.max_flows = 64;
  Rig rig{std::move(options), published({rule(kTcp)})};
  std::vector<base::Fd> clients;
  for (int i = 0; i < 60; ++i) clients.push_back(dial_far(SOCK_STREAM, "192.0.2.1"));
  REQUIRE(rig.until([&] { return rig.inbox.offered.size() == 48 && rig.judge.limits.size() == 12; }));
  for (const auto& offer : rig.inbox.offered) claim(rig, offer.offer);
  CHECK(rig.broker->flows() == 48);
  // The guest's own still go.
  const base::Fd far = serve_far(SOCK_STREAM, "198.51.100.1", 0);
  const base::Fd own = rig.grant(tuple(kTcp, "198.51.100.1", port_of(far.get())));
}

TEST_CASE("inbound: offers that nobody answers hold no more than their number") {
  auto inbound = published({rule(kTcp)});
  inbound.max_offers = 4;
  Rig rig{{}, std::move(inbound)};
  std::vector<base::Fd> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(dial_far(SOCK_STREAM, "192.0.2.1"));
  REQUIRE(rig.until([&] { return rig.inbox.offered.size() == 4; }));
  const auto started = base::monotonic_now();
  for (int i = 0; i < 3; ++i) rig.turn(20);
  CHECK(base::monotonic_now() - started >= 50ms);
  CHECK(rig.inbox.offered.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) claim(rig, rig.inbox.offered[i].offer);
  CHECK(rig.until([&] { return rig.inbox.offered.size() == 8; }));
}

TEST_CASE("inbound: too few descriptors pause the listeners, and the peer waits") {
  Rig rig{{}, published({rule(kTcp)})};
  const base::Fd client = dial_far(SOCK_STREAM, "192.0.2.1");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const base::Fd next{::dup(0)};
  const rlimit tight{static_cast<rlim_t>(next.get()), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  const auto started = base::monotonic_now();
  int turns = 0;
  for (; base::monotonic_now() - started < 300ms; ++turns) rig.turn(20);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(turns < 40);
  CHECK(rig.broker->inbound_counters().pauses >= 1);
  CHECK(rig.inbox.offered.empty());
  CHECK(offered(rig) != nullptr);
}

}  // namespace cordon::sandbox::test
