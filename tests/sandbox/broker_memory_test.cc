// The budget over socket memory: the arithmetic by itself, then a broker with real sockets.
#include <netinet/tcp.h>

#include "tests/sandbox/broker_rig.h"

namespace cordon::sandbox::test {
namespace {

constexpr auto kTcp = flow::Protocol::kTcp;
constexpr std::uint64_t kMb = 1'000'000;
constexpr base::Instant kStart = base::Instant::from_nanos(1'000'000'000'000);

int option_of(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0);
  return value;
}

struct Pair {
  Pair(Rig& rig, const base::Fd& listener) {
    holder = rig.grant(tuple(kTcp, "198.51.100.1", port_of(listener.get())), &id);
    peer = accept_one(listener.get());
    REQUIRE(peer);
  }
  // Until neither end takes more; nobody reads.
  static std::size_t flood(int from) {
    const std::string block(65536, 'x');
    std::size_t total = 0;
    for (int idle = 0; idle < 20;) {
      const ssize_t sent = ::send(from, block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) {
        total += static_cast<std::size_t>(sent);
        idle = 0;
      } else {
        ++idle;
        ::usleep(1000);
      }
    }
    return total;
  }
  base::Fd holder, peer;
  flow::Id id;
};

}  // namespace

TEST_CASE("socket budget: sockstat and tcp_mem as the kernel writes them, and what is none") {
  CHECK(pages_in_use("sockets: used 290\nTCP: inuse 31 orphan 0 tw 9 alloc 34 mem 17\n"
                     "UDP: inuse 12 mem 5\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n") == 22);
  CHECK_FALSE(pages_in_use(""));
  CHECK_FALSE(pages_in_use("TCP: inuse 31\nUDP: inuse 12 mem 5\n"));
  CHECK_FALSE(pages_in_use("TCP: inuse 31 mem x\nUDP: inuse 12 mem 5\n"));
  CHECK(number_at("4096\t131072\t33554432\n", 2) == 33554432);
  CHECK_FALSE(number_at("4096 131072", 2));
  CHECK_FALSE(number_at("4096 -1", 1));
  CHECK(default_socket_memory({.tcp_pressure = 400 * kMb, .ram = 1}) == 100 * kMb);
  CHECK(default_socket_memory({.tcp_pressure = 0, .ram = 6400 * kMb}) == 100 * kMb);
  CHECK(default_socket_memory({}) == 16U << 20U);
}

