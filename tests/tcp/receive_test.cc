// Guest -> host.
#include <string_view>

#include "tests/tcp/talk.h"

namespace cordon::tcp::test {
namespace {

TEST_CASE("tcp: in-order data is delivered and a request's ACK waits for the reply to carry it") {
  Talk t = established();
  t.guest_sends(t.text(0, 100));
  CHECK(t.deliver.length == 100);
  CHECK(t.deliver.ahead == 0);
  t.expect_nothing();
  t.host_sends(50);
  const Transmit s = t.expect();
  CHECK(s.payload == 50);
  CHECK(s.ack == t.guest(100));
  CHECK(t.wait(50ms).empty());
}

TEST_CASE("tcp: without a reply the ACK leaves after 10 ms") {
  Talk t = established();
  t.guest_sends(t.text(0, 100));
  CHECK(t.wait(9ms).empty());
  const auto sent = t.wait(1ms);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].ack == t.guest(100));
  CHECK(sent[0].payload == 0);
}

TEST_CASE("tcp: bulk data is acknowledged at the end of the batch, every second segment") {
  Talk t = established();
  std::uint32_t at = 0;
  for (int i = 0; i < 20; ++i, at += 1460) t.guest_sends(t.text(at, 1460));  // slow start over
  CHECK(t.drain().size() == 1);
  t.guest_sends(t.text(at, 1460));
  t.expect_nothing();
  t.guest_sends(t.text(at + 1460, 1460));
  CHECK(t.expect().ack == t.guest(at + 2920));
  t.guest_sends(t.text(at + 2920, 40000));  // a super-segment alone
  CHECK(t.expect().ack == t.guest(at + 42920));
}

TEST_CASE("tcp: segments are trimmed on both sides") {
  struct Case {
    std::string_view name;
    std::uint32_t from, length;
    std::uint32_t offset, taken;
  };
  for (const Case& c :
       {Case{"left overlap", 50, 100, 50, 50}, Case{"all known", 0, 100, 0, 0},
        Case{"spans all known", 0, 200, 100, 100}, Case{"beyond the window", 100, 5000, 0, 3996}}) {
    CAPTURE(c.name);
    Talk t = established({.credit = 4096});
    t.guest_sends(t.text(0, 100));  // the promise stays 4096 from the start until the next ACK
    t.guest_sends(t.text(c.from, c.length));
    CHECK(t.deliver.offset == c.offset);
    CHECK(t.deliver.length == c.taken);
  }
}

TEST_CASE("tcp: out-of-order data is held, SACKed most recent first, and unlocked when the gap fills") {
  Talk t = established();
  t.guest_sends(t.text(100, 50));
  CHECK(t.deliver.ahead == 100);
  CHECK(t.deliver.length == 50);
  t.guest_sends(t.text(300, 50));
  const Transmit s = t.expect();
  CHECK(s.ack == t.guest(0));
  REQUIRE(s.sack_count == 2);
  CHECK(s.sack[0] == SackBlock{t.guest(300), t.guest(350)});
  CHECK(s.sack[1] == SackBlock{t.guest(100), t.guest(150)});
  t.guest_sends(t.text(0, 100));
  CHECK(t.deliver.length == 100);
  CHECK(t.deliver.unlocked == 50);
  const Transmit u = t.expect();
  CHECK(u.ack == t.guest(150));
  REQUIRE(u.sack_count == 1);
  CHECK(u.sack[0] == SackBlock{t.guest(300), t.guest(350)});
}

TEST_CASE("tcp: first bytes win where out-of-order segments overlap") {
  Talk t = established();
  t.guest_sends(t.text(100, 100));
  t.guest_sends(t.text(150, 100));  // 150..199 are held already
  CHECK(t.deliver.offset == 50);
  CHECK(t.deliver.length == 50);
  CHECK(t.deliver.ahead == 200);
  t.guest_sends(t.text(50, 100));  // cut at 100
  CHECK(t.deliver.length == 50);
  CHECK(t.deliver.ahead == 50);
  t.guest_sends(t.text(0, 300));
  CHECK(t.deliver.length == 50);
  CHECK(t.deliver.unlocked == 200);
}

TEST_CASE("tcp: a fifth gap is not held, and said so") {
  Talk t = established();
  for (std::uint32_t i = 1; i <= 4; ++i) CHECK(t.guest_sends(t.text(i * 100, 10)) == Verdict::kTaken);
  CHECK(t.guest_sends(t.text(500, 10)) == Verdict::kNoRoom);
  CHECK(t.deliver.length == 0);
  CHECK(t.expect().sack_count == 3);
}

TEST_CASE("tcp: a guest without SACK gets one duplicate ACK per segment, three at most") {
  Talk t = established({.sack = false});
  for (std::uint32_t i = 0; i < 5; ++i) t.guest_sends(t.text(100 + i * 10, 10));
  const auto sent = t.drain();
  CHECK(sent.size() == 3);
  for (const auto& s : sent) {
    CHECK(s.ack == t.guest(0));
    CHECK(s.sack_count == 0);
    CHECK(s.window == sent[0].window);
  }
}

