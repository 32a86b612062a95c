// The bugs that the strongest peer fixed, one test each; the name quotes its commit. Those that live in a
// driver are listed in README.md beside this file.
#include <algorithm>

#include "tests/tcp/talk.h"

namespace cordon::tcp::test {
namespace {

TEST_CASE("tcp trap 2e3d93b: FIN is sent again when data is rewound") {
  Talk t = established({.super_segment = 1000});
  t.host_sends(2000);
  t.host_closes();
  CHECK(t.drain().size() == 2);
  CHECK(t.wait(60ms).size() == 1);
  t.guest_sends(t.text(0, 0, 1000));
  const Transmit s = t.expect();
  CHECK(s.payload == 1000);
  CHECK(s.fin);
  t.guest_sends(t.text(0, 0, 2000));  // the data arrived, the FIN did not
  const auto sent = t.wait(60ms);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].fin);
  CHECK(sent[0].seq == t.host(2000));
}

TEST_CASE(
    "tcp trap 1d502be e86d480 25f9354: a window that shrinks to zero takes back what is out, and nothing "
    "follows") {
  Talk t = established({.super_segment = 1000});
  t.host_sends(8000);
  CHECK(t.drain().size() == 8);
  t.guest_sends(t.ack(2000, 0));
  t.expect_nothing();
  CHECK(t.tcp.bytes_in_flight() == 0);
  const auto probe = t.wait(60ms);
  REQUIRE(probe.size() == 1);
  CHECK(probe[0].payload == 1);
  CHECK(probe[0].seq == t.host(2000));
  t.guest_sends(t.ack(2000, 6000));
  const auto again = t.drain();
  REQUIRE(again.size() == 6);
  CHECK(again[0].seq == t.host(2000));
  // The guest may as well have had all of it: an ACK up to what was ever sent is believed.
  t.guest_sends(t.ack(8000, 6000));
  CHECK(t.actions.released == 6000);
}

TEST_CASE("tcp trap 1d502be: a window that shrinks partly is honoured on the way back too") {
  Talk t = established({.super_segment = 1000});
  t.host_sends(8000);
  (void)t.drain();
  t.guest_sends(t.ack(1000, 3000));
  t.expect_nothing();
  CHECK(t.tcp.bytes_in_flight() == 3000);
  t.guest_sends(t.ack(4000, 3000));
  CHECK(t.drain().size() == 3);
}

TEST_CASE("tcp trap c62fb08: a flow half-closed by the guest lives until our own FIN is acknowledged") {
  Talk t = last_ack();
  CHECK(t.tcp.state() == State::kBothClosed);
  t.guest_sends(t.text(1, 0, 0));
  CHECK_FALSE(t.actions.end);
  CHECK(t.tcp.state() == State::kBothClosed);
  t.guest_sends(t.text(1, 0, 1));
  CHECK(t.actions.end);
}

TEST_CASE("tcp trap bde1847: fast retransmit and refused sends work in the half-closed state") {
  Talk t = guest_closed({.sack = false, .super_segment = 1000});
  t.host_sends(5000);
  (void)t.drain();
  for (int i = 0; i < 3; ++i) t.guest_sends(t.text(1, 0));
  const Transmit s = t.expect();
  CHECK(s.seq == t.host(0));
  t.tcp.untransmit(s);
  CHECK(t.expect().seq == t.host(0));
}

TEST_CASE("tcp trap 660cd69: sequence comparison holds over every wrap") {
  for (const std::uint32_t isn : {0U, 0x7ffffffeU, 0x7fffffffU, 0x80000000U, 0xfffffffeU, 0xffffffffU}) {
    CAPTURE(isn);
    Talk t = established({.guest_isn = isn, .our_isn = isn});
    t.guest_sends(t.text(10, 10));
    CHECK(t.deliver.ahead == 10);
    t.guest_sends(t.text(0, 10));
    CHECK(t.deliver.unlocked == 10);
    t.host_sends(10);
    (void)t.drain();
    t.guest_sends(t.text(20, 0, 10));
    CHECK(t.actions.released == 10);
  }
}

TEST_CASE("tcp trap f9ee749: SYN-ACK, FIN and pure ACK never carry PSH") {
  Talk t = syn_ack_sent();
  t.guest_sends(t.syn());
  CHECK_FALSE(t.expect().psh);
  t = established();
  t.guest_sends(t.text(0, 1400));
  CHECK_FALSE(t.expect().psh);
  t.host_closes();
  const Transmit fin = t.expect();
  CHECK(fin.fin);
  CHECK_FALSE(fin.psh);
}

