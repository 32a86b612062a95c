// What the guest's ACKs tell: progress, window, losses.
//
// No congestion control: the link to the guest is memory, its only queue is the guest's own receive queue,
// and the guest's window plus the driver's ring bound what is in flight. What congestion control must still
// do after a time-out is done by sending one segment at a time until something is acknowledged
// (plan_fresh()).
#include <algorithm>

#include "core/tcp/connection.h"

namespace cordon::tcp {

// RFC 9293 3.10.7.4, fifth check. False: the segment is dropped.
bool Connection::process_ack(const Segment& segment, SegmentResult& result, base::Instant now) {
  // RFC 5961 section 5: neither the future nor the distant past is acknowledged.
  if (segment.ack.after(snd_max_) || segment.ack.before(snd_una_ - max_snd_wnd_)) {
    result.verdict = Verdict::kBadAck;
    challenge(now);
    return false;
  }
  if (segment.ack.after(snd_una_)) {
    advance(segment.ack, result.actions, now);
    if (state_ == State::kClosed) return false;
  }
  const bool window_changed = update_window(segment);
  if (snd_nxt_ == snd_una_) rto_.answered();
  record_sack(segment);
  const bool duplicate = segment.ack == snd_una_ && result.actions.released == 0 && segment.payload == 0 &&
                         !segment.fin && snd_nxt_.after(snd_una_) &&
                         (!window_changed || segment.sack_count > 0);
  if (duplicate && dup_acks_ < 255) ++dup_acks_;
  detect_loss();
  return true;
}

void Connection::advance(net::SeqNum ack, Actions& actions, base::Instant now) {
  const auto acked = static_cast<std::uint32_t>(ack.distance_from(snd_una_));
  const std::uint32_t data = std::min(acked, ring_bytes_);
  snd_una_ = ack;
  ring_bytes_ -= data;
  actions.released = data;
  actions.release = data > 0;
  if (snd_nxt_.before(ack)) snd_nxt_ = ack;
  if (sacked_.covering(ack)) {
    sacked_.clear();  // acknowledged only into a range it had SACKed: nothing it said can be relied on
  } else {
    sacked_.drop_before(ack);
  }
  dup_acks_ = 0;
  probe_due_ = false;
  if (rtt_timing_ && !ack.before(rtt_seq_)) {
    rto_.sample(now - rtt_start_);
    rtt_timing_ = false;
  }
  rto_.progress();
  rto_deadline_ = base::Instant::never();  // armed anew by rearm()
  if (recovering_) {
    if (!ack.before(recover_)) {
      recovering_ = rexmit_one_ = false;
    } else {
      if (rexmit_.before(ack)) rexmit_ = ack;
      // Partial ACK and nothing known above it: the next segment is lost too (RFC 6582 3.2).
      if (sacked_.empty()) rexmit_one_ = true;
    }
  }
  if (acked > data) on_fin_acked(actions, now);
}

// True when the right edge or the size differs from before.
bool Connection::update_window(const Segment& segment) {
  const bool newer =
      snd_wl1_.before(segment.seq) || (snd_wl1_ == segment.seq && !segment.ack.before(snd_wl2_));
  if (!newer || segment.ack.before(snd_una_)) return false;
  snd_wl1_ = segment.seq;
  snd_wl2_ = segment.ack;
  const std::uint32_t window = static_cast<std::uint32_t>(segment.window) << snd_shift_;
  max_snd_wnd_ = std::max(max_snd_wnd_, window);
  const net::SeqNum right = segment.ack + window;
  if (right == snd_right_) return false;
  const bool grew = right.after(snd_right_);
  snd_right_ = right;
  if (grew && snd_nxt_ == snd_una_) {  // it was closed: waiting is over
    rto_.progress();
    rto_deadline_ = base::Instant::never();
    probe_due_ = false;
  }
  // A window that shrinks below what was sent takes it back: nothing right of it is in flight any more, and
  // it is sent again when the window opens. snd_max_ remembers, should the guest acknowledge it after all.
  if (snd_nxt_.after(right)) {
    snd_nxt_ = right.before(snd_una_) ? snd_una_ : right;
    rtt_timing_ = false;
    if (snd_nxt_ == snd_una_) {
      recovering_ = rexmit_one_ = false;
      dup_acks_ = 0;
    }
  }
  return true;
}

void Connection::record_sack(const Segment& segment) {
  if (!sack_) return;
  for (std::uint8_t i = 0; i < std::min<std::uint8_t>(segment.sack_count, 4); ++i) {
    const SackBlock& block = segment.sack[i];
    // Also skips D-SACK (RFC 2883) and nonsense.
    if (!block.left.after(snd_una_) || !block.right.after(block.left) || block.right.after(snd_max_))
      continue;
    (void)sacked_.insert(block);  // all places taken: that range may be sent twice
  }
}

// Fast retransmit (RFC 5681 3.2; RFC 6675 IsLost for the first hole; RFC 6582 without SACK). In recovery
// every hole below the highest SACKed byte counts as lost: this link hardly reorders, and the cost of an
// error is one segment.
void Connection::detect_loss() {
  if (recovering_ || !snd_nxt_.after(snd_una_)) return;
  if (sack_) {
    if (sacked_.empty() || (dup_acks_ < 3 && sacked_.bytes() < 3U * mss_)) return;
    const net::SeqNum top = sacked_.highest(snd_una_);
    if (snd_nxt_.before(top)) {  // a go-back is under way: it goes on above what the guest has
      if (top.after(snd_right_)) return;
      snd_nxt_ = top;
    }
  } else {
    if (dup_acks_ < 3 || snd_una_.before(recover_)) return;
    rexmit_one_ = true;
  }
  recovering_ = true;
  recover_ = snd_max_;
  rexmit_ = snd_una_;
}

// Retransmission time-out, SYN repeat, or zero-window probe: whichever the situation means.
void Connection::on_retransmission_timeout(Actions& actions) {
  rto_deadline_ = base::Instant::never();
  if (!rto_.back_off()) return end_with_reset(actions);
  rtt_timing_ = false;  // Karn
  if (opening()) {
    syn_due_ = true;
    return;
  }
  if (snd_nxt_ == snd_una_) {
    probe_due_ = blocked();
    return;
  }
  sacked_.clear();  // the guest may have reneged (RFC 2018 section 8); it will say again what it holds
  go_back();
}

// Everything in flight counts as lost.
void Connection::go_back() {
  snd_nxt_ = snd_una_;
  recovering_ = rexmit_one_ = rtt_timing_ = false;
  recover_ = snd_max_;
  dup_acks_ = 0;
}

Actions Connection::on_smaller_segments(net::SeqNum sequence, std::uint32_t mss, base::Instant now) {
  const bool in_flight = !sequence.before(snd_una_) && sequence.before(snd_max_);
  if (!synchronised() || !in_flight || mss >= mss_) return settle({}, now);
  limit_segments(mss);
  go_back();
  return settle({}, now);
}

Actions Connection::on_unreachable(net::SeqNum sequence, base::Instant now) {
  Actions actions;
  if (state_ == State::kSynSent && sequence == snd_una_ && snd_max_ != snd_una_) on_guest_reset(actions);
  return settle(actions, now);
}

}  // namespace cordon::tcp
