// The three-way handshake, from the side that answers and from the side that asks.
#include <algorithm>

#include "core/tcp/connection.h"

namespace cordon::tcp {

namespace {
constexpr std::uint16_t kDefaultMss4 = 536;  // RFC 9293 3.7.1
constexpr std::uint16_t kDefaultMss6 = 1220;
// A guest that asks for less is given this much per segment: below it headers outweigh data and one ACK would
// cost the host dozens of frames.
constexpr std::uint16_t kMinMss = 88;
constexpr std::uint8_t kMaxScale = 14;  // RFC 7323 2.3
}  // namespace

// Our half; what it means is known when the guest's half is: see negotiate().
void Connection::offer(const Config& config) {
  our_mss_ = std::max(config.mss, kMinMss);
  mss_ = config.ipv6 ? kDefaultMss6 : kDefaultMss4;
  max_super_ = config.max_super_segment;
  rcv_shift_ = std::min(config.window_scale, kMaxScale);
}

void Connection::limit_segments(std::uint32_t mss) {
  mss_ = static_cast<std::uint16_t>(std::max<std::uint32_t>(mss, kMinMss));
  // Whole segments only, at least one.
  max_super_ = std::max<std::uint32_t>(max_super_ / mss_ * mss_, mss_);
}

void Connection::negotiate(const Segment& syn) {
  const std::uint16_t theirs = syn.mss.value_or(0) == 0 ? mss_ : *syn.mss;
  limit_segments(std::min(theirs, our_mss_));
  scaled_ = syn.window_scale.has_value();
  // Both or none (RFC 7323 2.2).
  snd_shift_ = scaled_ ? std::min(*syn.window_scale, kMaxScale) : std::uint8_t{0};
  if (!scaled_) rcv_shift_ = 0;
  sack_ = syn.sack_permitted;
}

Actions Connection::on_guest_known(base::Instant now) {
  if (state_ == State::kSynSent) syn_due_ = true;
  return settle({}, now);
}

// Before kEstablished. True when the segment completed the handshake and must be processed further.
bool Connection::on_handshake_segment(const Segment& segment, SegmentResult& result, base::Instant now) {
  result.verdict = Verdict::kNotReady;
  if (state_ == State::kSynSent) {
    on_answer_to_syn(segment, result, now);
    return false;
  }
  if (segment.rst) {
    // Before our SYN-ACK the guest may number its RST by either end of its SYN.
    if (segment.seq == rcv_nxt_ || (state_ == State::kSynReceived && segment.seq + 1U == rcv_nxt_)) {
      result.verdict = Verdict::kTaken;
      on_guest_reset(result.actions);
    }
    return false;
  }
  if (state_ == State::kSynReceived)
    return false;  // nothing is said before the grant, not even to a repeated SYN
  if (segment.syn) {
    if (segment.ack_flag || segment.seq + 1U != rcv_nxt_) {
      result.verdict = Verdict::kUnexpectedSyn;
      return false;
    }
    syn_due_ = true;  // our SYN-ACK was lost or is late
    return false;
  }
  if (!segment.ack_flag) {
    result.verdict = Verdict::kNoAck;
    return false;
  }
  if (segment.ack != snd_una_ + 1U || segment.ack.after(snd_max_)) {
    result.verdict = Verdict::kBadAck;
    return false;
  }
  // RFC 9293 3.10.7.4: the position is judged before the ACK.
  if (!accept_position(segment, result, now)) return false;
  result.verdict = Verdict::kTaken;
  complete_handshake(segment, std::uint32_t{segment.window} << snd_shift_, now);
  return true;
}

// RFC 9293 3.10.7.3. Text and FIN that come with a SYN-ACK are left for the guest to send again: only Fast
// Open, which we do not offer, sends text there.
void Connection::on_answer_to_syn(const Segment& segment, SegmentResult& result, base::Instant now) {
  if (segment.ack_flag && (segment.ack != snd_una_ + 1U || segment.ack.after(snd_max_))) {
    result.verdict = Verdict::kBadAck;
    result.actions.refuse = !segment.rst;
    return;
  }
  if (segment.rst) {
    if (!segment.ack_flag) return;  // it names nothing of ours (RFC 9293: dropped)
    result.verdict = Verdict::kTaken;
    return on_guest_reset(result.actions);
  }
  if (!segment.syn) return;
  if (!segment.ack_flag) {
    // The guest dials the very peer that dials it. Its own attempt is refused and ours goes on: should it
    // have taken our SYN for the simultaneous open's second half, its SYN-ACK completes ours.
    result.verdict = Verdict::kUnexpectedSyn;
    result.actions.refuse = true;
    return;
  }
  result.verdict = Verdict::kTaken;
  const std::uint32_t promised = open_window();
  rcv_nxt_ = segment.seq + 1U;
  rcv_adv_ = rcv_nxt_ + promised;
  guest_known_ = true;
  negotiate(segment);
  complete_handshake(segment, segment.window, now);  // a SYN's window is never scaled
  ack_now();
}

void Connection::complete_handshake(const Segment& segment, std::uint32_t window, base::Instant now) {
  enter(State::kEstablished);
  if (rtt_timing_) rto_.sample(now - rtt_start_);
  rtt_timing_ = syn_due_ = false;
  rto_.progress();
  rto_deadline_ = life_deadline_ = base::Instant::never();
  snd_una_ = snd_nxt_ = snd_max_ = recover_ = segment.ack;
  snd_wl1_ = segment.seq;
  snd_wl2_ = segment.ack;
  max_snd_wnd_ = window;
  snd_right_ = segment.ack + window;
  if (host_eof_) enter(State::kHostClosed);  // the remote end closed before the guest was ready
}

}  // namespace cordon::tcp
