// The active side of the handshake: a connection from outside that is opened towards the guest.
#include "tests/tcp/talk.h"

namespace cordon::tcp::test {
namespace {

TEST_CASE("tcp open: the SYN leaves at once and offers everything") {
  Talk t{Talk::FromOutside{}, {.our_mss = 1460}};
  CHECK(t.tcp.state() == State::kSynSent);
  CHECK_FALSE(t.tcp.wants_host_data());
  const Transmit s = t.expect();
  CHECK(s.syn);
  CHECK_FALSE(s.ack_flag);
  CHECK_FALSE(s.rst);
  CHECK(s.seq == SeqNum{5000});
  CHECK(s.mss == 1460);
  CHECK(s.window_scale == 8);
  CHECK(s.sack_permitted);
  CHECK(s.window >= 65535 - 255);  // not scaled; rounded down to a multiple of the scale's unit
  CHECK(s.payload == 0);
  t.expect_nothing();
}

TEST_CASE("tcp open: the SYN-ACK is acknowledged and data flows both ways") {
  Talk t = syn_sent({.guest_scale = std::uint8_t{7}, .window = 500});
  CHECK(t.guest_sends(t.syn_ack()) == Verdict::kTaken);
  CHECK(t.tcp.state() == State::kEstablished);
  CHECK(t.tcp.wants_host_data());
  const Transmit a = t.expect();
  CHECK_FALSE(a.syn);
  CHECK(a.ack_flag);
  CHECK(a.seq == SeqNum{5001});
  CHECK(a.ack == SeqNum{1001});
  CHECK(a.window == 65535 >> 8);
  t.expect_nothing();
  // The window of a SYN is never scaled (RFC 7323 2.2); the next one is.
  t.host_sends(2000);
  CHECK(t.expect().payload == 500);
  t.guest_sends(t.ack(500, 500));
  CHECK(t.expect().payload == 1500);
  t.guest_sends(t.text(0, 10, 2000));
  CHECK(t.deliver.length == 10);
  CHECK(t.deliver.ahead == 0);
}

TEST_CASE("tcp open: what the guest does not offer is not used") {
  struct Case {
    std::string_view name;
    Setup setup;
    std::uint32_t mss;
    std::uint16_t window;  // of the ACK of 10 bytes
    bool sack;
  };
  for (const Case& c :
       {Case{"nothing", {.guest_mss = std::nullopt, .sack = false}, 536, 65535, false},
        Case{"nothing, IPv6", {.guest_mss = std::nullopt, .sack = false, .ipv6 = true}, 1220, 65535, false},
        Case{"tiny MSS", {.guest_mss = std::uint16_t{1}}, 88, 65535, true},
        Case{"large MSS", {.guest_mss = std::uint16_t{9000}}, 1460, 65535, true},
        Case{"scale above 14", {.guest_scale = std::uint8_t{200}}, 1000, 255, true}}) {
    CAPTURE(c.name);
    Talk t = syn_sent(c.setup);
    t.guest_sends(t.syn_ack());
    (void)t.drain();
    CHECK(t.tcp.mss() == c.mss);
    Segment s = t.text(1000, 10);
    t.guest_sends(s);  // a gap
    const Transmit a = t.expect();
    CHECK(a.sack_count == (c.sack ? 1 : 0));
    CHECK(a.window == c.window);
  }
}

TEST_CASE("tcp open: an answer that acknowledges something else is refused, and the SYN stays") {
  for (const std::uint32_t wrong : {0U, 4999U, 5000U, 5002U, 0x80001389U}) {
    for (const bool syn : {true, false}) {
      CAPTURE(wrong);
      CAPTURE(syn);
      Talk t = syn_sent();
      Segment s = t.syn_ack();
      s.syn = syn;
      s.ack = SeqNum{wrong};
      CHECK(t.guest_sends(s) == Verdict::kBadAck);
      CHECK(t.actions.refuse);  // RFC 9293 3.10.7.3: <SEQ=SEG.ACK><CTL=RST>, which is a stray's answer
      CHECK(t.tcp.state() == State::kSynSent);
      t.expect_nothing();
      s.rst = true;
      t.guest_sends(s);
      CHECK_FALSE(t.actions.refuse);  // a RST is never answered
      CHECK_FALSE(t.actions.end);
    }
  }
}

TEST_CASE("tcp open: a guest without a listener resets the host side") {
  Talk t = syn_sent();
  Segment s = t.rst(0);
  s.seq = SeqNum{0};
  s.ack_flag = true;
  s.ack = SeqNum{5001};
  t.guest_sends(s);
  CHECK(t.actions.end);
  CHECK(t.actions.reset_host);
  CHECK(t.tcp.state() == State::kClosed);
  t.expect_nothing();
}

TEST_CASE("tcp open: a RST without ACK, and any other segment, means nothing before the answer") {
  Talk t = syn_sent();
  Segment rst = t.rst(0);
  rst.ack_flag = false;
  CHECK(t.guest_sends(rst) == Verdict::kNotReady);
  CHECK(t.guest_sends(t.text(0, 100)) == Verdict::kNotReady);
  CHECK(t.deliver.length == 0);
  Segment bare = t.text(0, 0);
  bare.ack_flag = false;
  CHECK(t.guest_sends(bare) == Verdict::kNotReady);
  CHECK(t.tcp.state() == State::kSynSent);
  CHECK_FALSE(t.actions.refuse);
  t.expect_nothing();
}

TEST_CASE("tcp open: the guest's own SYN is refused and ours goes on") {
  Talk t = syn_sent();
  CHECK(t.guest_sends(t.syn()) == Verdict::kUnexpectedSyn);
  CHECK(t.actions.refuse);
  CHECK(t.tcp.state() == State::kSynSent);
  t.guest_sends(t.syn_ack());
  CHECK(t.tcp.state() == State::kEstablished);
}

TEST_CASE("tcp open: the SYN is repeated for over a minute, then guest and peer are reset") {
  Talk t = syn_sent();
  const Instant start = t.now;
  auto sent = t.wait(64s);
  REQUIRE(sent.size() == 6);  // at 1, 3, 7, 15, 31 and 63 s
  for (const Transmit& s : sent) {
    CHECK(s.syn);
    CHECK(s.seq == SeqNum{5000});
    CHECK(s.mss == 1460);
  }
  CHECK(t.tcp.state() == State::kSynSent);
  sent = t.wait(20s);
  CHECK(t.tcp.state() == State::kClosed);
  CHECK(t.actions.end);
  CHECK(t.actions.reset_host);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].rst);
  CHECK_FALSE(sent[0].ack_flag);
  CHECK(sent[0].seq == SeqNum{5001});  // what a guest in SYN-RECEIVED accepts
  CHECK(t.now - start == 84s);
}

