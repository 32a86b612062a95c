#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/sandbox/broker_rig.h"

namespace cordon::sandbox::test {
namespace {

constexpr auto kTcp = flow::Protocol::kTcp;
constexpr auto kUdp = flow::Protocol::kUdp;
constexpr auto kEcho = flow::Protocol::kIcmpEcho;

int flag(int fd, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, option, &value, &size) == 0 ? value : -1;
}

}  // namespace

TEST_CASE("broker: an allowed flow is connected, bound to its interface and carries data") {
  for (const std::string_view far : {"198.51.100.1", "2001:db8:1::1"}) {
    CAPTURE(far);
    Rig rig;
    const base::Fd listener = serve_far(SOCK_STREAM, far, 0);
    const base::Fd socket = rig.grant(tuple(kTcp, far, port_of(listener.get())));
    const base::Fd peer = accept_one(listener.get());
    REQUIRE(peer);
    CHECK(write_some(socket.get(), "hello") == "sent");
    CHECK(read_some(peer.get()) == "hello");
    CHECK(flag(socket.get(), SOL_SOCKET, SO_BINDTOIFINDEX) == static_cast<int>(::if_nametoindex("up0")));
    CHECK(flag(socket.get(), IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK((::fcntl(socket.get(), F_GETFL) & O_NONBLOCK) != 0);
    CHECK(rig.inbox.grants.begin()->second.path_mtu == 1500);
    CHECK(rig.judge.allowed == 1);
    CHECK(rig.judge.drains == 2);  // before the decision, and after the connection stood
  }
}

TEST_CASE("broker: a denied flow opens nothing") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, "198.51.100.1", 0);
  rig.judge.becomes_host(ip("198.51.100.1"));
  CHECK(rig.refusal(tuple(kTcp, "198.51.100.1", port_of(listener.get()))) == flow::RefuseHow::kReject);
  CHECK_FALSE(readable(listener.get(), 0));
  CHECK(rig.judge.denied.size() == 1);
  CHECK(rig.broker->flows() == 0);
}

TEST_CASE("broker: while the host state is unknown nothing is granted, and live flows stay") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, "198.51.100.1", 0);
  const auto to = tuple(kTcp, "198.51.100.1", port_of(listener.get()));
  const base::Fd socket = rig.grant(to);
  rig.judge.stale = true;
  ++rig.judge.now_epoch;
  CHECK(rig.refusal(to) == flow::RefuseHow::kReject);
  CHECK(rig.inbox.revocations.empty());
  const base::Fd peer = accept_one(listener.get());
  CHECK(write_some(socket.get(), "still here") == "sent");
  CHECK(read_some(peer.get()) == "still here");
}

TEST_CASE("broker: how a failed connect looks to the guest") {
  Rig rig;
  cordon::test::run("ip route add unreachable 203.0.113.64/28; ip route add prohibit 203.0.113.80/28");
  rig.judge.interface = 0;  // reject routes have none
  struct Case {
    std::string_view name;
    flow::Tuple to;
    flow::RefuseHow how;
    int error;
  };
  const Case cases[] = {
      {"closed port", tuple(kTcp, "198.51.100.1", 9), flow::RefuseHow::kConnectionRefused, ECONNREFUSED},
      {"closed port IPv6", tuple(kTcp, "2001:db8:1::1", 9), flow::RefuseHow::kConnectionRefused,
       ECONNREFUSED},
      {"unreachable", tuple(kTcp, "203.0.113.65", 9), flow::RefuseHow::kHostUnreachable, EHOSTUNREACH},
      {"unreachable UDP", tuple(kUdp, "203.0.113.65", 9), flow::RefuseHow::kHostUnreachable, EHOSTUNREACH},
      {"prohibited", tuple(kTcp, "203.0.113.81", 9), flow::RefuseHow::kReject, EACCES},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    rig.judge.unreachable.clear();
    CHECK(rig.refusal(c.to) == c.how);
    CHECK(rig.judge.unreachable == std::vector<int>{c.error});
    CHECK(rig.broker->flows() == 0);
  }
  cordon::test::run("ip route del unreachable 203.0.113.64/28; ip route del prohibit 203.0.113.80/28");
}