TEST_CASE("tcp trap 8d2f8c4: FIN never overtakes data that the window holds back") {
  Talk t = established({.window = 1000});
  t.host_sends(1500);
  t.host_closes();
  for (const auto& s : t.drain()) CHECK_FALSE(s.fin);
  t.guest_sends(t.ack(1000, 1000));
  const Transmit s = t.expect();
  CHECK(s.payload == 500);
  CHECK(s.fin);
  CHECK(s.seq == t.host(1000));
}

TEST_CASE("tcp trap 6cbcccc ec96f01: segments without data survive a refused send") {
  Talk t = syn_received();
  (void)t.tcp.on_granted(t.now);
  t.tcp.untransmit(t.expect());
  CHECK(t.expect().syn);
  t.guest_sends(t.text(0, 0));
  t.guest_sends(t.text(50, 50));
  t.tcp.untransmit(t.expect());
  CHECK(t.expect().sack_count == 1);
  t.host_closes();
  const Transmit fin = t.expect();
  CHECK(fin.fin);
  t.tcp.untransmit(fin);
  CHECK(t.drain().back().fin);
  (void)t.tcp.on_revoked(t.now);
  t.tcp.untransmit(t.expect());
  CHECK(t.expect().rst);
  t.expect_nothing();
}

TEST_CASE("tcp trap b3217aa: FIN carries the current ACK number, also when repeated") {
  Talk t = established();
  t.guest_sends(t.text(0, 100));
  t.host_closes();
  CHECK(t.expect().ack == t.guest(100));
  t.guest_sends(t.text(100, 100));
  const auto sent = t.wait(100ms);
  REQUIRE(!sent.empty());
  const auto fin = std::ranges::find_if(sent, [](const Transmit& s) { return s.fin; });
  REQUIRE(fin != sent.end());
  CHECK(fin->ack == t.guest(200));
}

TEST_CASE("tcp trap 8efa80b: FIN behind data that was not accepted is not taken") {
  Talk t = established({.credit = 4096});
  Segment s = t.text(0, 5000);  // 904 bytes do not fit
  s.fin = true;
  t.guest_sends(s);
  CHECK(t.deliver.length == 4096);
  CHECK(t.tcp.state() == State::kEstablished);
  CHECK_FALSE(t.actions.shutdown_host_write);
  t = established();
  t.guest_sends(t.fin(100));  // the bytes before it are missing
  CHECK(t.tcp.state() == State::kEstablished);
  CHECK(t.expect().ack == t.guest(0));
  t.guest_sends(t.text(0, 100));
  CHECK(t.tcp.state() == State::kEstablished);
  t.guest_sends(t.fin(100));
  CHECK(t.tcp.state() == State::kGuestClosed);
}

TEST_CASE("tcp trap b145441: data behind the guest's FIN is ignored, its ACKs still count") {
  Talk t = guest_closed();
  t.host_sends(3000);
  (void)t.drain();
  CHECK(t.guest_sends(t.text(1, 100, 1000)) == Verdict::kAfterFin);
  CHECK(t.deliver.length == 0);
  CHECK(t.actions.released == 1000);
  CHECK(t.expect().ack == t.guest(1));
  CHECK(t.tcp.state() == State::kGuestClosed);
}

TEST_CASE(
    "tcp trap a947839: what the host did not take is held, acknowledged and closes the window instead of "
    "being lost") {
  Talk t = established({.credit = 8192});
  t.guest_sends(t.text(0, 6000));
  t.stash(5000);  // a short write
  const Transmit s = t.expect();
  CHECK(s.ack == t.guest(6000));
  CHECK(s.window == 3192);
}

TEST_CASE("tcp trap 3dde0e0 1a83487: retransmissions back off, up to a ceiling") {
  Talk t = established();
  t.host_sends(100);
  (void)t.drain();
  std::vector<Duration> gaps;
  Instant last = t.now;
  for (int i = 0; i < 15; ++i) {
    const Instant at = t.tcp.deadline();
    gaps.push_back(at - last);
    (void)t.wait(at - t.now);
    last = at;
  }
  CHECK(gaps[0] == 60ms);
  CHECK(gaps[1] == 120ms);
  CHECK(gaps[2] == 240ms);
  CHECK(gaps[14] == 60s);
  CHECK(*std::ranges::max_element(gaps) == 60s);
}

TEST_CASE(
    "tcp trap 920a479 a458719 2b5c906 831857e: the window is what is free, never what is total, never "
    "boosted") {
  Talk t = established({.credit = 65535});
  std::uint32_t at = 0;
  for (int i = 0; i < 40; ++i, at += 1400) {
    t.guest_sends(t.text(at, 1400));
    CHECK(t.deliver.length == 1400);
    t.stash(at + 1400);  // the host takes nothing at all
    (void)t.drain();
    CHECK(t.tcp.promised() <= 65535);
  }
}

