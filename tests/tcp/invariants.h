// What must hold after every event, whatever the guest does. Wraps one connection, keeps its own small books
// (ring, stash, edges) and never looks inside the machine. Shared by the exhaustive sweep and by the fuzz
// target:
// - what goes to the host is the guest's stream: each byte once, in its place, the first one that came, and
//   nothing behind its FIN; no acknowledgement beyond it
// - what goes to the guest is the host's stream, within the guest's window, and nothing behind our FIN, which
//   stays where it was
// - a promised window is kept: its edge never moves left, nor does it promise more than the credit
// - a timer is armed while the guest owes us something or we owe it an acknowledgement, and goes away when it
//   fired
// - one event leads to few segments: those of what is in the ring, and one for each of the guest's
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/tcp/connection.h"

namespace cordon::tcp::test {

class Checked {
 public:
  Checked(const Segment& syn, const Config& config, base::Instant start)
      : now(start),
        tcp_(syn, config, start),
        config_(config),
        irs_(syn.seq),
        scaled_(syn.window_scale.has_value()) {
    guest_shift_ = std::min<std::uint8_t>(syn.window_scale.value_or(0), 14);
    credit_ = config.initial_credit;
  }
  // A flow from outside. `irs`: where the guest will start, as far as it keeps to it.
  Checked(net::SeqNum irs, const Config& config, base::Instant start)
      : now(start), tcp_(config, start), config_(config), irs_(irs), scaled_(false), guest_known_(false) {
    credit_ = config.initial_credit;
    last_state_ = State::kSynSent;
    guest_right_ = config.isn;  // nothing but the SYN may leave
  }

