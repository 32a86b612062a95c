#include <linux/filter.h>
#include <netinet/tcp.h>
#include <signal.h>

#include "tests/sandbox/broker_rig.h"

namespace cordon::sandbox::test {
namespace {

constexpr auto kTcp = flow::Protocol::kTcp;
constexpr auto kUdp = flow::Protocol::kUdp;
constexpr auto kEcho = flow::Protocol::kIcmpEcho;

struct Connection {
  explicit Connection(Rig& rig) : listener(serve_far(SOCK_STREAM, "198.51.100.1", 0)) {
    holder = rig.grant(tuple(kTcp, "198.51.100.1", port_of(listener.get())), &id);
    peer = accept_one(listener.get());
    REQUIRE(peer);
  }
  // Writes until the kernel takes no more; the peer does not read.
  std::size_t stuff() const {
    const std::string block(65536, 'x');
    std::size_t total = 0;
    for (;;) {
      const ssize_t sent = ::send(holder.get(), block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent <= 0) return total;
      total += static_cast<std::size_t>(sent);
    }
  }
  base::Fd listener;
  base::Fd holder;
  base::Fd peer;
  flow::Id id;
};

// Reads until end or error; how much, and how it ended.
std::pair<std::size_t, std::string> read_all(int fd) {
  std::size_t total = 0;
  for (;;) {
    const std::string got = read_some(fd);
    if (got.starts_with('<')) return {total, got};
    total += got.size();
  }
}

}  // namespace

TEST_CASE("revoke: TCP is cut, what was queued does not arrive, the launcher is told around it") {
  Rig rig;
  Connection c{rig};
  const std::size_t queued = c.stuff();
  rig.told();
  rig.judge.becomes_host(ip("198.51.100.1"));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(c.id); }));
  CHECK(rig.told() == "be");
  CHECK(rig.inbox.revocations.at(c.id) == flow::RefuseHow::kReject);
  CHECK(write_some(c.holder.get(), "more").starts_with("<"));
  const auto [arrived, end] = read_all(c.peer.get());
  CHECK(arrived < queued);
  CHECK(end == "<ECONNRESET>");
  REQUIRE(rig.judge.cuts.size() == 1);
  CHECK(rig.judge.cuts[0].granted);
  CHECK_FALSE(rig.judge.cuts[0].exposed);
  // The slot is the translator's until it has answered.
  CHECK(rig.broker->flows() == 1);
  rig.close(c.id);
  CHECK(rig.broker->flows() == 0);
  CHECK(rig.judge.ended == std::vector{flow::EndReason::kRevoked});
}

TEST_CASE("revoke: UDP neither sends nor hears any more, not even strangers on the kept port") {
  Rig rig;
  const base::Fd far = serve_far(SOCK_DGRAM, "198.51.100.1", 0);
  const base::Fd stranger = serve_far(SOCK_DGRAM, "192.0.2.254", 0);
  flow::Id id;
  const base::Fd holder = rig.grant(tuple(kUdp, "198.51.100.1", port_of(far.get()), 45010), &id);
  CHECK(write_some(holder.get(), "before") == "sent");
  CHECK(read_some(far.get()) == "before");
  rig.judge.becomes_host(ip("198.51.100.1"));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));

  CHECK(write_some(holder.get(), "after") == "<EPIPE>");
  const int ignored = 0;
  CHECK(::setsockopt(holder.get(), SOL_SOCKET, SO_DETACH_FILTER, &ignored, sizeof ignored) == -1);
  CHECK(errno == EPERM);
  CHECK(send_to(far.get(), endpoint("192.0.2.1", 45010), "late answer"));
  CHECK(send_to(stranger.get(), endpoint("192.0.2.1", 45010), "stranger"));
  char buffer[64];
  // shutdown() makes it readable at end of file; a datagram it must not have.
  CHECK(::recv(holder.get(), buffer, sizeof buffer, MSG_DONTWAIT) <= 0);
  CHECK_FALSE(readable(far.get(), 0));
  REQUIRE(rig.judge.cuts.size() == 1);
  CHECK(rig.judge.cuts[0].exposed);
}

TEST_CASE("revoke: echo neither sends nor hears any more") {
  Rig rig;
  flow::Id id;
  const base::Fd holder = rig.grant(tuple(kEcho, "198.51.100.1", 0, 4712), &id);
  rig.judge.becomes_host(ip("198.51.100.1"));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  std::string echo(8, '\0');
  echo[0] = 8;
  CHECK(write_some(holder.get(), echo) == "<EPIPE>");
}

