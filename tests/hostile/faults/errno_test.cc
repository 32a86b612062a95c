// Each system call of the broker fails once with each errno it may have, in each kind of a flow's life.
// Oracles: the scenario ends in time and without spinning, a flow is granted with every check or refused,
// what was revoked is cut (or its holder killed), later flows work, no descriptor is left, every grant is on
// record.
#include "tests/hostile/faults/errno_bench.h"

namespace cordon::faults {
namespace {

using sandbox::test::endpoint;
using sandbox::test::write_some;

const std::string kFar =
    "  - {name: far, allow: [198.51.100.0/24, \"2001:db8:1::/48\"], ports: [tcp, udp, icmp/echo], log: "
    "all}\n";
const std::string kOnlySix =
    "  - {name: six, allow: [\"2001:db8:1::/48\"], ports: [tcp, udp, icmp/echo], log: all}\n";
const std::string kIngress = "ingress:\n  - {name: peers, allow: [192.0.2.0/24]}\n";

std::string policy(const std::string& egress, const std::string& head = "description: x",
                   const std::string& tail = "") {
  return "version: 1\nname: x\n" + head + "\negress:\n" + egress + tail;
}
const std::string kOpen = policy(kFar, "description: x", kIngress);
const std::string kShut = policy(kOnlySix);

flow::Tuple to_tcp(std::string_view address = kFar4) { return tuple(kTcp, address, FarEnd::get().tcp_port); }
flow::Tuple to_udp(std::string_view address = kFar4, unsigned from = 40000) {
  return tuple(kUdp, address, FarEnd::get().udp_port, from);
}

// What the guest says on a granted flow arrives.
void talk(Bench& bench, flow::Id id, const std::string& text) {
  FarEnd::get().heard.clear();
  if (write_some(bench.socket_of(id), text) != "sent") return;
  static_cast<void>(bench.until([&] { return FarEnd::get().heard == text; }, 500ms));
}

// The guest's copy of what was revoked carries nothing any more, whatever failed; or its holder is to be
// killed.
void check_cut(Bench& bench, int copy) {
  if (bench.ended || bench.killed()) return;
  FarEnd::get().heard.clear();
  static_cast<void>(write_some(copy, "leak"));
  for (int i = 0; i < 3; ++i) {
    bench.turn(1);
    FarEnd::get().pump();
  }
  CHECK(FarEnd::get().heard.find("leak") == std::string::npos);
}

base::Fd copy_of(Bench& bench, flow::Id id) { return base::Fd{::dup(bench.socket_of(id))}; }

void revoked_by(Bench& bench, const flow::Tuple& to, const std::function<void()>& cause) {
  const auto id = bench.ask(to);
  if (!id) return;
  talk(bench, *id, "before");
  const base::Fd copy = copy_of(bench, *id);
  cause();
  const bool told = bench.until([&] { return bench.inbox.revocations.contains(*id) || bench.killed(); });
  if (bench.serving()) CHECK(told);
  check_cut(bench, copy.get());
}

// An address of the host's own by an alias of the loopback interface; gone at the end.
class HostAddress {
 public:
  explicit HostAddress(std::string_view address) {
    ifreq request = named();
    const net::SockAddr at = net::to_sockaddr(endpoint(address, 0));
    std::memcpy(&request.ifr_addr, &at.v4, sizeof at.v4);
    test::require(::ioctl(socket_.get(), SIOCSIFADDR, &request) == 0, "SIOCSIFADDR");
  }
  ~HostAddress() {
    ifreq request = named();
    request.ifr_flags = 0;
    ::ioctl(socket_.get(), SIOCSIFFLAGS, &request);
  }
  HostAddress(const HostAddress&) = delete;
  HostAddress& operator=(const HostAddress&) = delete;

