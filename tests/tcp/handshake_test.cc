#include "tests/tcp/talk.h"

namespace cordon::tcp::test {
namespace {

TEST_CASE("tcp: nothing is sent before the grant, then a SYN-ACK") {
  Talk t = syn_received();
  t.expect_nothing();
  CHECK(t.tcp.deadline() == Instant::never());
  (void)t.tcp.on_granted(t.now);
  const Transmit s = t.expect();
  CHECK(s.syn);
  CHECK(s.ack_flag);
  CHECK(s.seq == SeqNum{5000});
  CHECK(s.ack == SeqNum{1001});
  CHECK(s.mss == 1460);
  CHECK(s.sack_permitted);
  t.expect_nothing();
}

TEST_CASE("tcp: a retransmitted SYN while connecting is ignored") {
  Talk t = syn_received();
  CHECK(t.guest_sends(t.syn()) == Verdict::kNotReady);
  t.expect_nothing();
  CHECK(t.tcp.state() == State::kSynReceived);
}

TEST_CASE("tcp: a guest that gives up while connecting resets the host side") {
  Talk t = syn_received();
  t.guest_sends(t.rst(0));
  CHECK(t.actions.end);
  CHECK(t.actions.reset_host);
  t.expect_nothing();
  (void)t.tcp.on_granted(t.now);  // the answer that crossed it
  t.expect_nothing();
}

TEST_CASE("tcp: a refused connection answers the SYN with RST and ACK") {
  Talk t = syn_received();
  CHECK(t.tcp.on_host_error(t.now).end);
  const Transmit r = t.expect();
  CHECK(r.rst);
  CHECK(r.ack_flag);
  CHECK(r.ack == SeqNum{1001});  // RFC 9293 3.10.7.3: what the guest in SYN-SENT accepts
  t.expect_nothing();
}

TEST_CASE("tcp: a SYN repeated after the SYN-ACK gets it again, another SYN does not") {
  Talk t = syn_ack_sent();
  t.guest_sends(t.syn());
  CHECK(t.expect().syn);
  Segment other = t.syn();
  other.seq = SeqNum{99};
  CHECK(t.guest_sends(other) == Verdict::kUnexpectedSyn);
  t.expect_nothing();
}

TEST_CASE("tcp: the SYN-ACK is repeated, and a half-open flow is freed within 10 s") {
  Talk t = syn_ack_sent();
  const auto sent = t.wait(11s);
  CHECK(t.tcp.state() == State::kClosed);
  CHECK(t.actions.reset_host);
  REQUIRE(sent.size() >= 3);
  CHECK(sent.size() <= 6);
  CHECK(sent[0].syn);
  CHECK(sent[0].seq == SeqNum{5000});
  CHECK(sent.back().rst);
}

TEST_CASE("tcp: only the exact ACK completes the handshake") {
  for (const std::uint32_t wrong : {0U, 4999U, 5000U, 5002U, 0x80001389U}) {
    CAPTURE(wrong);
    Talk t = syn_ack_sent();
    Segment s = t.text(0, 0);
    s.ack = SeqNum{wrong};
    CHECK(t.guest_sends(s) == Verdict::kBadAck);
    CHECK(t.tcp.state() == State::kSynAckSent);
  }
}

TEST_CASE("tcp: data and FIN may come with the ACK of the SYN-ACK") {
  Talk t = syn_ack_sent();
  Segment s = t.text(0, 10);
  s.fin = true;
  t.guest_sends(s);
  CHECK(t.deliver.length == 10);
  CHECK(t.actions.shutdown_host_write);
  CHECK(t.tcp.state() == State::kGuestClosed);
}

TEST_CASE("tcp: a host that sends and closes before the guest is ready loses nothing") {
  Talk t = syn_ack_sent();
  CHECK_FALSE(t.tcp.wants_host_data());
  t.host_sends(5);
  t.host_closes();
  t.expect_nothing();
  t.guest_sends(t.text(0, 0));
  const Transmit s = t.expect();
  CHECK(s.payload == 5);
  CHECK(s.fin);
  CHECK(t.tcp.state() == State::kHostClosed);
}

TEST_CASE("tcp: the MSS is the guest's, within limits") {
  struct Case {
    std::optional<std::uint16_t> offered;
    bool ipv6;
    std::uint32_t want;
  };
  for (const Case& c :
       {Case{std::nullopt, false, 536}, Case{std::nullopt, true, 1220}, Case{0, false, 536},
        Case{1, false, 88}, Case{47, true, 88}, Case{1000, false, 1000}, Case{65535, false, 1460}}) {
    CAPTURE(c.want);
    Segment syn = Talk::syn({});
    syn.mss = c.offered;
    const Connection tcp{syn, {.isn = SeqNum{1}, .mss = 1460, .ipv6 = c.ipv6}, Instant{}};
    CHECK(tcp.mss() == c.want);
  }
}

TEST_CASE("tcp: window scaling needs both sides") {
  Talk without{Setup{}};
  (void)without.tcp.on_granted(without.now);
  CHECK_FALSE(without.expect().window_scale.has_value());
  Talk with{Setup{.guest_scale = std::uint8_t{255}, .credit = 1 << 20}};  // RFC 7323 2.3: above 14 means 14
  (void)with.tcp.on_granted(with.now);
  const Transmit s = with.expect();
  CHECK(s.window_scale == 8);
  CHECK(s.window == 65535);  // never scaled in a SYN
  with.guest_sends(with.ack(0, 1));
  CHECK(with.tcp.host_read_budget(0, 1 << 20) == 16384 + 65000);  // 1 << 14, and one super-segment ahead
  with.guest_sends(with.text(0, 1500));
  CHECK(with.expect().window == (1 << 20) >> 8);
}

TEST_CASE("tcp: simultaneous open and unsolicited SYN-ACK change nothing") {
  for (Talk t : {syn_received(), syn_ack_sent()}) {
    Segment s = t.text(0, 0);
    s.syn = true;
    s.seq = SeqNum{1000};
    const State before = t.tcp.state();
    t.guest_sends(s);
    CHECK(t.tcp.state() == before);
    CHECK_FALSE(t.actions.end);
    t.expect_nothing();
  }
}

}  // namespace
}  // namespace cordon::tcp::test
