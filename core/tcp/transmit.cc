// Host -> guest: what leaves next.
//
// Order: RST; SYN or SYN-ACK; ACKs that carry SACK or are counted as duplicates; probe; lost segments; new
// data and FIN; a pure ACK when nothing carried it. Nagle is off: the host's bytes left their sender as they
// are. SACK blocks ride on pure ACKs only, so a data segment's size never depends on options.
#include <algorithm>

#include "core/tcp/connection.h"

namespace cordon::tcp {

// Sequence number of segments without text: as far right as the guest's window allows, else it would be
// dropped as old (after a go-back) or as out of window (after a shrink).
net::SeqNum Connection::idle_seq() const {
  if (!synchronised() && state_ != State::kClosed) return snd_nxt_;
  if (!snd_max_.after(snd_right_)) return snd_max_;
  return snd_right_.before(snd_una_) ? snd_una_ : snd_right_;
}

// Something waits to be sent, nothing is in flight, and the guest's window is in the way.
bool Connection::blocked() const {
  if (!synchronised() || snd_nxt_ != snd_una_ || probe_due_) return false;
  return (ring_bytes_ > 0 || fin_pending()) && !plan_fresh();
}

std::optional<Connection::Plan> Connection::plan() const {
  if (rst_due_) return Plan{PlanKind::kReset, idle_seq(), 0, false};
  if (opening()) {
    if (!syn_due_) return std::nullopt;
    return Plan{PlanKind::kSyn, snd_una_, 0, false};
  }
  if (!synchronised()) return std::nullopt;
  const Plan ack{PlanKind::kAck, idle_seq(), 0, false};
  if (acks_due_ > 1 || (acks_due_ > 0 && sack_ && !held_.empty())) return ack;
  if (auto probe = plan_probe()) return probe;
  if (auto resend = plan_resend()) return resend;
  if (auto fresh = plan_fresh()) return fresh;
  if (keepalive_due_) return Plan{PlanKind::kKeepalive, snd_una_ - 1U, 0, false};
  if (acks_due_ > 0) return ack;
  return std::nullopt;
}

// RFC 9293 3.8.6.1: at least one byte, whatever the window says; or what fits when the window was merely
// silly.
std::optional<Connection::Plan> Connection::plan_probe() const {
  if (!probe_due_) return std::nullopt;
  Plan probe{PlanKind::kProbe, snd_una_, 0, false};
  if (ring_bytes_ > 0) {
    const std::int32_t usable = snd_right_.distance_from(snd_una_);
    probe.length =
        std::min({static_cast<std::uint32_t>(std::max(usable, 1)), ring_bytes_, std::uint32_t{mss_}});
  } else {
    probe.fin = fin_pending();
    if (!probe.fin) return std::nullopt;
  }
  return probe;
}

std::optional<Connection::Plan> Connection::plan_resend() const {
  if (!recovering_) return std::nullopt;
  net::SeqNum seq = rexmit_;
  net::SeqNum limit = snd_max_;
  std::uint32_t cap = mss_;
  if (!rexmit_one_) {
    if (const auto have = sacked_.covering(seq)) seq = have->right;
    const auto next = sacked_.next_from(seq);
    if (!next) return std::nullopt;  // nothing SACKed above: not a hole but the part in flight
    limit = next->left;
    cap = max_super_;
  } else {
    seq = snd_una_;
  }
  if (limit.after(data_end())) limit = data_end();
  if (limit.after(snd_right_)) limit = snd_right_;
  const std::int32_t room = limit.distance_from(seq);
  if (room > 0) return Plan{PlanKind::kResend, seq, std::min(static_cast<std::uint32_t>(room), cap), false};
  // The lost segment is the FIN alone.
  if (rexmit_one_ && ring_bytes_ == 0 && fin_pending() && snd_right_.after(seq))
    return Plan{PlanKind::kResend, seq, 0, true};
  return std::nullopt;
}

std::optional<Connection::Plan> Connection::plan_fresh() const {
  if (ring_bytes_ == 0 && !fin_pending()) return std::nullopt;
  net::SeqNum seq = snd_nxt_;
  if (const auto have = sacked_.covering(seq)) seq = have->right;
  const std::int32_t usable_signed = snd_right_.distance_from(seq);
  const std::int32_t left_signed = data_end().distance_from(seq);
  if (usable_signed <= 0 || left_signed < 0) return std::nullopt;  // left < 0: the FIN is out already
  // After a time-out: one segment, until something is acknowledged.
  const bool careful = rto_.backing_off();
  if (careful && seq != snd_una_) return std::nullopt;
  const auto usable = static_cast<std::uint32_t>(usable_signed);
  const auto left = static_cast<std::uint32_t>(left_signed);
  std::uint32_t length = std::min({left, usable, careful ? std::uint32_t{mss_} : max_super_});
  bool before_hole = false;  // the next byte is SACKed: a short segment is not silly
  if (const auto next = sacked_.next_from(seq)) {
    const auto gap = static_cast<std::uint32_t>(next->left.distance_from(seq));
    before_hole = gap <= length;
    length = std::min(length, gap);
  }
  if (length < left && !before_hole) {
    // Sender's silly window avoidance (RFC 9293 3.8.6.2.1): whole segments, or half of the guest's largest
    // window.
    if (length > mss_) length -= length % mss_;
    if (length < mss_ && length < max_snd_wnd_ / 2) return std::nullopt;
  }
  const bool fin = fin_pending() && length == left && usable > length;
  if (length == 0 && !fin) return std::nullopt;
  return Plan{PlanKind::kData, seq, length, fin};
}

// The bookkeeping of sending text.
void Connection::commit(const Plan& plan, base::Instant now) {
  const net::SeqNum end = plan.seq + plan.length + (plan.fin ? 1U : 0U);
  const bool is_new = !plan.seq.before(snd_max_);
  switch (plan.kind) {
    case PlanKind::kData: snd_nxt_ = end; break;
    case PlanKind::kResend:
      rexmit_ = end;
      rexmit_one_ = false;
      break;
    case PlanKind::kProbe: probe_due_ = false; break;  // snd_nxt stays: a probe is not in flight
    case PlanKind::kReset:
    case PlanKind::kSyn:
    case PlanKind::kAck:
    case PlanKind::kKeepalive: return;
  }
  if (end.after(snd_max_)) snd_max_ = end;
  if (!is_new) {
    rtt_timing_ = false;  // Karn: an ACK could be for either copy
  } else if (!rtt_timing_ && plan.kind == PlanKind::kData) {
    rtt_timing_ = true;
    rtt_seq_ = end;
    rtt_start_ = now;
  }
}

std::optional<Transmit> Connection::next_transmit(base::Instant now) {
  const auto next = plan();
  if (!next) return std::nullopt;
  Transmit out{.seq = next->seq, .ack = rcv_nxt_, .ack_flag = guest_known_};
  switch (next->kind) {
    case PlanKind::kReset:
      rst_due_ = false;
      out.rst = true;
      return out;
    case PlanKind::kSyn:
      rtt_timing_ = snd_max_ == snd_una_;  // only the first copy is timed
      rtt_start_ = now;
      snd_nxt_ = snd_max_ = snd_una_ + 1U;
      syn_due_ = false;
      out.syn = true;
      out.mss = our_mss_;
      // Our own SYN offers everything; a SYN-ACK only what the guest offered.
      if (scaled_ || !guest_known_) out.window_scale = rcv_shift_;
      out.sack_permitted = sack_ || !guest_known_;
      break;
    case PlanKind::kAck:
      if (sack_) {
        for (std::size_t i = 0; i < std::min(held_.size(), out.sack.size()); ++i)
          out.sack[out.sack_count++] = held_[i];
      }
      break;
    case PlanKind::kKeepalive: keepalive_due_ = false; break;
    case PlanKind::kProbe:
    case PlanKind::kResend:
    case PlanKind::kData:
      out.fin = next->fin;
      out.payload = next->length;
      out.ring_offset = static_cast<std::uint32_t>(next->seq.distance_from(snd_una_));
      out.psh = next->length > 0 && next->seq + next->length == data_end();
      break;
  }
  if (out.payload == 0 && !out.fin) out.ring_offset = 0;
  commit(*next, now);
  out.window = advertise(out.syn);
  // Every segment acknowledges; only the duplicates still owed to a guest without SACK go on.
  acks_due_ = acks_due_ > 1 && next->kind == PlanKind::kAck ? static_cast<std::uint8_t>(acks_due_ - 1)
                                                            : std::uint8_t{0};
  unacked_ = 0;
  ack_deadline_ = base::Instant::never();
  rearm(now);
  return out;
}

// The link took nothing: the same situation as before, as far as it matters.
void Connection::untransmit(const Transmit& transmit) {
  if (transmit.rst) {
    rst_due_ = true;
    return;
  }
  if (state_ == State::kClosed) return;
  if (transmit.syn) {
    syn_due_ = true;
    if (rtt_timing_) snd_nxt_ = snd_max_ = snd_una_;  // it was the first copy: the guest heard of none
    return;
  }
  ack_now();
  const net::SeqNum end = transmit.seq + transmit.payload + (transmit.fin ? 1U : 0U);
  if (end == transmit.seq) {
    if (transmit.seq + 1U == snd_una_) keepalive_due_ = true;
    return;
  }
  rtt_timing_ = false;
  if (end == snd_nxt_ && transmit.seq.before(snd_nxt_) && !transmit.seq.before(snd_una_)) {
    snd_nxt_ = transmit.seq;
  } else if (snd_nxt_ == snd_una_ && transmit.seq == snd_una_) {
    probe_due_ = true;
  } else if (recovering_ && transmit.seq.before(rexmit_) && !transmit.seq.before(snd_una_)) {
    rexmit_ = transmit.seq;
    if (sacked_.empty()) rexmit_one_ = true;
  }
}

}  // namespace cordon::tcp
