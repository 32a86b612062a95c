// Host -> guest.
#include "tests/tcp/talk.h"

namespace cordon::tcp::test {
namespace {

TEST_CASE("tcp: data leaves in super-segments of whole segments, the tail with PSH") {
  Talk t = established({.super_segment = 10500});
  t.host_sends(25'300);
  const auto sent = t.drain();
  REQUIRE(sent.size() == 3);
  CHECK(sent[0].payload == 10000);
  CHECK(sent[1].payload == 10000);
  CHECK(sent[1].ring_offset == 10000);
  CHECK(sent[2].payload == 5300);
  CHECK(sent[2].seq == t.host(20'000));
  CHECK_FALSE(sent[0].psh);
  CHECK(sent[2].psh);
}

TEST_CASE("tcp: without TSO every segment is one MSS") {
  Talk t = established({.super_segment = 1000});
  t.host_sends(2500);
  const auto sent = t.drain();
  REQUIRE(sent.size() == 3);
  CHECK(sent[0].payload == 1000);
  CHECK(sent[2].payload == 500);
}

TEST_CASE("tcp: Nagle is off, small writes leave at once") {
  Talk t = established();
  for (int i = 0; i < 3; ++i) {
    t.host_sends(1);
    CHECK(t.expect().payload == 1);
  }
  CHECK(t.tcp.bytes_in_flight() == 3);
}

TEST_CASE("tcp: what is acknowledged is released") {
  Talk t = established();
  t.host_sends(3000);
  (void)t.drain();
  t.guest_sends(t.text(0, 0, 1500));
  CHECK(t.actions.release);
  CHECK(t.actions.released == 1500);
  CHECK(t.tcp.bytes_in_flight() == 1500);
  t.guest_sends(t.text(0, 0, 3000));
  CHECK(t.actions.released == 1500);
  CHECK(t.tcp.bytes_in_flight() == 0);
}

TEST_CASE("tcp: the guest's window is a limit, and reading from the host stops one super-segment behind it") {
  Talk t = established({.window = 5000, .super_segment = 2000});
  CHECK(t.tcp.host_read_budget(0, 100'000) == 7000);
  t.host_sends(7000);
  CHECK(t.tcp.host_read_budget(7000, 100'000) == 0);
  std::uint32_t sum = 0;
  for (const auto& s : t.drain()) sum += s.payload;
  CHECK(sum == 5000);
  t.guest_sends(t.ack(5000, 0));
  t.expect_nothing();
  CHECK(t.tcp.host_read_budget(2000, 100'000) == 0);
  CHECK(t.tcp.host_read_budget(0, 100) == 100);  // the ring's own limit
}

TEST_CASE("tcp: no silly segments into a window that opens byte by byte") {
  Talk t = established({.window = 4000});
  t.host_sends(10'000);
  (void)t.drain();
  t.guest_sends(t.ack(4000, 0));
  t.guest_sends(t.ack(4000, 10));
  t.expect_nothing();
  t.guest_sends(t.ack(4000, 999));
  t.expect_nothing();
  t.guest_sends(t.ack(4000, 1000));
  CHECK(t.expect().payload == 1000);
}

TEST_CASE("tcp: a window that stays silly is used by the probe timer") {
  Talk t = established({.window = 4000});
  t.host_sends(10'000);
  (void)t.drain();
  t.guest_sends(t.ack(4000, 0));
  t.guest_sends(t.ack(4000, 10));
  const auto sent = t.wait(70ms);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].payload == 10);
}

TEST_CASE("tcp: three duplicate ACKs resend the first segment at once, without SACK") {
  Talk t = established({.sack = false, .super_segment = 1000});
  t.host_sends(5000);
  (void)t.drain();
  t.guest_sends(t.text(0, 0));
  t.guest_sends(t.text(0, 0));
  t.expect_nothing();
  t.guest_sends(t.text(0, 0));
  const Transmit s = t.expect();
  CHECK(s.seq == t.host(0));
  CHECK(s.payload == 1000);
  for (int i = 0; i < 100; ++i) t.guest_sends(t.text(0, 0));  // a storm of them adds nothing
  t.expect_nothing();
  t.guest_sends(t.text(0, 0, 2000));  // partial: the next one is lost too (RFC 6582)
  CHECK(t.expect().seq == t.host(2000));
  t.guest_sends(t.text(0, 0, 5000));
  t.expect_nothing();
}

TEST_CASE("tcp: SACK resends the holes only") {
  Talk t = established({.super_segment = 1000});
  t.host_sends(10'000);
  (void)t.drain();
  Segment s = t.sack(0, 1000, 3000);
  s.sack[1] = {t.host(5000), t.host(9000)};
  s.sack_count = 2;
  t.guest_sends(s);
  const auto sent = t.drain();
  REQUIRE(sent.size() == 3);
  CHECK(sent[0].seq == t.host(0));
  CHECK(sent[1].seq == t.host(3000));
  CHECK(sent[2].seq == t.host(4000));
  t.guest_sends(s);
  t.expect_nothing();  // once each
}

TEST_CASE("tcp: nonsense and duplicate SACK blocks are ignored") {
  Talk t = established({.super_segment = 1000});
  t.host_sends(5000);
  (void)t.drain();
  t.guest_sends(t.text(0, 0, 1000));
  for (const Segment& s :
       {t.sack(1000, 0, 1000), t.sack(1000, 4000, 3000), t.sack(1000, 3000, 3000), t.sack(1000, 4000, 5001),
        t.sack(1000, 2000, 0x70000000), t.sack(1000, 1000, 5000)})
    t.guest_sends(s);
  t.expect_nothing();
}

TEST_CASE("tcp: a time-out sends one segment, and the rest after its ACK") {
  Talk t = established({.super_segment = 1000});
  t.host_sends(5000);
  (void)t.drain();
  const auto sent = t.wait(60ms);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].seq == t.host(0));
  CHECK(sent[0].payload == 1000);
  t.guest_sends(t.text(0, 0, 1000));
  CHECK(t.drain().size() == 4);
}

TEST_CASE("tcp: after a time-out SACKed data is sent again too, for the guest may have dropped it") {
  Talk t = established({.super_segment = 1000});
  t.host_sends(3000);
  (void)t.drain();
  t.guest_sends(t.sack(0, 1000, 3000));
  CHECK(t.wait(60ms).size() == 1);
  t.guest_sends(t.text(0, 0, 1000));  // RFC 2018 section 8: it reneged on the rest
  const auto sent = t.drain();
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].seq == t.host(1000));
}

TEST_CASE("tcp: a guest that is gone is given up after minutes, with RST on both sides") {
  Talk t = established();
  t.host_sends(100);
  (void)t.drain();
  const auto sent = t.wait(120s);
  CHECK(t.tcp.state() == State::kEstablished);
  CHECK(sent.size() < 14);
  const auto rest = t.wait(400s);
  CHECK(t.tcp.state() == State::kClosed);
  CHECK(t.actions.reset_host);
  REQUIRE(!rest.empty());
  CHECK(rest.back().rst);
}

TEST_CASE("tcp: zero-window probes go on as long as the guest answers, ever slower") {
  Talk t = established({.window = 1000});
  t.host_sends(2000);
  (void)t.drain();
  t.guest_sends(t.ack(1000, 0));
  std::size_t probes = 0;
  for (int i = 0; i < 3600; ++i) {
    for (const auto& s : t.wait(1s)) {
      CHECK(s.seq == t.host(1000));
      CHECK(s.payload == 1);
      ++probes;
      t.guest_sends(t.ack(1000, 0));
      t.expect_nothing();
    }
  }
  CHECK(t.tcp.state() == State::kEstablished);
  CHECK(probes > 60);
  CHECK(probes < 80);
  t.guest_sends(t.ack(1000, 1000));
  CHECK(t.expect().payload == 1000);
}

TEST_CASE("tcp: a probed byte that the guest takes counts") {
  Talk t = established({.window = 1000});
  t.host_sends(2000);
  (void)t.drain();
  t.guest_sends(t.ack(1000, 0));
  CHECK(t.wait(60ms).size() == 1);
  t.guest_sends(t.ack(1001, 0));
  CHECK(t.actions.released == 1);
  t.guest_sends(t.ack(1001, 999));
  const Transmit s = t.expect();
  CHECK(s.seq == t.host(1001));
  CHECK(s.payload == 999);
}

TEST_CASE("tcp: what the link refused is offered again, unchanged") {
  Talk t = established({.super_segment = 1000});
  t.host_sends(2500);
  t.host_closes();
  for (int i = 0; i < 3; ++i) {
    const Transmit s = t.expect();
    t.tcp.untransmit(s);
    const Transmit again = t.expect();
    CHECK(again.seq == s.seq);
    CHECK(again.payload == s.payload);
    CHECK(again.fin == s.fin);
  }
  // the ACK of the last refusal went with the next data segment: nothing is owed
  t.expect_nothing();
}

TEST_CASE("tcp: round trips set the time-out between its floor and ceiling") {
  RetransmitTimer rto;
  CHECK(rto.current() == 1s);  // RFC 6298 2.1
  rto.sample(50us);
  CHECK(rto.current() == 60ms);
  for (int i = 0; i < 100; ++i) rto.sample(100ms);
  CHECK(rto.current() >= 100ms);
  CHECK(rto.current() < 200ms);
  CHECK(rto.back_off());
  CHECK(rto.current() >= 200ms);
  for (int i = 0; i < 14; ++i) CHECK(rto.back_off());
  CHECK_FALSE(rto.back_off());
  CHECK(rto.current() == 60s);
}

}  // namespace
}  // namespace cordon::tcp::test