TEST_CASE("broker: a handshake that takes its time is granted when it stands") {
  Rig rig;
  // The far side drops the first SYN: it does not have the address yet.
  const flow::Id id = rig.request(tuple(kTcp, "198.51.100.77", 7070));
  REQUIRE(rig.until([&] { return rig.broker->pending() == 1; }));
  World::get().far_run("ip addr add 198.51.100.77/32 dev far0");
  const base::Fd listener = serve_far(SOCK_STREAM, "198.51.100.77", 7070);
  CHECK(rig.until([&] { return rig.inbox.grants.contains(id); }));
  CHECK(rig.broker->pending() == 0);
  World::get().far_run("ip addr del 198.51.100.77/32 dev far0");
}

TEST_CASE("broker: a pending connect ends by the guest, by time, by a verdict") {
  BrokerOptions options;
  options.connect_timeout = 10ms;
  Rig rig{std::move(options)};
  const auto silent = tuple(kTcp, "198.51.100.78", 7070);
  SUBCASE("guest") {
    const flow::Id id = rig.request(silent);
    REQUIRE(rig.until([&] { return rig.broker->pending() == 1; }));
    rig.close(id);
    CHECK(rig.broker->counters().aborted == 1);
    CHECK(rig.judge.aborted == std::vector{silent});
    CHECK(rig.judge.unreachable.empty());
    CHECK(rig.judge.cuts.empty());
  }
  SUBCASE("time") {
    CHECK(rig.refusal(silent) == flow::RefuseHow::kDrop);
    CHECK(rig.judge.unreachable == std::vector<int>{ETIMEDOUT});
  }
  SUBCASE("verdict") {
    const flow::Id id = rig.request(silent);
    REQUIRE(rig.until([&] { return rig.broker->pending() == 1; }));
    rig.judge.becomes_host(ip("198.51.100.78"));
    REQUIRE(rig.until([&] { return rig.inbox.refusals.contains(id); }));
    CHECK(rig.inbox.refusals.at(id) == flow::RefuseHow::kReject);
  }
  CHECK(rig.broker->pending() == 0);
  CHECK(rig.broker->flows() == 0);
}

// The judge learns of the address after the connection stands: what a netlink message does that was queued
// while connect() ran.
TEST_CASE("broker: an address that became local during connect gets no byte and looks denied") {
  Rig* rig_at = nullptr;
  BrokerOptions options;
  options.before_second_check = [&](const flow::Tuple& t) { rig_at->judge.becomes_host(t.remote.address); };
  Rig rig{std::move(options)};
  rig_at = &rig;
  cordon::test::run("ip addr add 203.0.113.10/32 dev up0 && ip addr add 2001:db8:10::10/128 dev up0 nodad");
  const base::Fd listener4 = serve(SOCK_STREAM, "0.0.0.0", 7071);
  const base::Fd listener6 = serve(SOCK_STREAM, "2001:db8:10::10", 7071);
  struct Case {
    std::string_view name;
    flow::Tuple to;
    int listener;
  };
  const Case cases[] = {
      {"TCP to a listener", tuple(kTcp, "203.0.113.10", 7071), listener4.get()},
      {"TCP to a listener IPv6", tuple(kTcp, "2001:db8:10::10", 7071), listener6.get()},
      {"TCP to a closed port: no port-scan oracle", tuple(kTcp, "203.0.113.10", 9), -1},
      {"UDP", tuple(kUdp, "203.0.113.10", 9), -1},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    rig.judge.host.clear();
    rig.judge.cuts.clear();
    CHECK(rig.refusal(c.to) == flow::RefuseHow::kReject);
    REQUIRE(rig.judge.cuts.size() == 1);
    CHECK_FALSE(rig.judge.cuts[0].granted);
    CHECK(rig.broker->flows() == 0);
    if (c.listener < 0) continue;
    const base::Fd accepted = accept_one(c.listener);
    REQUIRE(accepted);
    CHECK(read_some(accepted.get()) == "<ECONNRESET>");
  }
  CHECK(rig.judge.unreachable.empty());
  cordon::test::run("ip addr del 203.0.113.10/32 dev up0; ip addr del 2001:db8:10::10/128 dev up0");
}