  Verdict segment(const Segment& s) {
    if (owed_answers_ < 1000) ++owed_answers_;
    const bool waiting = tcp_.state() == State::kSynReceived;
    const bool dialling = tcp_.state() == State::kSynSent;
    const auto r = tcp_.on_segment(s, now);
    if (r.actions.refuse && (!dialling || s.rst || tcp_.state() != State::kSynSent))
      fail("refuses a segment of its own");
    if (dialling && tcp_.state() != State::kSynSent && tcp_.state() != State::kClosed) learn(s);
    const bool heard =
        r.verdict == Verdict::kTaken || r.verdict == Verdict::kNoRoom || r.verdict == Verdict::kAfterFin;
    if (heard && !waiting && !dialling && !s.rst) {
      const net::SeqNum right = s.ack + (static_cast<std::uint32_t>(s.window) << guest_shift_);
      if (!right_known_ || right.after(guest_right_)) guest_right_ = right;
      right_known_ = true;
    }
    const Deliver& d = r.deliver;
    if (std::uint64_t{d.offset} + d.length > s.payload) fail("delivers beyond the payload");
    if (d.length > 0) take(s, d);
    if (d.length == 0 && (d.unlocked > 0 || d.ahead > 0)) fail("delivers nothing somewhere");
    if (r.actions.reopen && !r.actions.end) fail("reopen without end");
    if (r.actions.shutdown_host_write && fin_taken_) fail("the guest's FIN was taken twice");
    if (r.actions.shutdown_host_write) fin_taken_ = true;
    if (r.actions.shutdown_host_write && !held_.empty() && held_.begin()->first < in_order_)
      fail("FIN before data");
    note(r.actions);
    stash_all();
    return r.verdict;
  }
  void granted() { note(tcp_.on_granted(now)); }
  void host_data(std::uint32_t bytes) {
    if (eof_ || tcp_.state() == State::kClosed) return;
    bytes = std::min(bytes, 1U << 20 > ring_ ? (1U << 20) - ring_ : 0);
    ring_ += bytes;
    note(tcp_.on_host_data(bytes, now));
  }
  void host_eof() {
    eof_ = true;
    note(tcp_.on_host_eof(now));
  }
  void host_error() { note(tcp_.on_host_error(now)); }
  void revoked() { note(tcp_.on_revoked(now)); }
  // The host takes `bytes` of what is stashed from now on.
  void host_takes(std::uint32_t bytes) {
    flushed_ += std::min<std::uint64_t>(bytes, in_order_ - flushed_);
    stash_all();
  }
  void keep_stashed(bool keep) { keep_ = keep; }
  // More room for the guest's bytes, or less: what was promised stays.
  void give_credit(std::uint32_t credit) {
    credit_ = std::max({credit, tcp_.promised(), 4096U});
    stash_all();
  }
  // The guest's ICMP errors.
  void smaller_segments(net::SeqNum sequence, std::uint32_t mss) {
    const std::uint32_t before = tcp_.mss();
    note(tcp_.on_smaller_segments(sequence, mss, now));
    if (tcp_.mss() > before) fail("larger segments for a smaller link");
  }
  void unreachable(net::SeqNum sequence) {
    const bool dialling = tcp_.state() == State::kSynSent;
    note(tcp_.on_unreachable(sequence, now));
    if (tcp_.state() == State::kClosed && !dialling && !ended_) fail("a forged error ended a connection");
  }
  void guest_known() { note(tcp_.on_guest_known(now)); }
  void pass(base::Duration d) {
    now = now + d;
    if (tcp_.deadline() > now) {
      const State before = tcp_.state();
      note(tcp_.on_timer(now));
      if (tcp_.state() != before) fail("a timer fired early");
      return;
    }
    note(tcp_.on_timer(now));
    drain();
    if (tcp_.deadline() <= now) fail("a timer does not go away");
  }
  bool pull(bool refuse = false) {
    const auto t = tcp_.next_transmit(now);
    check_state();
    if (!t) return false;
    if (refuse) {
      if (!t->rst || tcp_.state() == State::kClosed) tcp_.untransmit(*t);
      return true;
    }
    check(*t);
    return true;
  }
  void drain() {
    // The books keep at most 1 MiB in the ring: 11,916 segments of the least MSS.
    sent_bytes_ = 0;
    sent_empty_ = 0;
    for (int i = 0; pull(); ++i)
      if (i == 15'000) return fail("next_transmit() does not end");
    // New bytes and those that go again; a probe; an answer to each segment.
    if (sent_bytes_ > 2 * std::uint64_t{ring_} + 1) fail("sends the same bytes over and over");
    if (sent_empty_ > owed_answers_ + 4) fail("more segments without data than there is reason for");
    owed_answers_ = 0;
    check_timer();
  }

  [[nodiscard]] State state() const { return tcp_.state(); }
  [[nodiscard]] const std::string& violation() const { return violation_; }
  [[nodiscard]] net::SeqNum rcv_nxt() const {
    return irs_ + 1U + static_cast<std::uint32_t>(in_order_) + (fin_taken_ ? 1U : 0U);
  }
  [[nodiscard]] net::SeqNum snd_una() const { return config_.isn + 1U + released_; }
  [[nodiscard]] net::SeqNum snd_max() const { return sent_any_ ? snd_max_ : config_.isn; }
  [[nodiscard]] std::uint64_t delivered() const { return in_order_; }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] const Connection& machine() const { return tcp_; }

  base::Instant now;

