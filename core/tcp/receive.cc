// Guest -> host: acceptance, ordering, the window we offer, and when we acknowledge.
//
// ACK policy. The driver pulls at the end of each batch, so "now" means once per batch. Bulk data is
// acknowledged when two segments' worth, or half of the open window, has gathered; also at once: the first
// full-sized segments of a connection (the guest's slow start counts ACKs), anything that fills or leaves a
// gap, a FIN that answers ours, and window updates. A lone small segment, typically a request, and a FIN that
// comes first wait up to 10 ms: the reply, or the remote end's FIN, arrives within 100 us as a rule and
// carries the ACK, which saves a frame each way. 10 ms is well below every guest's retransmission time-out.
#include <algorithm>

#include "core/tcp/connection.h"

namespace cordon::tcp {

namespace {
constexpr std::uint8_t kChallengesPerSecond = 5;
constexpr std::uint8_t kMaxDupAcks = 3;  // per batch, for guests without SACK: what fast retransmit needs
constexpr std::uint16_t kFullSized = 1000;
constexpr std::uint32_t kMaxField = 65535;

constexpr std::uint32_t span(net::SeqNum from, net::SeqNum to) {
  return static_cast<std::uint32_t>(to.distance_from(from));
}
}  // namespace

Connection::SegmentResult Connection::on_segment(const Segment& segment, base::Instant now) {
  SegmentResult result;
  if (state_ == State::kClosed) {
    result.verdict = Verdict::kClosed;
    return result;
  }
  last_guest_ = now;
  keep_probes_ = 0;
  keepalive_due_ = false;
  const bool go_on =
      synchronised() ? accept(segment, result, now) : on_handshake_segment(segment, result, now);
  if (go_on && process_ack(segment, result, now) && synchronised()) take_payload(segment, result, now);
  result.actions = settle(result.actions, now);
  return result;
}

// RFC 9293 3.10.7.4 up to the ACK, with RFC 5961 for RST and SYN. True when the ACK and the text count.
bool Connection::accept(const Segment& segment, SegmentResult& result, base::Instant now) {
  if (segment.rst) {
    if (segment.seq == rcv_nxt_) {
      on_guest_reset(result.actions);
      return false;
    }
    result.verdict = Verdict::kOutOfWindow;
    if (segment.seq.in_window(rcv_nxt_, open_window())) challenge(now);
    return false;
  }
  if (segment.syn) {
    result.verdict = Verdict::kUnexpectedSyn;
    if (state_ == State::kTimeWait && !segment.ack_flag && !segment.fin && segment.seq.after(rcv_nxt_)) {
      enter(State::kClosed);  // RFC 9293 3.10.7.4, RFC 6191: a new incarnation may begin
      result.actions.end = result.actions.reopen = true;
    } else {
      challenge(now);
    }
    return false;
  }
  if (!segment.ack_flag) {
    result.verdict = Verdict::kNoAck;
    return false;
  }
  return accept_position(segment, result, now);
}

bool Connection::accept_position(const Segment& segment, SegmentResult& result, base::Instant now) {
  const std::uint32_t length = segment.payload + (segment.fin ? 1U : 0U);
  const net::SeqNum end = segment.seq + length;
  const bool old = length == 0 ? segment.seq.before(rcv_nxt_) : !end.after(rcv_nxt_);
  if (old) {
    result.verdict = Verdict::kDuplicate;
    // Retransmissions are always answered. Empty segments (keepalives, window probes) at a limited rate, or
    // two confused ends would answer each other for ever.
    if (length > 0) ack_now();
    if (length == 0) challenge(now);
    if (segment.payload <= 1 && !segment.fin && segment.seq + 1U == rcv_nxt_)
      result.actions.probe_host = true;
    return false;
  }
  // The right edge itself is let through: a guest that filled the window numbers its pure ACKs so, and RFC
  // 9293 wants ACKs processed when the window is zero. Its payload is trimmed away later.
  if (segment.seq.after(rcv_adv_)) {
    result.verdict = Verdict::kOutOfWindow;
    if (length > 0) ack_now();
    if (length == 0) challenge(now);
    return false;
  }
  return true;
}

void Connection::take_payload(const Segment& segment, SegmentResult& result, base::Instant now) {
  if (guest_fin_) {
    if (segment.payload > 0 || segment.fin) {
      result.verdict = Verdict::kAfterFin;
      ack_now();
    }
    return;
  }
  if (segment.payload == 0 && !segment.fin) return;
  Deliver& deliver = result.deliver;
  net::SeqNum start = segment.seq;
  std::uint32_t length = segment.payload;
  if (start.before(rcv_nxt_)) {  // acceptance says: something at or behind rcv_nxt is new
    deliver.offset = std::min(span(start, rcv_nxt_), length);
    start += deliver.offset;
    length -= deliver.offset;
  }
  length = std::min(length, span(start, rcv_adv_));
  if (length > 0) {
    if (start == rcv_nxt_) {
      take_in_order(start, length, deliver);
    } else {
      result.verdict = hold(start, length, deliver);
    }
  }
  // A FIN counts only when every byte before it is here; otherwise the guest sends it again.
  const bool end = segment.fin && segment.seq + segment.payload == rcv_nxt_;
  if (segment.payload > 0 || !end) decide_ack(segment, deliver, now);
  if (end) take_guest_fin(result.actions, now);
}

// First bytes win: what a held range covers already is not taken again, and a segment that spans one is cut
// at it.
void Connection::take_in_order(net::SeqNum start, std::uint32_t length, Deliver& deliver) {
  if (const auto next = held_.next_from(start)) length = std::min(length, span(start, next->left));
  deliver.length = length;
  rcv_nxt_ += length;
  if (const auto joined = held_.covering(rcv_nxt_)) {
    deliver.unlocked = span(rcv_nxt_, joined->right);
    rcv_nxt_ = joined->right;
  }
  held_.drop_before(rcv_nxt_);
}

Verdict Connection::hold(net::SeqNum start, std::uint32_t length, Deliver& deliver) {
  if (const auto have = held_.covering(start)) {
    const std::uint32_t skip = std::min(span(start, have->right), length);
    (void)held_.insert(*have);  // most recent first
    deliver.offset += skip;
    start += skip;
    length -= skip;
  }
  if (length == 0) return Verdict::kTaken;
  if (const auto next = held_.next_from(start)) length = std::min(length, span(start, next->left));
  if (length == 0) return Verdict::kTaken;
  if (!held_.insert({start, start + length})) return Verdict::kNoRoom;
  deliver.length = length;
  deliver.ahead = span(rcv_nxt_, start);
  return Verdict::kTaken;
}

void Connection::decide_ack(const Segment& segment, const Deliver& deliver, base::Instant now) {
  const auto size = static_cast<std::uint16_t>(std::min<std::uint32_t>(segment.payload, our_mss_));
  rcv_mss_ = std::max(rcv_mss_, size);
  const bool in_order = deliver.length > 0 && deliver.ahead == 0;
  if (in_order) unacked_ += deliver.length + deliver.unlocked;
  const bool all_taken = segment.seq + segment.payload == rcv_nxt_;
  if (!in_order && !sack_ && !held_.empty()) {
    // Without SACK the guest counts duplicates, so each such segment is answered for itself.
    acks_due_ = std::min<std::uint8_t>(static_cast<std::uint8_t>(acks_due_ + 1), kMaxDupAcks);
    return;
  }
  const bool full_sized = segment.payload >= kFullSized && quick_acks_ > 0;
  if (full_sized) --quick_acks_;
  if (!in_order || !all_taken || deliver.unlocked > 0 || !held_.empty() || full_sized ||
      unacked_ >= 2U * rcv_mss_ || unacked_ >= open_window()) {
    ack_now();
  } else if (ack_deadline_ == base::Instant::never()) {
    ack_deadline_ = now + kDelayedAck;
  }
}

// An ACK that nothing requires for progress: at most a few each second (RFC 5961 section 7).
void Connection::challenge(base::Instant now) {
  const auto second = static_cast<std::uint32_t>(now.nanos() / 1'000'000'000);
  if (second != challenge_second_) {
    challenge_second_ = second;
    challenges_ = 0;
  }
  if (challenges_ >= kChallengesPerSecond) return;
  ++challenges_;
  ack_now();
}

std::uint32_t Connection::open_window() const {
  const std::int32_t open = rcv_adv_.distance_from(rcv_nxt_);
  return open > 0 ? static_cast<std::uint32_t>(open) : 0;
}

// Where the right edge could be now: accepted bytes plus free stash, in units the window field can express.
//
// Silly window (RFC 9293 3.8.6.2.2): no small step while the stash holds something; with an empty stash the
// edge always moves, so a closed window cannot outlive its cause.
net::SeqNum Connection::desired_edge() const {
  const std::uint32_t free = credit_ > stashed_ ? credit_ - stashed_ : 0;
  if (stashed_ > 0 && free < std::min<std::uint32_t>(our_mss_, credit_ / 2)) return rcv_adv_;
  const std::uint32_t field = std::min(free >> rcv_shift_, kMaxField);
  const net::SeqNum edge = rcv_nxt_ + (field << rcv_shift_);
  return edge.after(rcv_adv_) ? edge : rcv_adv_;
}

bool Connection::window_update_due() const {
  const net::SeqNum edge = desired_edge();
  const std::uint32_t gain = span(rcv_adv_, edge);
  if (gain == 0) return false;
  if ((open_window() >> rcv_shift_) == 0 && (span(rcv_nxt_, edge) >> rcv_shift_) > 0) return true;
  return gain >= std::min<std::uint32_t>(2U * our_mss_, credit_ / 2);
}

// The window field of a segment that leaves now; this is where the right edge moves. Scaling rounds down, so
// on the wire the edge may seem to retreat by less than one unit; what was once promised is accepted all the
// same (RFC 7323 2.4). Rounding up instead would promise stash that does not exist.
std::uint16_t Connection::advertise(bool syn) {
  const std::uint8_t shift = syn ? std::uint8_t{0} : rcv_shift_;
  if (!guest_fin_) {
    net::SeqNum edge = desired_edge();
    if (syn && span(rcv_nxt_, edge) > kMaxField)
      edge = rcv_nxt_ + kMaxField;  // never scaled in a SYN (RFC 7323 2.2)
    if (edge.after(rcv_adv_)) rcv_adv_ = edge;
  }
  return static_cast<std::uint16_t>(std::min(open_window() >> shift, kMaxField));
}

}  // namespace cordon::tcp