TEST_CASE("broker: a socket that ended at this host is refused even if nobody announced the address") {
  Rig rig;
  // A secondary address: the connection's own address is the primary one, so only the route tells.
  cordon::test::run("ip addr add 203.0.113.20/24 dev up0 && ip addr add 203.0.113.21/24 dev up0");
  const base::Fd listener = serve(SOCK_STREAM, "0.0.0.0", 7072);
  SUBCASE("primary address") {
    CHECK(rig.refusal(tuple(kTcp, "203.0.113.20", 7072)) == flow::RefuseHow::kReject);
  }
  SUBCASE("secondary address") {
    rig.judge.remote_route = false;
    CHECK(rig.refusal(tuple(kTcp, "203.0.113.21", 7072)) == flow::RefuseHow::kReject);
  }
  REQUIRE(rig.judge.cuts.size() == 1);
  CHECK(rig.judge.cuts[0].why == Cut::kBecameLocal);
  const base::Fd accepted = accept_one(listener.get());
  CHECK(read_some(accepted.get()) == "<ECONNRESET>");
  cordon::test::run(
      "ip addr del 203.0.113.20/24 dev up0; ip addr del 203.0.113.21/24 dev up0 2>/dev/null || true");
}

TEST_CASE("broker: an address on another interface is not reached at all, the socket is bound") {
  Rig rig;
  cordon::test::run("ip addr add 203.0.113.30/32 dev lo");
  const base::Fd listener = serve(SOCK_STREAM, "0.0.0.0", 7073);
  const flow::Id id = rig.request(tuple(kTcp, "203.0.113.30", 7073));
  REQUIRE(rig.until([&] { return rig.broker->pending() == 1; }));
  CHECK_FALSE(readable(listener.get(), 50));
  rig.close(id);
  cordon::test::run("ip addr del 203.0.113.30/32 dev lo");
}

TEST_CASE("broker: a local service that is allowed is dialled unbound") {
  Rig rig;
  const base::Fd resolver = serve(SOCK_DGRAM, "127.0.0.53", 0);
  const auto guest_view = endpoint("10.0.2.3", 53);
  rig.judge.substitute[guest_view] = endpoint("127.0.0.53", port_of(resolver.get()));
  const base::Fd socket = rig.grant(tuple(kUdp, "10.0.2.3", 53));
  CHECK(write_some(socket.get(), "query") == "sent");
  CHECK(read_some(resolver.get()) == "query");
}