TEST_CASE("tcp open: a guest that comes up late is connected by the next SYN") {
  Talk t = syn_sent();
  (void)t.wait(20s);
  t.guest_sends(t.syn_ack());
  CHECK(t.tcp.state() == State::kEstablished);
  (void)t.drain();
  // Karn: the back-off does not stay with the connection.
  t.host_sends(100);
  CHECK(t.expect().payload == 100);
  CHECK(t.tcp.deadline() <= t.now + 1s);
}

TEST_CASE("tcp open: a lost ACK of the SYN-ACK is repeated") {
  Talk t = syn_sent();
  t.guest_sends(t.syn_ack());
  (void)t.drain();
  CHECK(t.guest_sends(t.syn_ack()) == Verdict::kUnexpectedSyn);
  const Transmit a = t.expect();
  CHECK(a.ack == SeqNum{1001});
  CHECK(a.seq == SeqNum{5001});
}

TEST_CASE("tcp open: text and FIN on the SYN-ACK wait for their repetition") {
  Talk t = syn_sent();
  Segment s = t.syn_ack();
  s.payload = 10;
  s.fin = true;
  t.guest_sends(s);
  CHECK(t.deliver.length == 0);
  CHECK_FALSE(t.actions.shutdown_host_write);
  CHECK(t.expect().ack == SeqNum{1001});
  Segment again = t.text(0, 10);
  again.fin = true;
  t.guest_sends(again);
  CHECK(t.deliver.length == 10);
  CHECK(t.tcp.state() == State::kGuestClosed);
}

TEST_CASE("tcp open: a peer that closed before the guest answered loses nothing") {
  Talk t = syn_sent();
  t.host_closes();
  t.expect_nothing();
  t.guest_sends(t.syn_ack());
  CHECK(t.tcp.state() == State::kHostClosed);
  CHECK(t.expect().fin);
}

TEST_CASE("tcp open: a peer that resets, or a cut, ends the attempt for the guest too") {
  for (const bool revoked : {true, false}) {
    CAPTURE(revoked);
    Talk t = syn_sent();
    const Actions a = revoked ? t.tcp.on_revoked(t.now) : t.tcp.on_host_error(t.now);
    CHECK(a.end);
    CHECK(a.reset_host);
    const Transmit r = t.expect();
    CHECK(r.rst);
    CHECK_FALSE(r.ack_flag);
    CHECK(r.seq == SeqNum{5001});
    t.expect_nothing();
    Talk unsent{Talk::FromOutside{}, {}};  // the guest has never heard of it
    (void)(revoked ? unsent.tcp.on_revoked(unsent.now) : unsent.tcp.on_host_error(unsent.now));
    unsent.expect_nothing();
    Talk kept_back{Talk::FromOutside{}, {}};  // nor of a SYN that the link refused
    kept_back.tcp.untransmit(kept_back.expect());
    (void)(revoked ? kept_back.tcp.on_revoked(kept_back.now) : kept_back.tcp.on_host_error(kept_back.now));
    kept_back.expect_nothing();
  }
}

TEST_CASE("tcp open: a full link offers the SYN again") {
  Talk t{Talk::FromOutside{}, {}};
  t.tcp.untransmit(t.expect());
  CHECK(t.expect().syn);
  t.expect_nothing();
}

}  // namespace
}  // namespace cordon::tcp::test