 private:
  void fail(const char* what) {
    if (violation_.empty()) violation_ = what;
  }
  void learn(const Segment& s) {
    if (!s.syn || !s.ack_flag || s.rst || s.ack != config_.isn + 1U || !sent_any_)
      fail("took something else for the answer to its SYN");
    guest_known_ = true;
    irs_ = s.seq;
    scaled_ = s.window_scale.has_value();
    guest_shift_ = std::min<std::uint8_t>(s.window_scale.value_or(0), 14);
    guest_right_ = s.ack + s.window;  // never scaled in a SYN
    right_known_ = true;
    // What the SYN offered, without a scale, holds from the guest's own start.
    edge_ = rcv_nxt() + window_of_syn_;
    edge_known_ = true;
  }
  // All that can be said now is said: what is left waits for the guest or for a clock.
  void check_timer() {
    const State state = tcp_.state();
    if (state == State::kSynReceived || state == State::kClosed) return;
    const bool opening = state == State::kSynAckSent || state == State::kSynSent || state == State::kTimeWait;
    const bool unheard = !opening && guest_known_ && last_ack_ != rcv_nxt();
    if ((opening || ring_ > 0 || tcp_.bytes_in_flight() > 0 || unheard) &&
        tcp_.deadline() == base::Instant::never())
      fail("waits without a timer");
  }
  void take(const Segment& s, const Deliver& d) {
    if (fin_taken_) fail("delivers behind the guest's FIN");
    const net::SeqNum at = s.seq + d.offset;
    const std::uint64_t from = in_order_ + d.ahead, to = from + d.length;
    if (at != irs_ + 1U + static_cast<std::uint32_t>(from)) fail("delivers at the wrong place");
    if (to - flushed_ > credit_) fail("delivers more than the stash can hold");
    for (const auto& [left, right] : held_)
      if (from < right && left < to) fail("delivers a byte twice");
    if (d.ahead > 0) {
      if (d.unlocked > 0) fail("unlocks without closing a gap");
      held_[from] = to;
      return;
    }
    in_order_ = to;
    std::uint32_t unlocked = 0;
    while (!held_.empty() && held_.begin()->first == in_order_) {
      unlocked += static_cast<std::uint32_t>(held_.begin()->second - in_order_);
      in_order_ = held_.begin()->second;
      held_.erase(held_.begin());
    }
    if (unlocked != d.unlocked) fail("unlocks another number of bytes than are held");
  }
  void stash_all() {
    if (!keep_) flushed_ = in_order_;
    note(tcp_.on_stash(static_cast<std::uint32_t>(in_order_ - flushed_), credit_, now));
    if (tcp_.promised() > credit_) fail("promises more than the credit");
  }
  void note(const Actions& a) {
    if (a.end && ended_) fail("ends twice");
    if (a.end) ended_ = true;
    if (a.end != (a.end && tcp_.state() == State::kClosed)) fail("end without kClosed");
    if (a.reset_host && !a.end) fail("reset without end");
    if (a.released > ring_) return fail("releases more than the ring holds");
    if (a.release != (a.released > 0)) fail("release and released disagree");
    ring_ -= a.released;
    released_ += a.released;
    check_state();
  }
  // Written from the specification, not from the machine's own table.
  static bool legal(State from, State to) {
    if (from == to || to == State::kClosed) return true;
    switch (from) {
      case State::kSynReceived: return to == State::kSynAckSent;
      // One segment may complete the handshake and bring a FIN, after the host's EOF.
      case State::kSynAckSent:
        return to != State::kSynReceived && to != State::kTimeWait && to != State::kSynSent;
      case State::kSynSent: return to == State::kEstablished || to == State::kHostClosed;
      case State::kEstablished: return to == State::kGuestClosed || to == State::kHostClosed;
      case State::kGuestClosed: return to == State::kBothClosed;
      case State::kHostClosed: return to == State::kBothClosed || to == State::kTimeWait;
      case State::kBothClosed: return to == State::kTimeWait;
      case State::kTimeWait:
      case State::kClosed: return false;
    }
    return false;
  }
  void check_state() {
    if (!legal(last_state_, tcp_.state())) fail("illegal edge");
    last_state_ = tcp_.state();
    if (last_state_ == State::kClosed && !ended_) fail("closed without telling");
    if (last_state_ == State::kClosed && tcp_.deadline() != base::Instant::never())
      fail("timer after the end");
  }
  void check(const Transmit& t) {
    if (tcp_.state() == State::kSynReceived) fail("speaks before the grant");
    if (t.ack_flag != guest_known_ || (guest_known_ && t.ack != rcv_nxt())) fail("ACK is not current");
    if (!guest_known_ && !sent_any_ && t.rst) fail("resets what the guest never heard of");
    if (tcp_.state() == State::kClosed) {
      if (!t.rst || rst_sent_) fail("speaks after the end");
      rst_sent_ = true;
      return;
    }
    if (t.rst) fail("RST on a live connection");
    sent_bytes_ += t.payload;
    if (t.payload == 0) ++sent_empty_;
    last_ack_ = t.ack;
    const net::SeqNum end = t.seq + t.payload + (t.fin || t.syn ? 1U : 0U);
    if (!guest_known_) {
      if (!t.syn || t.payload > 0 || t.fin || t.seq != config_.isn)
        fail("says more than SYN before the guest answered");
      if (t.window > credit_) fail("promises more than the credit");
      window_of_syn_ = t.window;
    }
    if (!sent_any_ || end.after(snd_max_)) snd_max_ = end;
    sent_any_ = true;
    if (std::uint64_t{t.ring_offset} + t.payload > ring_) fail("sends beyond the ring");
    if (t.payload > 0 && t.seq != snd_una() + t.ring_offset) fail("ring offset and sequence number disagree");
    if (t.payload > 0 && t.payload > tcp_.mss() && t.payload > config_.max_super_segment)
      fail("segment too long");
    if (t.fin && (!eof_ || t.ring_offset + t.payload != (t.payload > 0 ? ring_ : t.ring_offset)))
      fail("FIN early");
    if (fin_at_ && (end.after(*fin_at_ + 1U) || (t.fin && end != *fin_at_ + 1U)))
      fail("sends behind its own FIN");
    if (t.fin) fin_at_ = end - 1U;
    if (t.psh && t.payload == 0) fail("PSH without data");
    if (end != t.seq && !t.syn && end.after(guest_right_ + 1U)) fail("sends right of the guest's window");
    const std::uint8_t shift =
        t.syn || !scaled_ ? std::uint8_t{0} : std::min<std::uint8_t>(config_.window_scale, 14);
    const std::uint32_t unit = 1U << (scaled_ ? std::min<std::uint8_t>(config_.window_scale, 14) : 0U);
    if (!guest_known_) return;
    const net::SeqNum edge = t.ack + (static_cast<std::uint32_t>(t.window) << shift);
    if (edge_known_ && edge_.distance_from(edge) >= static_cast<std::int32_t>(unit))
      fail("right edge moves left");
    if (!edge_known_ || edge.after(edge_)) edge_ = edge;
    edge_known_ = true;
    for (std::uint8_t i = 0; i < t.sack_count; ++i) check_sack(t.sack[i]);
  }
  void check_sack(const SackBlock& b) {
    const std::uint64_t left = in_order_ + static_cast<std::uint32_t>(b.left.distance_from(rcv_nxt()));
    const std::uint64_t right = in_order_ + static_cast<std::uint32_t>(b.right.distance_from(rcv_nxt()));
    std::uint64_t at = left;
    for (const auto& [from, to] : held_)
      if (from == at) at = to;
    if (left <= in_order_ || right <= left || at < right) fail("SACK of bytes that are not held");
  }

  Connection tcp_;
  Config config_;
  net::SeqNum irs_;
  bool scaled_;
  bool guest_known_ = true;
  std::uint32_t window_of_syn_ = 0;
  std::uint8_t guest_shift_ = 0;
  bool keep_ = false, eof_ = false, ended_ = false, fin_taken_ = false, rst_sent_ = false;
  bool right_known_ = false, edge_known_ = false, sent_any_ = false;
  net::SeqNum guest_right_, edge_, snd_max_;
  State last_state_ = State::kSynReceived;
  std::uint32_t ring_ = 0, released_ = 0, credit_ = 0;
  std::uint64_t in_order_ = 0, flushed_ = 0, sent_bytes_ = 0;
  int sent_empty_ = 0, owed_answers_ = 0;  // since the last drain()
  std::optional<net::SeqNum> fin_at_;      // ours
  net::SeqNum last_ack_;
  std::map<std::uint64_t, std::uint64_t> held_;
  std::string violation_;
};

}  // namespace cordon::tcp::test
