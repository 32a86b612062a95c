// Flows under limits: counted once, released once, measured by the kernel, cut when a budget is used up.
#include <sys/ioctl.h>

#include "tests/sandbox/broker_rig.h"

namespace cordon::sandbox::test {
namespace {

constexpr auto kTcp = flow::Protocol::kTcp;
constexpr auto kUdp = flow::Protocol::kUdp;
constexpr std::string_view kFar = "198.51.100.1";

// One end sends `count` bytes and the other reads them all.
bool carry(int from, int to, std::size_t count) {
  std::size_t got = 0;
  const bool sent = write_some(from, std::string(count, 'x')) == "sent";
  while (sent && got < count) {
    const std::size_t more = read_some(to).size();
    if (more == 0) return false;
    got += more;
  }
  return sent && got == count;
}

}  // namespace

TEST_CASE("broker: every way a flow ends releases its account once, and no review counts it again") {
  Rig rig;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  const auto to = tuple(kTcp, kFar, port_of(listener.get()));
  flow::Id id;
  int asked = 0;
  const auto settled = [&](std::string_view what, std::size_t live) {
    CAPTURE(what);
    CHECK(rig.judge.admissions == asked);
    CHECK(rig.judge.accounts.size() == live);
    CHECK(rig.judge.wrong_releases == 0);
    CHECK(rig.broker->flows() == live);
  };

  base::Fd socket = rig.grant(to, &id);
  ++asked;
  settled("granted", 1);
  ++rig.judge.now_epoch;
  rig.turn();
  settled("reviewed", 1);
  rig.close(id);
  settled("closed", 0);

  CHECK(rig.refusal(tuple(kTcp, kFar, 9)) == flow::RefuseHow::kConnectionRefused);
  ++asked;
  settled("nobody listens", 0);

  const flow::Id waiting = rig.request(tuple(kTcp, "192.0.2.99", 9));  // nobody answers ARP
  ++asked;
  rig.turn();
  settled("pending ones count", 1);
  rig.close(waiting);
  settled("closed while pending", 0);

  rig.judge.becomes_host(ip("203.0.113.9"));
  (void)rig.refusal(tuple(kTcp, "203.0.113.9", 9));
  settled("denied ones are never admitted", 0);

  socket = rig.grant(to, &id);
  ++asked;
  rig.judge.becomes_host(ip(kFar));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  rig.close(id);
  settled("cut", 0);
  rig.judge.host.clear();
  ++rig.judge.now_epoch;

  socket = rig.grant(to, &id);
  const base::Fd second = rig.grant(to);
  asked += 2;
  settled("two", 2);
  rig.new_translator();
  settled("a new translator", 0);
}

TEST_CASE("broker: a flow over a limit is refused like a denied one, and told so") {
  Rig rig;
  rig.judge.most_accounts = 1;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  const auto to = tuple(kTcp, kFar, port_of(listener.get()));
  flow::Id id;
  const base::Fd socket = rig.grant(to, &id);
  const base::Fd peer = accept_one(listener.get());
  CHECK(rig.refusal(to) == flow::RefuseHow::kReject);
  CHECK(rig.judge.denied.size() == 1);
  CHECK_FALSE(readable(listener.get(), 0));  // nothing left the host for it
  rig.close(id);
  const base::Fd again = rig.grant(to);
  CHECK(rig.judge.wrong_releases == 0);
}

TEST_CASE("broker: a TCP flow's volume is the kernel's, whatever the translator says") {
  for (const std::string_view far : {kFar, std::string_view{"2001:db8:1::1"}}) {
    CAPTURE(far);
    Rig rig;
    rig.judge.metered = true;
    const base::Fd listener = serve_far(SOCK_STREAM, far, 0);
    flow::Id id;
    const base::Fd socket = rig.grant(tuple(kTcp, far, port_of(listener.get())), &id);
    const base::Fd peer = accept_one(listener.get());
    CHECK(carry(socket.get(), peer.get(), 3000));
    CHECK(carry(peer.get(), socket.get(), 5000));
    REQUIRE(rig.until([&] { return rig.judge.most_volume != 0; }));
    rig.close(id);  // says 3 bytes
    CHECK(rig.judge.most_volume >= 8000);
    CHECK(rig.judge.most_volume <= 8010);
  }
}

TEST_CASE("broker: what is queued when a TCP flow closes counts, unless it is thrown away") {
  for (const bool graceful : {true, false}) {
    CAPTURE(graceful);
    Rig rig;
    rig.judge.metered = true;
    const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
    flow::Id id;
    base::Fd socket = rig.grant(tuple(kTcp, kFar, port_of(listener.get())), &id);
    const base::Fd peer = accept_one(listener.get());
    const std::string block(65536, 'x');
    std::uint64_t written = 0;
    ssize_t n = 0;
    while ((n = ::send(socket.get(), block.data(), block.size(), MSG_DONTWAIT)) > 0)
      written += static_cast<std::uint64_t>(n);
    int queued = 0;
    REQUIRE(::ioctl(socket.get(), TIOCOUTQ, &queued) == 0);
    REQUIRE(queued > 10'000);  // nobody reads
    socket.reset();
    rig.close(id, graceful ? flow::CloseHow::kGraceful : flow::CloseHow::kReset);
    CHECK((rig.judge.most_volume >= written) == graceful);
    CHECK(rig.judge.most_volume <= written + 10);
    CHECK(rig.judge.accounts.empty());
  }
}

TEST_CASE("broker: a datagram flow's volume is what the translator reports, live and at the end") {
  Rig rig;
  rig.judge.metered = true;
  rig.judge.budget = 1000;
  const base::Fd server = serve_far(SOCK_DGRAM, kFar, 0);
  flow::Id id;
  const base::Fd socket = rig.grant(tuple(kUdp, kFar, port_of(server.get())), &id);
  REQUIRE(rig.gate->report_volumes({id.slot + 1, 1}, {9, 9, 9}));  // no such flow: nothing happens
  rig.turn();
  CHECK(rig.judge.most_volume == 0);
  rig.close(id);
  CHECK(rig.judge.most_volume == 3);  // {1, 2}

  const base::Fd second = rig.grant(tuple(kUdp, kFar, port_of(server.get())), &id);
  REQUIRE(rig.gate->report_volumes(id, {500, 499, 9}));
  REQUIRE(rig.until([&] { return rig.judge.most_volume == 999; }));
  CHECK(rig.inbox.revocations.empty());
  REQUIRE(rig.gate->report_volumes(id, {501, 499, 9}));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  CHECK(rig.judge.wrong_releases == 0);
  CHECK(rig.broker->counters().violations == 0);
}

TEST_CASE("broker: when a budget is used up the flow is cut under the launcher's clock") {
  Rig rig;
  rig.judge.metered = true;
  rig.judge.budget = 10'000;
  const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
  flow::Id id;
  const base::Fd socket = rig.grant(tuple(kTcp, kFar, port_of(listener.get())), &id);
  const base::Fd peer = accept_one(listener.get());
  CHECK(carry(socket.get(), peer.get(), 9000));
  REQUIRE(rig.until([&] { return rig.judge.most_volume >= 9000; }));
  CHECK(rig.inbox.revocations.empty());
  (void)rig.told();
  CHECK(carry(socket.get(), peer.get(), 1000));
  REQUIRE(rig.until([&] { return rig.inbox.revocations.contains(id); }));
  REQUIRE(rig.judge.cuts.size() == 1);
  CHECK(rig.judge.cuts[0].why == Cut::kLimit);
  CHECK(rig.judge.cuts[0].granted);
  CHECK(write_some(socket.get(), "more") != "sent");
  const std::string told = rig.told();
  CAPTURE(told);
  CHECK(told.size() >= 4);  // the measuring, then the cut
  for (std::size_t i = 0; i + 1 < told.size(); i += 2) CHECK(told.substr(i, 2) == "be");
  rig.close(id);
  CHECK(rig.judge.accounts.empty());
}

TEST_CASE("broker: a flow with a rate says so to the translator and is paced by the kernel") {
  struct RateCase {
    std::string_view name;
    flow::Shaping shaping;
    std::uint64_t pacing;
  };
  for (const RateCase& c : {RateCase{"one", {.shaper = 3, .rate = 1'000'000}, 1'000'000},
                            RateCase{"two", {.shaper = 3, .outer = 1, .rate = 900, .outer_rate = 500}, 500},
                            RateCase{"none", {}, UINT64_MAX}}) {
    CAPTURE(c.name);
    Rig rig;
    rig.judge.shaping = c.shaping;
    const base::Fd listener = serve_far(SOCK_STREAM, kFar, 0);
    const flow::Id id = rig.ask(tuple(kTcp, kFar, port_of(listener.get())));
    REQUIRE(rig.inbox.grants.contains(id));
    const flow::Grant& grant = rig.inbox.grants.at(id);
    CHECK(grant.shaping == c.shaping);
    std::uint64_t pacing = 0;
    socklen_t size = sizeof pacing;
    REQUIRE(::getsockopt(grant.socket.get(), SOL_SOCKET, SO_MAX_PACING_RATE, &pacing, &size) == 0);
    CHECK(pacing == c.pacing);
  }
}

}  // namespace cordon::sandbox::test
