// What the guest's ICMP errors do to a connection (RFC 1191, RFC 5927).
#include "tests/tcp/talk.h"

namespace cordon::tcp::test {
namespace {

TEST_CASE("tcp guest error: what is in flight goes again in smaller segments, once") {
  Talk t = established({.guest_mss = std::uint16_t{1000}});
  t.host_sends(3000);
  CHECK(t.expect().payload == 3000);
  t.expect_nothing();
  const Actions a = t.tcp.on_smaller_segments(SeqNum{5001}, 600, t.now);
  CHECK(a.transmit);
  CHECK(t.tcp.mss() == 600);
  const Transmit again = t.expect();
  CHECK(again.seq == SeqNum{5001});
  CHECK(again.payload == 3000);                               // the driver cuts by mss()
  (void)t.tcp.on_smaller_segments(SeqNum{5001}, 600, t.now);  // about the other copies
  (void)t.tcp.on_smaller_segments(SeqNum{5001}, 1000, t.now);
  t.expect_nothing();
  CHECK(t.tcp.mss() == 600);
  t.guest_sends(t.ack(3000, 60000));
  t.host_sends(700);
  CHECK(t.expect().payload == 700);
}

TEST_CASE("tcp guest error: an error about nothing in flight is ignored") {
  Talk idle = established();
  (void)idle.tcp.on_smaller_segments(SeqNum{5001}, 600, idle.now);
  CHECK(idle.tcp.mss() == 1000);
  Talk t = established();
  t.host_sends(2000);
  (void)t.drain();
  for (const std::uint32_t guess : {5000U, 7001U, 0U, 0x80000000U}) {
    CAPTURE(guess);
    (void)t.tcp.on_smaller_segments(SeqNum{guess}, 600, t.now);
    CHECK(t.tcp.mss() == 1000);
    t.expect_nothing();
  }
  (void)t.tcp.on_smaller_segments(SeqNum{7000}, 1, t.now);
  CHECK(t.tcp.mss() == 88);  // no less, whatever the guest says
}

TEST_CASE("tcp guest error: unreachable ends an unanswered SYN, and nothing else") {
  Talk t = syn_sent();
  CHECK_FALSE(t.tcp.on_unreachable(SeqNum{5001}, t.now).end);
  const Actions a = t.tcp.on_unreachable(SeqNum{5000}, t.now);
  CHECK(a.end);
  CHECK(a.reset_host);
  t.expect_nothing();
  Talk unsent{Talk::FromOutside{}, {}};
  CHECK_FALSE(unsent.tcp.on_unreachable(SeqNum{5000}, unsent.now).end);
  Talk live = established();
  live.host_sends(100);
  (void)live.drain();
  CHECK_FALSE(live.tcp.on_unreachable(SeqNum{5001}, live.now).end);
  CHECK(live.tcp.state() == State::kEstablished);
}

}  // namespace
}  // namespace cordon::tcp::test