TEST_CASE("revoke: only the flows that are denied now are cut, over as many turns as it takes") {
  Rig rig;
  constexpr int kFlows = 1200;  // more than one turn reviews
  std::vector<base::Fd> sockets;
  std::vector<flow::Id> kept;
  for (int i = 0; i < kFlows; ++i) {
    flow::Id id;
    const bool keep = i % 3 == 0;
    sockets.push_back(rig.grant(tuple(kUdp, keep ? "198.51.100.1" : "198.51.100.2", 9999, 1024), &id));
    if (keep) kept.push_back(id);
  }
  rig.judge.becomes_host(ip("198.51.100.2"));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.size() == kFlows - kept.size(); }));
  for (int i = 0; i < 10; ++i) rig.turn();
  CHECK(rig.inbox.revocations.size() == kFlows - kept.size());
  for (const flow::Id id : kept) CHECK_FALSE(rig.inbox.revocations.contains(id));
}

TEST_CASE("end: the broker's duplicate keeps the connection until Close, whatever the holder does") {
  Rig rig;
  Connection c{rig};
  const linger abort{1, 0};
  ::setsockopt(c.holder.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  c.holder.reset();
  CHECK_FALSE(readable(c.peer.get(), 50));
  SUBCASE("graceful") {
    rig.close(c.id, flow::CloseHow::kGraceful);
    CHECK(read_some(c.peer.get()) == "<eof>");
  }
  SUBCASE("reset") {
    rig.close(c.id, flow::CloseHow::kReset);
    CHECK(read_some(c.peer.get()) == "<ECONNRESET>");
  }
  CHECK(rig.judge.ended == std::vector{flow::EndReason::kFin});
  CHECK(rig.judge.volumes[0].bytes_to_guest == 2);
}

TEST_CASE("end: a graceful close delivers what was queued") {
  Rig rig;
  Connection c{rig};
  const std::size_t queued = c.stuff();
  c.holder.reset();
  rig.close(c.id);
  const auto [arrived, end] = read_all(c.peer.get());
  CHECK(arrived == queued);
  CHECK(end == "<eof>");
}

TEST_CASE("end: a holder that says Close and keeps its descriptor has nothing left") {
  Rig rig;
  SUBCASE("TCP graceful") {
    Connection c{rig};
    rig.close(c.id);
    CHECK(write_some(c.holder.get(), "x") == "<EPIPE>");
    CHECK(read_some(c.peer.get()) == "<eof>");
  }
  SUBCASE("TCP reset") {
    Connection c{rig};
    rig.close(c.id, flow::CloseHow::kReset);
    CHECK(write_some(c.holder.get(), "x").starts_with("<"));
    CHECK(read_some(c.peer.get()) == "<ECONNRESET>");
  }
  SUBCASE("UDP") {
    const base::Fd far = serve_far(SOCK_DGRAM, "198.51.100.1", 0);
    flow::Id id;
    const base::Fd holder = rig.grant(tuple(kUdp, "198.51.100.1", port_of(far.get()), 45011), &id);
    rig.close(id);
    CHECK(write_some(holder.get(), "x") == "<EPIPE>");
    const base::Fd stranger = serve_far(SOCK_DGRAM, "192.0.2.254", 0);
    CHECK(send_to(far.get(), endpoint("192.0.2.1", 45011), "late answer"));
    CHECK(send_to(stranger.get(), endpoint("192.0.2.1", 45011), "stranger"));
    char buffer[64];
    CHECK(::recv(holder.get(), buffer, sizeof buffer, MSG_DONTWAIT) <= 0);
  }
  SUBCASE("UDP over IPv6") {
    flow::Id id;
    const base::Fd holder = rig.grant(tuple(kUdp, "2001:db8:1::1", 9), &id);
    rig.close(id);
    CHECK(write_some(holder.get(), "x") == "<EPIPE>");
  }
}

TEST_CASE("end: a holder cannot make the broker wait with a lingering close") {
  Rig rig;
  Connection c{rig};
  c.stuff();
  const linger wait{1, 30};
  REQUIRE(::setsockopt(c.holder.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof wait) == 0);
  const int flags = ::fcntl(c.holder.get(), F_GETFL);
  REQUIRE(::fcntl(c.holder.get(), F_SETFL, flags & ~O_NONBLOCK) == 0);
  c.holder.reset();
  const auto started = base::monotonic_now();
  rig.close(c.id);
  CHECK(rig.broker->flows() == 0);
  CHECK(base::monotonic_now() - started < 10s);  // it would be 30
}

TEST_CASE("end: a lingering, blocking socket is cut without waiting too") {
  Rig rig;
  Connection c{rig};
  c.stuff();
  const linger wait{1, 30};
  ::setsockopt(c.holder.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof wait);
  ::fcntl(c.holder.get(), F_SETFL, 0);
  c.holder.reset();
  rig.judge.becomes_host(ip("198.51.100.1"));
  const auto started = base::monotonic_now();
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(c.id); }));
  CHECK(base::monotonic_now() - started < 10s);
}

