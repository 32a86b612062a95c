// The three-way handshake, seen from the side that answers.
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

void Connection::negotiate(const Segment& syn, const Config& config) {
  our_mss_ = std::max(config.mss, kMinMss);
  const std::uint16_t fallback = config.ipv6 ? kDefaultMss6 : kDefaultMss4;
  const std::uint16_t theirs = syn.mss.value_or(0) == 0 ? fallback : *syn.mss;
  mss_ = std::clamp(theirs, kMinMss, our_mss_);
  // Whole segments only, at least one.
  max_super_ = std::max<std::uint32_t>(config.max_super_segment / mss_ * mss_, mss_);
  scaled_ = syn.window_scale.has_value();
  if (scaled_) {  // both or none (RFC 7323 2.2)
    snd_shift_ = std::min(*syn.window_scale, kMaxScale);
    rcv_shift_ = std::min(config.window_scale, kMaxScale);
  }
  sack_ = syn.sack_permitted;
}

// kSynReceived and kSynAckSent. True when the segment completed the handshake and must be processed further.
bool Connection::on_handshake_segment(const Segment& segment, SegmentResult& result, base::Instant now) {
  result.verdict = Verdict::kNotReady;
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
  enter(State::kEstablished);
  if (rtt_timing_) rto_.sample(now - rtt_start_);
  rtt_timing_ = syn_due_ = false;
  rto_.progress();
  rto_deadline_ = life_deadline_ = base::Instant::never();
  snd_una_ = snd_nxt_ = snd_max_ = recover_ = segment.ack;
  snd_wl1_ = segment.seq;
  snd_wl2_ = segment.ack;
  max_snd_wnd_ = static_cast<std::uint32_t>(segment.window) << snd_shift_;
  snd_right_ = segment.ack + max_snd_wnd_;
  if (host_eof_) enter(State::kHostClosed);  // the remote end closed before the guest was ready
  return true;
}

}  // namespace cordon::tcp