TEST_CASE("broker: UDP keeps the guest's port, also for a second remote, and a stranger does not get it") {
  Rig rig;
  const base::Fd one = serve_far(SOCK_DGRAM, "198.51.100.1", 0);
  const base::Fd two = serve_far(SOCK_DGRAM, "198.51.100.1", 0);
  const base::Fd first = rig.grant(tuple(kUdp, "198.51.100.1", port_of(one.get()), 45001));
  const base::Fd second = rig.grant(tuple(kUdp, "198.51.100.1", port_of(two.get()), 45001));
  CHECK(port_of(first.get()) == 45001);
  CHECK(port_of(second.get()) == 45001);
  CHECK(flag(first.get(), SOL_SOCKET, SO_REUSEADDR) == 0);
  CHECK(flag(second.get(), SOL_SOCKET, SO_REUSEADDR) == 0);

  const base::Fd stranger{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  const int on = 1;
  ::setsockopt(stranger.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto at = net::to_sockaddr(endpoint("0.0.0.0", 45001));
  CHECK(::bind(stranger.get(), &at.generic, at.length) == -1);
  CHECK(errno == EADDRINUSE);

  // Each hears its own peer.
  CHECK(send_to(one.get(), endpoint("192.0.2.1", 45001), "from one"));
  CHECK(send_to(two.get(), endpoint("192.0.2.1", 45001), "from two"));
  CHECK(read_some(first.get()) == "from one");
  CHECK(read_some(second.get()) == "from two");
}

TEST_CASE("broker: UDP hears its peer, and nobody else on the peer's machine") {
  for (const std::string_view far : {"198.51.100.1", "2001:db8:1::1"}) {
    CAPTURE(far);
    Rig rig;
    const bool v6 = far.find(':') != std::string_view::npos;
    const base::Fd peer = serve_far(SOCK_DGRAM, far, 0);
    const base::Fd neighbour = serve_far(SOCK_DGRAM, far, 0);
    const base::Fd socket = rig.grant(tuple(kUdp, far, port_of(peer.get()), 45005));
    const auto ours = endpoint(v6 ? "2001:db8::1" : "192.0.2.1", 45005);
    CHECK(send_to(neighbour.get(), ours, "neighbour"));
    CHECK(send_to(peer.get(), ours, "answer"));
    CHECK(read_some(socket.get()) == "answer");
    CHECK_FALSE(readable(socket.get(), 0));
  }
}

TEST_CASE("broker: a port below 1024, or held by somebody else, is replaced") {
  Rig rig;
  const base::Fd holder = serve(SOCK_DGRAM, "0.0.0.0", 45002);
  const base::Fd low = rig.grant(tuple(kUdp, "198.51.100.1", 9999, 500));
  const base::Fd taken = rig.grant(tuple(kUdp, "198.51.100.1", 9999, 45002));
  CHECK(port_of(low.get()) >= 1024);
  CHECK(port_of(taken.get()) != 45002);
}

TEST_CASE("broker: two instances with the same port and remote do not hear each other's answers") {
  Rig mine;
  Rig other;
  const base::Fd far = serve_far(SOCK_DGRAM, "198.51.100.1", 0);
  const auto to = tuple(kUdp, "198.51.100.1", port_of(far.get()), 45003);
  const base::Fd first = mine.grant(to);
  const base::Fd second = other.grant(to);
  CHECK(port_of(first.get()) == 45003);
  CHECK(port_of(second.get()) != 45003);
  CHECK(send_to(far.get(), endpoint("192.0.2.1", 45003), "for the first"));
  CHECK(read_some(first.get()) == "for the first");
  CHECK_FALSE(readable(second.get(), 0));
}

TEST_CASE("broker: nothing that a stranger sends between bind and connect is read") {
  Rig rig;
  // A process of its own floods the port from another address while flows are opened on it.
  const base::Fd flooder = serve_far(SOCK_DGRAM, "192.0.2.254", 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto end = base::monotonic_now() + 20s;  // in case the parent dies
    while (base::monotonic_now() < end)
      (void)send_to(flooder.get(), endpoint("192.0.2.1", 45004), "stranger");
    ::_exit(0);
  }
  int heard = 0;
  for (int i = 0; i < 400; ++i) {
    flow::Id id;
    const base::Fd socket = rig.grant(tuple(kUdp, "198.51.100.1", 9999, 45004), &id);
    CHECK(port_of(socket.get()) == 45004);
    if (readable(socket.get(), 0)) ++heard;
    rig.close(id);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(heard == 0);
}

TEST_CASE("broker: echo keeps the identifier and reaches the far side") {
  for (const std::string_view far : {"198.51.100.1", "2001:db8:1::1"}) {
    CAPTURE(far);
    Rig rig;
    const bool v6 = far.find(':') != std::string_view::npos;
    const base::Fd socket = rig.grant(tuple(kEcho, far, 0, 4711));
    CHECK(port_of(socket.get()) == 4711);
    std::string echo(12, '\0');
    echo[0] = static_cast<char>(v6 ? 128 : 8);  // echo request (RFC 4443, RFC 792)
    echo.replace(8, 4, "ping");
    CHECK(write_some(socket.get(), echo) == "sent");
    const std::string reply = read_some(socket.get());
    REQUIRE(reply.size() == 12);
    CHECK(reply[0] == static_cast<char>(v6 ? 129 : 0));
    CHECK(reply.substr(8) == "ping");
  }
}

TEST_CASE("broker: an echo reply from somebody else is not the peer's") {
  Rig rig;
  const base::Fd socket = rig.grant(tuple(kEcho, "198.51.100.1", 0, 4713));
  World::get().far([] {
    const base::Fd raw{::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)};
    std::string reply{"\0\0\0\0\x12\x69\0\0forged!!", 16};  // identifier 4713
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < reply.size(); i += 2)
      sum += static_cast<std::uint32_t>(static_cast<unsigned char>(reply[i]) << 8U) +
             static_cast<unsigned char>(reply[i + 1]);
    sum = (sum & 0xffffU) + (sum >> 16U);
    const auto checksum = static_cast<std::uint16_t>(~((sum & 0xffffU) + (sum >> 16U)));
    reply[2] = static_cast<char>(checksum >> 8U);
    reply[3] = static_cast<char>(checksum);
    CHECK(send_to(raw.get(), endpoint("192.0.2.1", 0), reply));  // leaves from 192.0.2.254
  });
  CHECK_FALSE(readable(socket.get(), 20));
}

}  // namespace cordon::sandbox::test