TEST_CASE(
    "tcp trap 000601b 9139e60: an upload is acknowledged by arrival, not by a timer or by the far end") {
  Talk t = established();
  for (std::uint32_t i = 0; i < 100; ++i) {
    t.guest_sends(t.text(i * 2920, 1460));
    t.guest_sends(t.text(i * 2920 + 1460, 1460));
    CHECK(t.expect().ack == t.guest((i + 1) * 2920));
  }
}

TEST_CASE("tcp trap 28f413d: the window update after a zero window is sent") {
  Talk t = established({.credit = 8192});
  t.guest_sends(t.text(0, 8192));
  t.stash(8192);
  CHECK(t.expect().window == 0);
  t.expect_nothing();
  t.stash(0);
  CHECK(t.actions.transmit);
  CHECK(t.expect().window == 8192);
}

TEST_CASE("tcp trap cf1925f b40f5cd 2be0e79: a silly window is withheld, but never with an empty stash") {
  Talk t = established({.credit = 1000});  // less than one MSS for ever
  t.guest_sends(t.text(0, 1000));
  t.stash(1000);
  CHECK(t.expect().window == 0);
  t.stash(900);
  t.expect_nothing();
  t.stash(0);
  CHECK(t.expect().window == 1000);
  CHECK(t.wait(1ms).empty());
}

TEST_CASE("tcp trap e0f1330 c93515c: one event never yields three equal ACKs to a guest that reads SACK") {
  Talk t = established();
  for (std::uint32_t i = 0; i < 5; ++i) t.guest_sends(t.text(1000 + i * 100, 100));
  CHECK(t.drain().size() == 1);
  t.guest_sends(t.text(1000, 100));
  CHECK(t.drain().size() == 1);
}

TEST_CASE("tcp trap aa809d3: keepalives of the guest are answered and told to the driver") {
  for (const std::uint32_t garbage : {0U, 1U}) {
    Talk t = established();
    t.guest_sends(t.text(static_cast<std::uint32_t>(-1), garbage));
    CHECK(t.actions.probe_host);
    CHECK(t.deliver.length == 0);
    CHECK(t.expect().ack == t.guest(0));
  }
}

TEST_CASE("tcp trap cce94e9: the guest's RST reaches the far end as RST in every state") {
  for (Talk t : {syn_ack_sent(), established(), guest_closed(), host_closed(), closing(), last_ack()}) {
    CAPTURE(t.tcp.state());
    const bool fin_taken = t.tcp.state() == State::kGuestClosed || t.tcp.state() == State::kBothClosed;
    t.guest_sends(t.rst(fin_taken ? 1 : 0));
    CHECK(t.actions.end);
    CHECK(t.actions.reset_host);
    t.expect_nothing();
  }
}

TEST_CASE("tcp trap e992b14 3581ded: a lone FIN is repeated, and nobody times out who answered it") {
  Talk t = host_closed();
  const auto sent = t.wait(200ms);
  REQUIRE(sent.size() == 2);
  for (const auto& s : sent) {
    CHECK(s.fin);
    CHECK(s.seq == t.host(0));
  }
  t.guest_sends(t.text(0, 0, 1));
  CHECK(t.wait(29min).empty());
  CHECK(t.tcp.state() == State::kHostClosed);
}

TEST_CASE(
    "tcp trap e48ce41 1820103 d2f7c21: a guest that vanished leaves nothing behind, in any half-closed "
    "state") {
  for (Talk t :
       {established(), guest_closed(), host_closed(), closing(), last_ack(), time_wait(), syn_ack_sent()}) {
    CAPTURE(t.tcp.state());
    (void)t.wait(2h);
    CHECK(t.tcp.state() == State::kClosed);
    CHECK(t.actions.end);
  }
}

TEST_CASE("tcp trap podman 22146: window updates and probes carry the ACK flag") {
  Talk t = established({.credit = 8192});
  t.guest_sends(t.text(0, 8192));
  t.stash(8192);
  CHECK(t.expect().ack_flag);
  t.stash(0);
  CHECK(t.expect().ack_flag);
  for (const auto& s : t.wait(31min)) CHECK(s.ack_flag);
}

TEST_CASE("tcp trap podman 29731: a 4-tuple in TIME-WAIT is recycled by a newer SYN, not reset") {
  Talk t = time_wait();
  Segment s = t.syn();
  s.seq = t.guest(2);
  t.guest_sends(s);
  CHECK(t.actions.reopen);
  t.expect_nothing();
}

}  // namespace
}  // namespace cordon::tcp::test