 private:
  static ifreq named() {
    ifreq request{};
    std::memcpy(request.ifr_name, "lo:1", 5);
    return request;
  }
  base::Fd socket_{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
};

base::Fd dial_published(int type) {
  return World::get().far([&] {
    const net::SockAddr to = net::to_sockaddr(endpoint("192.0.2.1", kPublished));
    base::Fd fd{::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const bool started = ::connect(fd.get(), &to.generic, to.length) == 0 || errno == EINPROGRESS;
    test::require(started, "connect");
    return fd;
  });
}

}  // namespace

TEST_CASE("faults: a TCP flow that is granted") {
  each_call_fails_once("tcp", {.policy = kOpen}, [](Bench& bench) {
    const auto id = bench.ask(to_tcp());
    if (!id) return;
    talk(bench, *id, "hello");
    bench.close(*id);
  });
}

TEST_CASE("faults: TCP flows that are refused") {
  each_call_fails_once("refused", {.policy = kOpen}, [](Bench& bench) {
    CHECK_FALSE(bench.ask(tuple(kTcp, kFar4, 9)));           // nobody listens
    CHECK_FALSE(bench.ask(tuple(kTcp, "203.0.113.1", 80)));  // no rule
    CHECK_FALSE(bench.ask(tuple(kTcp, "192.0.2.1", 80)));    // the host
  });
}

TEST_CASE("faults: a flow is revoked by a new policy") {
  for (const auto protocol : {kTcp, kUdp, kEcho}) {
    const auto name = protocol == kTcp ? "policy tcp" : protocol == kUdp ? "policy udp" : "policy echo";
    each_call_fails_once(name, {.policy = kOpen}, [&](Bench& bench) {
      const flow::Tuple to = protocol == kTcp   ? to_tcp()
                             : protocol == kUdp ? to_udp()
                                                : tuple(kEcho, kFar4, 0, 77);
      revoked_by(bench, to, [&] { bench.load(kShut); });
    });
  }
}

TEST_CASE("faults: a flow is revoked because its destination became the host") {
  for (const auto protocol : {kTcp, kUdp}) {
    each_call_fails_once(protocol == kTcp ? "host tcp" : "host udp", {.policy = kOpen}, [&](Bench& bench) {
      std::optional<HostAddress> address;
      revoked_by(bench, protocol == kTcp ? to_tcp() : to_udp(), [&] { address.emplace(kFar4); });
      if (address)
        CHECK_FALSE(bench.ask(protocol == kTcp ? tuple(kTcp, kFar4, FarEnd::get().tcp_port, 40001)
                                               : to_udp(kFar4, 40001)));
    });
  }
}

TEST_CASE("faults: UDP flows of one port") {
  each_call_fails_once("udp", {.policy = kOpen}, [](Bench& bench) {
    const auto first = bench.ask(to_udp());
    const auto second = bench.ask(tuple(kUdp, "198.51.100.2", FarEnd::get().udp_port));
    if (first) talk(bench, *first, "hello");
    if (first) bench.close(*first);
    if (second) bench.close(*second, flow::CloseHow::kReset);
    const auto six = bench.ask(to_udp(kFar6));
    if (six) talk(bench, *six, "hello");
  });
}

TEST_CASE("faults: echo") {
  each_call_fails_once("echo", {.policy = kOpen}, [](Bench& bench) {
    for (const auto address : {kFar4, kFar6}) {
      const auto id = bench.ask(tuple(kEcho, address, 0, 77));
      if (id) bench.close(*id);
    }
  });
}

TEST_CASE("faults: published ports") {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const BenchOptions options{.policy = kOpen, .published = true};
    each_call_fails_once(type == SOCK_STREAM ? "inbound tcp" : "inbound udp", options, [&](Bench& bench) {
      const base::Fd client = dial_published(type);
      if (type == SOCK_DGRAM) static_cast<void>(write_some(client.get(), "first"));
      // A pause after a failed accept is 200 ms; a datagram that was lost with a failure is the peer's to
      // repeat.
      int rounds = 0;
      const bool offered = bench.until(
          [&] {
            if (type == SOCK_DGRAM && ++rounds % 50 == 0)
              static_cast<void>(write_some(client.get(), "again"));
            return !bench.inbox.offered.empty() || bench.killed() || !bench.serving();
          },
          type == SOCK_DGRAM ? base::Duration{3s} : base::Duration{700ms});
      if (!offered || bench.inbox.offered.empty()) return;
      const flow::Id id{60000, 1};
      REQUIRE(bench.gate->claim(id, bench.inbox.offered.front().offer));
      bench.turn();
      const base::Fd copy{::dup(bench.inbox.offered.front().socket.get())};
      bench.load(kShut);
      const bool told = bench.until([&] { return bench.inbox.revocations.contains(id) || bench.killed(); });
      if (bench.serving()) CHECK(told);
      if (bench.serving())
        REQUIRE(bench.gate->close(id, flow::CloseHow::kReset, flow::EndReason::kReset, {1, 2}));
      if (bench.serving() && !bench.killed()) CHECK(write_some(copy.get(), "leak") != "sent");
    });
  }
}

TEST_CASE("faults: a flow under limits uses up its bytes") {
  const std::string metered = policy(kFar, "limits: {bytes: 1KB, connections: 3}");
  each_call_fails_once("limits", {.policy = metered}, [](Bench& bench) {
    const auto id = bench.ask(to_tcp());
    if (!id) return;
    const base::Fd copy = copy_of(bench, *id);
    static_cast<void>(write_some(copy.get(), std::string(2000, 'x')));
    const bool told = bench.until([&] { return bench.inbox.revocations.contains(*id) || bench.killed(); });
    if (bench.serving()) CHECK(told);
    check_cut(bench, copy.get());
    bench.load(policy(kFar));  // what follows is free
  });
}

TEST_CASE("faults: the budget of socket memory") {
  each_call_fails_once("memory", {.policy = kOpen, .socket_memory = 64U << 20U}, [](Bench& bench) {
    std::vector<flow::Id> granted;
    for (unsigned i = 0; i < 4; ++i)
      if (const auto id = bench.ask(tuple(kTcp, kFar4, FarEnd::get().tcp_port, 40000 + i)))
        granted.push_back(*id);
    for (const flow::Id id : granted)
      static_cast<void>(write_some(bench.socket_of(id), std::string(2000, 'x')));
    for (const flow::Id id : granted)
      if (bench.serving()) bench.close(id);
  });
}

TEST_CASE("faults: who keeps a socket that the kernel does not let the broker cut is killed at once") {
  struct Case {
    flow::Protocol protocol;
    Kind kind;
    int error;
  };
  // EBUSY: tcp_disconnect() of Linux 6.1 to 6.6 while another holder waits in a call.
  for (const auto& [protocol, kind, error] :
       {Case{kTcp, Kind::kDisconnect, EBUSY}, Case{kUdp, Kind::kShutdown, EPERM},
        Case{kUdp, Kind::kSetsockopt, ENOMEM}}) {
    CAPTURE(to_string(kind));
    injection() = {};
    Bench bench{{.policy = kOpen}};
    const auto id = bench.ask(protocol == kTcp ? to_tcp() : to_udp());
    REQUIRE(id);
    Injection& in = injection();
    in.kind = kind;
    in.nth = in.seen.at(static_cast<std::size_t>(kind));
    in.error = error;
    bench.load(kShut);
    static_cast<void>(bench.until([&] { return bench.kill_told; }));
    CHECK(in.hit);
    CHECK(bench.kill_told);
    CHECK(bench.broker->flows() == 0);
    bench.settle();
  }
}

TEST_CASE("faults: an operator ends flows, and a translator goes away") {
  each_call_fails_once("kill", {.policy = kOpen}, [](Bench& bench) {
    const auto one = bench.ask(to_tcp());
    if (one) {
      const base::Fd copy = copy_of(bench, *one);
      if (bench.ended) return;
      bench.broker->kill([](const auto&) { return true; });
      const bool told = bench.until([&] { return bench.inbox.revocations.contains(*one) || bench.killed(); });
      if (bench.serving()) CHECK(told);
      check_cut(bench, copy.get());
    }
    const auto two = bench.ask(tuple(kTcp, kFar6, FarEnd::get().tcp_port, 40009));
    if (!two) return;
    const base::Fd copy = copy_of(bench, *two);
    bench.inbox.grants.clear();
    bench.gate.reset();
    for (int i = 0; i < 20 && !bench.ended && bench.broker->has_translator(); ++i) bench.turn();
    if (!bench.ended) CHECK_FALSE(bench.broker->has_translator());
    check_cut(bench, copy.get());
  });
}

}  // namespace cordon::faults