TEST_CASE("socket budget: when it is tight, what a share is, and when nobody else is let in") {
  SocketBudget budget{100 * kMb, 40 * kMb};
  CHECK_FALSE(budget.matters(2));
  CHECK(budget.matters(3));
  CHECK_FALSE(budget.tight());
  struct Step {
    std::uint64_t used;
    int after_seconds;
    bool tight;
    bool admits;
  };
  base::Instant now = kStart;
  for (const Step& s :
       {Step{50 * kMb, 1, false, true}, Step{51 * kMb, 1, true, true}, Step{101 * kMb, 1, true, false},
        Step{100 * kMb, 1, true, true}, Step{30 * kMb, 100, true, true}, Step{24 * kMb, 1, true, true},
        Step{26 * kMb, 1, true, true}, Step{24 * kMb, 1, true, true}, Step{24 * kMb, 1, true, true},
        Step{24 * kMb, 1, false, true}}) {
    now = now + std::chrono::seconds{s.after_seconds};
    budget.observe(s.used, now);
    CAPTURE(s.used);
    CHECK(budget.tight() == s.tight);
    CHECK(budget.admits(10) == s.admits);
  }
  // All shares together fit, down to the least one.
  for (std::uint64_t flows = 1; flows < 1500; flows += 7) {
    CAPTURE(flows);
    CHECK(budget.share(flows) * flows <= 100 * kMb);
    CHECK(budget.share(flows) >= 65536);
  }
  CHECK(budget.share(100'000) == 65536);
  CHECK(budget.share(0) <= 40 * kMb);
  CHECK(budget.admits(3000));
  CHECK_FALSE(budget.admits(3100));
}

TEST_CASE("socket memory: few flows are left alone, many greedy ones are limited, and freed again") {
  BrokerOptions options;
  options.socket_memory = 4'000'000;
  Rig rig{options};
  const base::Fd listener = serve_far(SOCK_STREAM, "198.51.100.1", 0, 1024);
  std::vector<Pair> pairs;
  pairs.emplace_back(rig, listener);
  const int automatic = option_of(pairs[0].holder.get(), SO_RCVBUF);
  for (int i = 1; i < 60; ++i) pairs.emplace_back(rig, listener);
  const auto tick = [&](base::Duration time) {
    for (const auto end = base::monotonic_now() + time; base::monotonic_now() < end;) rig.turn(5);
  };
  tick(150ms);
  CHECK(option_of(pairs[0].holder.get(), SO_RCVBUF) == automatic);  // nothing is held, nothing is limited

  for (Pair& pair : pairs) {
    Pair::flood(pair.holder.get());
    rig.turn();
  }
  constexpr int kShare = 65536 / 2;  // of 4 MB among 60, for each direction
  REQUIRE(rig.until([&] { return option_of(pairs[0].holder.get(), SO_RCVBUF) == kShare; }));
  tick(200ms);
  for (const Pair& pair : pairs) {
    CHECK(option_of(pair.holder.get(), SO_SNDBUF) == kShare);
    CHECK(option_of(pair.holder.get(), SO_RCVBUF) == kShare);
  }
  // The peers read: everything arrives, and autotuning comes back after a while.
  std::string sink(1 << 20, '\0');
  for (int round = 0; round < 400; ++round) {
    for (Pair& pair : pairs)
      while (::recv(pair.peer.get(), sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
      }
    rig.turn(5);
  }
  constexpr int kBufLock = 72;  // SO_BUF_LOCK, Linux 5.14
  REQUIRE(option_of(pairs[0].holder.get(), kBufLock) >= 0);
  REQUIRE(rig.until([&] { return option_of(pairs[59].holder.get(), kBufLock) == 0; }));
  CHECK(write_some(pairs[0].holder.get(), "again") == "sent");
  CHECK(read_some(pairs[0].peer.get()) == "again");
}

TEST_CASE("socket memory: over the budget no new flow is opened, and the record says why") {
  BrokerOptions options;
  options.socket_memory = 500'000;
  Rig rig{options};
  const base::Fd listener = serve_far(SOCK_STREAM, "198.51.100.1", 0, 1024);
  std::vector<Pair> pairs;
  for (int i = 0; i < 8; ++i) pairs.emplace_back(rig, listener);
  for (Pair& pair : pairs) {
    Pair::flood(pair.holder.get());
    Pair::flood(pair.peer.get());
  }
  const auto end = base::monotonic_now() + 500ms;
  while (base::monotonic_now() < end) rig.turn(5);
  CHECK(rig.refusal(tuple(kTcp, "198.51.100.1", port_of(listener.get()))) == flow::RefuseHow::kReject);
  REQUIRE_FALSE(rig.judge.limits.empty());
  CHECK(rig.judge.limits.back() == Limit::kMemory);
}

TEST_CASE("socket memory: what a flow leaves behind is watched until the peer has it, then let go") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, "198.51.100.1", 0);
  Pair pair{rig, listener};
  const std::size_t sent = Pair::flood(pair.holder.get());
  pair.holder.reset();
  rig.close(pair.id);
  CHECK(rig.broker->flows() == 0);
  CHECK(rig.broker->leaving() == 1);
  std::size_t got = 0;
  std::string end;
  std::string sink(1 << 20, '\0');
  REQUIRE(rig.until([&] {
    const ssize_t n = ::recv(pair.peer.get(), sink.data(), sink.size(), MSG_DONTWAIT);
    if (n > 0) got += static_cast<std::size_t>(n);
    if (n == 0) end = "eof";
    return n == 0;
  }));
  CHECK(got == sent);
  REQUIRE(rig.until([&] { return rig.broker->leaving() == 0; }));
}

TEST_CASE(
    "socket memory: what a flow received is given back at its end, though the translator keeps the socket") {
  constexpr auto kUdp = flow::Protocol::kUdp;
  using End = std::function<void(Rig&, flow::Id)>;
  struct Case {
    std::string_view name;
    flow::Protocol protocol;
    End end;
  };
  const auto close = [](flow::CloseHow how) { return [how](Rig& rig, flow::Id id) { rig.close(id, how); }; };
  const End kill = [](Rig& rig, flow::Id id) {
    rig.broker->kill([](const FlowEntry&) { return true; });
    REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  };
  const End hang_up = [](Rig& rig, flow::Id) {
    ::shutdown(rig.translator_fd, SHUT_RDWR);
    REQUIRE(rig.until([&] { return rig.broker->flows() == 0; }));
  };
  for (const auto& [name, protocol, end] :
       {Case{"TCP, closed", kTcp, close(flow::CloseHow::kGraceful)},
        Case{"TCP, reset", kTcp, close(flow::CloseHow::kReset)}, Case{"TCP, cut", kTcp, kill},
        Case{"TCP, no channel", kTcp, hang_up}, Case{"UDP, closed", kUdp, close(flow::CloseHow::kGraceful)},
        Case{"UDP, cut", kUdp, kill}, Case{"UDP, no channel", kUdp, hang_up}}) {
    CAPTURE(name);
    Rig rig;
    const bool stream = protocol == kTcp;
    const base::Fd server = serve_far(stream ? SOCK_STREAM : SOCK_DGRAM, "198.51.100.1", 0);
    flow::Id id;
    const base::Fd kept = rig.grant(tuple(protocol, "198.51.100.1", port_of(server.get())), &id);
    base::Fd peer;
    if (stream) {
      peer = accept_one(server.get());
      Pair::flood(peer.get());
    } else {
      REQUIRE(write_some(kept.get(), "x") == "sent");
      REQUIRE(readable(server.get(), 2000));
      net::SockAddr from;
      from.length = sizeof from.storage;
      char byte = 0;
      REQUIRE(::recvfrom(server.get(), &byte, 1, 0, &from.generic, &from.length) == 1);
      for (int i = 0; i < 200; ++i) REQUIRE(send_to(server.get(), *net::from_sockaddr(from), "many of them"));
    }
    REQUIRE(rig.until([&] { return memory_of(kept.get()).received > 10'000; }));
    end(rig, id);
    CHECK(rig.until([&] { return memory_of(kept.get()).received == 0; }));
  }
}

TEST_CASE("socket memory: an idle flow's end leaves nothing behind") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, "198.51.100.1", 0);
  Pair pair{rig, listener};
  CHECK(write_some(pair.holder.get(), "x") == "sent");
  CHECK(read_some(pair.peer.get()) == "x");
  ::usleep(50'000);  // acknowledged
  pair.holder.reset();
  rig.close(pair.id);
  CHECK(rig.broker->leaving() == 0);
  CHECK(read_some(pair.peer.get()) == "<eof>");
}

}  // namespace cordon::sandbox::test
