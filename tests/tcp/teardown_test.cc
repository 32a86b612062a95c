#include "tests/tcp/talk.h"

namespace cordon::tcp::test {
namespace {

TEST_CASE("tcp: the guest closes first, the host answers on and closes") {
  Talk t = established();
  Segment s = t.text(0, 10);
  s.fin = true;
  t.guest_sends(s);
  CHECK(t.actions.shutdown_host_write);
  CHECK(t.tcp.state() == State::kGuestClosed);
  t.expect_nothing();  // the ACK of the FIN waits a moment for something to ride on
  t.host_sends(5000);
  const Transmit reply = t.expect();
  CHECK(reply.payload == 5000);
  CHECK(reply.ack == t.guest(11));
  t.guest_sends(t.text(11, 0, 5000));
  t.host_closes();
  CHECK(t.expect().fin);
  CHECK(t.tcp.state() == State::kBothClosed);
  t.guest_sends(t.text(11, 0, 5001));
  CHECK(t.tcp.state() == State::kClosed);
  CHECK(t.actions.end);
  CHECK_FALSE(t.actions.reset_host);
  t.expect_nothing();
}

TEST_CASE("tcp: a FIN of the guest that nothing follows is acknowledged after 10 ms") {
  Talk t = established();
  t.guest_sends(t.fin(0));
  t.expect_nothing();
  CHECK(t.wait(std::chrono::milliseconds{9}).empty());
  const auto late = t.wait(std::chrono::milliseconds{1});
  REQUIRE(late.size() == 1);
  CHECK(late[0].ack == t.guest(1));
  CHECK(late[0].payload == 0);
  CHECK(t.wait(std::chrono::seconds{1}).empty());
}

TEST_CASE("tcp: the host closes first, the guest sends on and closes, TIME-WAIT for half a second") {
  Talk t = established();
  t.host_sends(10);
  t.host_closes();
  const Transmit f = t.expect();
  CHECK(f.fin);
  CHECK(f.payload == 10);
  t.guest_sends(t.text(0, 0, 11));
  CHECK(t.actions.released == 10);
  CHECK(t.tcp.state() == State::kHostClosed);
  t.guest_sends(t.text(0, 3000, 11));
  CHECK(t.deliver.length == 3000);
  t.guest_sends(t.fin(3000, 11));
  CHECK(t.actions.shutdown_host_write);
  CHECK(t.tcp.state() == State::kTimeWait);
  CHECK(t.expect().ack == t.guest(3001));
  t.guest_sends(t.fin(3000, 11));  // our ACK was lost
  CHECK(t.expect().ack == t.guest(3001));
  CHECK(t.wait(450ms).empty());
  CHECK(t.tcp.state() == State::kTimeWait);
  (void)t.wait(100ms);
  CHECK(t.tcp.state() == State::kClosed);
  CHECK(t.actions.end);
  CHECK_FALSE(t.actions.reset_host);
}

TEST_CASE("tcp: text held from behind the guest's FIN is forgotten with it") {
  Talk t = established();
  t.guest_sends(t.text(100, 50));
  (void)t.drain();
  t.guest_sends(t.fin(0));
  const Transmit s = t.expect();
  CHECK(s.ack == t.guest(1));
  CHECK(s.sack_count == 0);
}

TEST_CASE("tcp: both close at once") {
  Talk t = closing();
  CHECK(t.tcp.state() == State::kBothClosed);
  t.guest_sends(t.text(1, 0, 1));
  CHECK(t.tcp.state() == State::kTimeWait);
  CHECK_FALSE(t.actions.end);
}

TEST_CASE("tcp: a new SYN in TIME-WAIT lets the driver recycle the slot; an old one does not") {
  Talk t = time_wait();
  Segment old = t.syn();
  t.guest_sends(old);
  CHECK_FALSE(t.actions.reopen);
  CHECK(t.expect().ack == t.guest(1));
  Segment fresh = t.syn();
  fresh.seq = t.guest(1000);
  t.guest_sends(fresh);
  CHECK(t.actions.end);
  CHECK(t.actions.reopen);
  CHECK_FALSE(t.actions.reset_host);
  t.expect_nothing();
}

TEST_CASE("tcp: a host error resets the guest in every state") {
  for (Talk t : {syn_received(), syn_ack_sent(), established(), guest_closed(), host_closed(), closing(),
                 last_ack()}) {
    CAPTURE(t.tcp.state());
    const Actions a = t.tcp.on_host_error(t.now);
    CHECK(a.end);
    CHECK(a.transmit);
    CHECK(t.expect().rst);
    t.expect_nothing();
    CHECK(t.tcp.deadline() == Instant::never());
  }
}

TEST_CASE("tcp: a revoked flow resets both sides, at the sequence number the guest expects") {
  Talk t = established();
  t.host_sends(100);
  (void)t.drain();
  const Actions a = t.tcp.on_revoked(t.now);
  CHECK(a.end);
  CHECK(a.reset_host);
  const Transmit r = t.expect();
  CHECK(r.rst);
  CHECK(r.seq == t.host(100));
  t.tcp.untransmit(r);
  CHECK(t.expect().rst);
  t.expect_nothing();
}

TEST_CASE("tcp: events after the end change nothing") {
  Talk t = established();
  t.guest_sends(t.rst(0));
  CHECK(t.guest_sends(t.text(0, 10)) == Verdict::kClosed);
  CHECK_FALSE(t.actions.end);
  CHECK_FALSE(t.tcp.on_revoked(t.now).end);
  CHECK_FALSE(t.tcp.on_host_error(t.now).end);
  CHECK_FALSE(t.tcp.on_host_eof(t.now).end);
  CHECK_FALSE(t.tcp.on_timer(t.now + 24h).end);
  (void)t.tcp.on_host_data(10, t.now);
  (void)t.tcp.on_stash(0, 65535, t.now);
  (void)t.tcp.on_granted(t.now);
  t.expect_nothing();
  CHECK(t.tcp.deadline() == Instant::never());
}

TEST_CASE("tcp: an idle flow has one timer, half an hour away") {
  Talk t = established();
  CHECK(t.tcp.deadline() - t.now == 30min);
  CHECK(t.wait(29min).empty());
}

TEST_CASE("tcp: a guest that answers the idle probes keeps its flow") {
  Talk t = established();
  for (int i = 0; i < 10; ++i) {
    const auto sent = t.wait(30min);
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].seq == t.host(0) - 1U);
    CHECK(sent[0].payload == 0);
    t.guest_sends(t.text(0, 0));
  }
  CHECK(t.tcp.state() == State::kEstablished);
}

}  // namespace
}  // namespace cordon::tcp::test