TEST_CASE("translator: a new one starts empty, what the old one held is cut") {
  Rig rig;
  Connection c{rig};
  rig.new_translator();
  CHECK(rig.broker->flows() == 0);
  CHECK(read_some(c.peer.get()) == "<ECONNRESET>");
  REQUIRE(rig.judge.cuts.size() == 1);
  CHECK(rig.judge.cuts[0].why == Cut::kTranslatorGone);
  // And it works.
  CHECK(rig.inbox.grants.contains(rig.ask(tuple(kTcp, "198.51.100.1", port_of(c.listener.get())))));
}

TEST_CASE("translator: what was being opened for one that died was allowed, and is told once") {
  Rig rig;
  const auto silent = tuple(kTcp, "198.51.100.78", 7070);
  rig.request(silent);
  REQUIRE(rig.until([&] { return rig.broker->pending() == 1; }));
  rig.new_translator();
  CHECK(rig.broker->flows() == 0);
  CHECK(rig.broker->pending() == 0);
  CHECK(rig.judge.aborted == std::vector{silent});
  CHECK(rig.judge.cuts.empty());
}

TEST_CASE("translator: one that died leaves nothing behind") {
  Rig rig;
  Connection c{rig};
  rig.gate.reset();
  REQUIRE(rig.broker->turn(100));
  CHECK(rig.broker->flows() == 0);
  CHECK(rig.told().empty());  // not a violation
  CHECK(read_some(c.peer.get()) == "<ECONNRESET>");
}

TEST_CASE("translator: the last words of one that ended are heard") {
  Rig rig;
  CounterValues values{};
  values.at(3) = 29'092;
  SUBCASE("its successor is there already") {
    REQUIRE(rig.gate->send_counters(values));
    rig.new_translator();
  }
  SUBCASE("while answers wait for room that it never made") {
    rig.judge.becomes_host(ip("198.51.100.1"));
    constexpr std::uint32_t kRound = 64;
    std::uint32_t sent = 0;
    do {
      REQUIRE(sent < 100 * kRound);
      for (std::uint32_t i = 0; i < kRound; ++i)
        REQUIRE(rig.gate->request({sent++, 1}, tuple(kTcp, "198.51.100.1", 80)));
      REQUIRE(rig.broker->turn(0));
    } while (rig.broker->counters().requests == sent);
    REQUIRE(rig.gate->send_counters(values));
    rig.gate.reset();
    for (int i = 0; i < 100 && rig.broker->has_translator(); ++i) REQUIRE(rig.broker->turn(10));
    CHECK(!rig.broker->has_translator());
  }
  CHECK(rig.judge.counters.at(3) == values.at(3));
  CHECK(rig.told().empty());
}

TEST_CASE("translator: hostile messages get it killed, and every flow with it") {
  Rig rig;
  Connection c{rig};
  message::FlowRequest request;
  request.header.type = static_cast<std::uint16_t>(message::Type::kFlowRequest);
  request.header.slot = 77;
  request.header.generation = 1;
  request.tuple = {.protocol = 6, .family = 4, .guest_port = 40000, .remote_port = 80};
  std::size_t size = sizeof request;
  SUBCASE("a slot that is in use") { request.header.slot = c.id.slot; }
  SUBCASE("a slot out of range") { request.header.slot = 65536; }
  SUBCASE("the largest slot") { request.header.slot = 0xffffffff; }
  SUBCASE("generation 0") { request.header.generation = 0; }
  SUBCASE("another version") { request.header.version = 1; }
  SUBCASE("a type that is the broker's") {
    request.header.type = static_cast<std::uint16_t>(message::Type::kGrant);
  }
  SUBCASE("one byte short") { size -= 1; }
  SUBCASE("a protocol nobody speaks") { request.tuple.protocol = 132; }
  SUBCASE("IPv4 with bytes beyond the address") { request.tuple.remote[7] = 1; }
  REQUIRE(::send(rig.translator_fd, &request, size, 0) == static_cast<ssize_t>(size));
  REQUIRE(rig.broker->turn(100));
  CHECK(rig.told() == "k");
  CHECK(rig.broker->flows() == 0);
  CHECK(rig.broker->counters().violations == 1);
  CHECK(read_some(c.peer.get()) == "<ECONNRESET>");
  // The broker itself goes on with the next translator.
  rig.new_translator();
  CHECK(rig.inbox.grants.contains(rig.ask(tuple(kTcp, "198.51.100.1", port_of(c.listener.get())))));
}

