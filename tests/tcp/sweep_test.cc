// Every state x every flag combination x sequence class x ACK class x payload, each followed by an honest
// guest's segment and by time: the invariants hold, and the reaction is the one RFC 9293 and RFC 5961 name.
#include <cstdint>

#include "tests/tcp/invariants.h"
#include "tests/tcp/talk.h"

namespace cordon::tcp::test {
namespace {

constexpr std::uint32_t kWindow = 8192;

Checked in_state(State want, bool sack) {
  Setup setup{.sack = sack, .our_isn = 0xfffffff0};
  if (want == State::kSynSent) {
    Checked dialling{SeqNum{setup.guest_isn},
                     {.isn = SeqNum{setup.our_isn}, .mss = 1460, .initial_credit = kWindow},
                     Instant::from_nanos(1)};
    dialling.drain();
    return dialling;
  }
  Checked c{Talk::syn(setup),
            {.isn = SeqNum{setup.our_isn}, .mss = 1460, .initial_credit = kWindow},
            Instant::from_nanos(1)};
  const auto guest = [&](std::uint32_t payload, bool fin) {
    c.segment({.seq = c.rcv_nxt(),
               .ack = c.snd_max(),
               .ack_flag = true,
               .fin = fin,
               .window = 5000,
               .payload = payload});
    c.drain();
  };
  if (want == State::kSynReceived) return c;
  c.granted();
  c.drain();
  if (want == State::kSynAckSent) return c;
  guest(0, false);
  guest(500, false);
  c.host_data(3000);
  c.drain();
  if (want == State::kEstablished) return c;
  if (want == State::kGuestClosed || want == State::kBothClosed) {
    c.segment({.seq = c.rcv_nxt(), .ack = c.snd_una(), .ack_flag = true, .fin = true, .window = 5000});
    c.drain();
  }
  if (want == State::kGuestClosed) return c;
  c.host_eof();
  c.drain();
  if (want == State::kTimeWait) guest(0, true);
  return c;
}

struct Shot {
  State state;
  unsigned flags;
  int seq_class, ack_class;
  std::uint32_t payload;
  bool believable_ack = true;  // RFC 5961 section 5
};

Segment aim(const Checked& c, const Shot& shot) {
  constexpr std::int64_t kSeq[] = {0,       -1,          1,          -501,       kWindow - 1,
                                   kWindow, kWindow + 1, 0x7fffffff, -0x7fffffff};
  const SeqNum una = c.snd_una(), max = c.snd_max();
  const SeqNum acks[] = {max, una, max + 1U, una - 1U, una - 0x10000000U, SeqNum{0}};
  Segment s;
  s.seq = c.rcv_nxt() + static_cast<std::uint32_t>(kSeq[shot.seq_class]);
  s.ack = acks[shot.ack_class];
  s.fin = (shot.flags & 1U) != 0;
  s.syn = (shot.flags & 2U) != 0;
  s.rst = (shot.flags & 4U) != 0;
  s.psh = (shot.flags & 8U) != 0;
  s.ack_flag = (shot.flags & 16U) != 0;
  s.window = 5000;
  s.payload = shot.payload;
  return s;
}

// The expected reaction, as far as it is one rule for all states.
void judge(const Checked& c, const Shot& shot, const Segment& s, State before, std::uint64_t delivered,
           Verdict verdict) {
  const bool synchronised = before >= State::kEstablished && before < State::kClosed;
  const bool nothing_new = c.delivered() == delivered;
  if (before == State::kSynSent) {
    const bool acceptable = s.ack_flag && s.ack == c.snd_una();  // RFC 9293 3.10.7.3
    CHECK(nothing_new);
    CHECK(c.ended() == (s.rst && acceptable));
    CHECK((c.state() == State::kEstablished) == (s.syn && !s.rst && acceptable));
    return;
  }
  if (s.rst) {
    const bool exact = shot.seq_class == 0 || (before == State::kSynReceived && shot.seq_class == 1);
    CHECK(c.ended() == exact);
    CHECK(nothing_new);
    return;
  }
  if (s.syn) {
    CHECK(nothing_new);
    CHECK(c.ended() == (before == State::kTimeWait && !s.ack_flag && !s.fin && s.seq.after(c.rcv_nxt())));
    return;
  }
  if (!s.ack_flag || !synchronised) {
    if (before != State::kSynAckSent || !s.ack_flag) {
      CHECK(nothing_new);
      CHECK(c.state() == before);
      CHECK(verdict != Verdict::kTaken);
    }
    return;
  }
  const bool may_deliver =
      shot.believable_ack && (before == State::kEstablished || before == State::kHostClosed);
  if (!may_deliver) CHECK(nothing_new);
  if (may_deliver && shot.seq_class == 0) CHECK(c.delivered() == delivered + shot.payload);
  if (may_deliver && shot.seq_class == 0 && s.fin)
    CHECK((c.state() == State::kGuestClosed || c.state() == State::kBothClosed ||
           c.state() == State::kTimeWait));
}

TEST_CASE("tcp: states x flags x sequence x ACK x payload keep every invariant") {
  std::uint32_t shots = 0;
  for (const bool sack : {true, false})
    for (const State state : {State::kSynReceived, State::kSynAckSent, State::kSynSent, State::kEstablished,
                              State::kGuestClosed, State::kHostClosed, State::kBothClosed, State::kTimeWait})
      for (unsigned flags = 0; flags < 32; ++flags)
        for (int seq = 0; seq < 9; ++seq)
          for (int ack = 0; ack < 6; ++ack)
            for (const std::uint32_t payload : {0U, 1U, 1460U}) {
              Shot shot{state, flags, seq, ack, payload};
              Checked c = in_state(state, sack);
              REQUIRE(c.state() == state);
              const Segment s = aim(c, shot);
              shot.believable_ack = !s.ack.after(c.snd_max()) && !s.ack.before(c.snd_una() - 5000U);
              const std::uint64_t delivered = c.delivered();
              CAPTURE(state);
              CAPTURE(flags);
              CAPTURE(seq);
              CAPTURE(ack);
              CAPTURE(payload);
              const Verdict verdict = c.segment(s);
              judge(c, shot, s, state, delivered, verdict);
              c.drain();
              c.segment(s);  // the same once more
              c.drain();
              c.segment(
                  {.seq = c.rcv_nxt(), .ack = c.snd_max(), .ack_flag = true, .window = 5000, .payload = 10});
              for (int i = 0; i < 5; ++i) c.pass(1s);
              REQUIRE(c.violation() == "");
              ++shots;
            }
  CHECK(shots == 2 * 8 * 32 * 9 * 6 * 3);
}

}  // namespace
}  // namespace cordon::tcp::test