TEST_CASE("tcp: the window is credit: it closes as the stash fills and never moves left") {
  Talk t = established({.credit = 8192});
  t.guest_sends(t.text(0, 8192));
  t.stash(8192);
  CHECK(t.expect().window == 0);
  CHECK(t.tcp.promised() == 8192);
  t.guest_sends(t.text(8192, 1));  // probe
  CHECK(t.deliver.length == 0);
  CHECK(t.expect().ack == t.guest(8192));
  t.stash(8000);  // 192 bytes: silly
  t.expect_nothing();
  t.stash(4096);
  const Transmit s = t.expect();
  CHECK(s.window == 4096);
  CHECK(t.tcp.promised() == 8192);
}

TEST_CASE("tcp: acceptance by RFC 9293 3.10.7.4") {
  struct Case {
    std::string_view name;
    std::int32_t from;
    std::uint32_t length;
    Verdict want;
    bool answered;
  };
  for (const Case& c : {
           Case{"keepalive without byte", 99, 0, Verdict::kDuplicate, true},
           Case{"keepalive with byte", 99, 1, Verdict::kDuplicate, true},
           Case{"old data", 0, 100, Verdict::kDuplicate, true},
           Case{"far in the past", -1'000'000, 10, Verdict::kDuplicate, true},
           Case{"pure ACK at the right edge", 65535, 0, Verdict::kTaken, false},
           Case{"right of the window", 65536 + 100, 10, Verdict::kOutOfWindow, true},
           Case{"far right", 1'000'000'000, 10, Verdict::kOutOfWindow, true},
       }) {
    CAPTURE(c.name);
    Talk t = established();
    t.guest_sends(t.text(0, 100));
    (void)t.wait(10ms);
    CHECK(t.guest_sends(t.text(static_cast<std::uint32_t>(c.from), c.length)) == c.want);
    CHECK(t.deliver.length == 0);
    CHECK(t.drain().size() == (c.answered ? 1 : 0));
  }
}

TEST_CASE("tcp: segments without ACK are dropped silently") {
  Talk t = established();
  Segment s = t.text(0, 10);
  s.ack_flag = false;
  CHECK(t.guest_sends(s) == Verdict::kNoAck);
  s.fin = s.psh = true;
  CHECK(t.guest_sends(s) == Verdict::kNoAck);
  t.expect_nothing();
}

TEST_CASE("tcp: ACKs of unsent data and from the far past are answered, not believed") {
  Talk t = established();
  t.host_sends(100);
  (void)t.drain();
  CHECK(t.guest_sends(t.text(0, 10, 101)) == Verdict::kBadAck);
  CHECK(t.deliver.length == 0);
  CHECK(t.actions.released == 0);
  CHECK(t.drain().size() == 1);
  Segment old = t.text(0, 10);
  old.ack = t.host(0) - 100'000U;
  CHECK(t.guest_sends(old) == Verdict::kBadAck);
}

TEST_CASE("tcp: RST counts only at rcv_nxt, within the window it is challenged (RFC 5961)") {
  Talk t = established();
  CHECK(t.guest_sends(t.rst(1)) == Verdict::kOutOfWindow);
  CHECK(t.expect().ack == t.guest(0));
  CHECK(t.guest_sends(t.rst(70000)) == Verdict::kOutOfWindow);
  t.expect_nothing();
  CHECK_FALSE(t.actions.end);
  t.guest_sends(t.rst(0));
  CHECK(t.actions.end);
  CHECK(t.actions.reset_host);
  t.expect_nothing();
}

TEST_CASE("tcp: a SYN on a live connection is challenged, at a limited rate (RFC 5961)") {
  Talk t = established();
  std::size_t answers = 0;
  for (int i = 0; i < 1000; ++i) {
    Segment s = t.syn();
    s.seq = SeqNum{static_cast<std::uint32_t>(i) * 77'777U};
    CHECK(t.guest_sends(s) == Verdict::kUnexpectedSyn);
    answers += t.drain().size();
  }
  CHECK(answers == 5);
  CHECK(t.tcp.state() == State::kEstablished);
  (void)t.wait(1s);
  t.guest_sends(t.syn());
  CHECK(t.drain().size() == 1);
}

TEST_CASE("tcp: two ends that find each other's empty segments wrong do not answer for ever") {
  Talk t = established();
  std::size_t answers = 0;
  for (int i = 0; i < 100'000; ++i) {
    t.guest_sends(t.text(static_cast<std::uint32_t>(-5000), 0));
    answers += t.drain().size();
  }
  CHECK(answers <= 5);
}

}  // namespace
}  // namespace cordon::tcp::test