TEST_CASE("translator: closes of flows that are not there are counted and harmless") {
  Rig rig;
  Connection c{rig};
  rig.close({c.id.slot, c.id.generation + 1});
  rig.close({4242, 1});
  rig.close({0xffffffff, 7});
  CHECK(rig.broker->counters().unknown_close == 3);
  CHECK(rig.told().empty());
  CHECK(rig.broker->flows() == 1);
}

TEST_CASE("limits: flows, rate and descriptors") {
  BrokerOptions options;
  SUBCASE("flows") {
    options.max_flows = 3;
    Rig rig{std::move(options)};
    std::vector<base::Fd> sockets;
    flow::Id id;
    for (int i = 0; i < 3; ++i) sockets.push_back(rig.grant(tuple(kUdp, "198.51.100.1", 9999), &id));
    CHECK(rig.refusal(tuple(kUdp, "198.51.100.1", 9999)) == flow::RefuseHow::kReject);
    CHECK(rig.judge.limits == std::vector{Limit::kConnections});
    rig.close(id);
    CHECK(rig.inbox.grants.contains(rig.ask(tuple(kUdp, "198.51.100.1", 9999))));
  }
  SUBCASE("rate") {
    options.new_flows_per_second = 0;
    options.new_flows_burst = 2;
    Rig rig{std::move(options)};
    const base::Fd one = rig.grant(tuple(kUdp, "198.51.100.1", 9999));
    const base::Fd two = rig.grant(tuple(kUdp, "198.51.100.1", 9999));
    CHECK(rig.refusal(tuple(kUdp, "198.51.100.1", 9999)) == flow::RefuseHow::kReject);
    CHECK(rig.judge.limits == std::vector{Limit::kNewFlows});
  }
}

TEST_CASE("channel: when it is full answers wait in order and none is lost") {
  Rig rig;
  rig.judge.becomes_host(ip("198.51.100.1"));
  constexpr std::uint32_t kRequests = 6000;  // several times what a channel holds
  std::uint32_t sent = 0;
  for (int idle = 0; sent < kRequests && idle < 3;) {
    const bool ok = rig.gate->request({sent, 1}, tuple(kTcp, "198.51.100.1", 80));
    sent += ok ? 1U : 0U;
    if (ok) continue;
    const auto before = rig.broker->counters().requests;
    REQUIRE(rig.broker->turn(0));  // answers pile up: nobody reads them
    idle = rig.broker->counters().requests == before ? idle + 1 : 0;
  }
  CHECK(sent < kRequests);  // back-pressure reached us
  REQUIRE(rig.until([&] {
    while (sent < kRequests && rig.gate->request({sent, 1}, tuple(kTcp, "198.51.100.1", 80))) ++sent;
    return rig.inbox.refusals.size() == kRequests;
  }));
  CHECK(rig.broker->counters().requests == kRequests);
}

TEST_CASE("channel: 2,000 flows open, live and close") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, "198.51.100.1", 0, 4096);
  const auto to = tuple(kTcp, "198.51.100.1", port_of(listener.get()));
  std::vector<flow::Id> ids;
  for (int i = 0; i < 2000; ++i) {
    const flow::Id id{static_cast<std::uint32_t>(i), 1};
    while (!rig.gate->request(id, to)) rig.turn();
    ids.push_back(id);
  }
  REQUIRE(rig.until([&] { return rig.inbox.answers() == ids.size(); }));
  CHECK(rig.inbox.grants.size() == ids.size());
  rig.inbox.grants.clear();
  for (const flow::Id id : ids)
    while (!rig.gate->close(id, flow::CloseHow::kReset, flow::EndReason::kReset, {})) rig.turn();
  REQUIRE(rig.until([&] { return rig.broker->flows() == 0; }));
  CHECK(rig.broker->counters().closed == ids.size());
}

TEST_CASE("control: Stop ends the loop, resolvers reach the judge, a dead launcher ends it too") {
  Rig rig;
  REQUIRE(rig.launcher->send_resolvers({{{ip("192.0.2.254"), 0}, {ip("2001:db8::fe"), 0}}}) ==
          SendStatus::kSent);
  rig.turn();
  CHECK(rig.judge.resolver_count == 2);
  CHECK(rig.running);
  SUBCASE("stop") { REQUIRE(rig.launcher->send_stop() == SendStatus::kSent); }
  SUBCASE("death") { rig.launcher.reset(); }
  rig.turn(100);
  CHECK_FALSE(rig.running);
}

}  // namespace cordon::sandbox::test
