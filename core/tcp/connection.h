// One TCP connection towards the guest: the pure protocol machine.
//
// Theory of operation. The host kernel's TCP faces the world; this machine is a small, complete TCP (RFC
// 9293) that faces the guest. It owns no fd, no clock, no buffer: it sees events (segments, bytes that
// arrived from the host, bytes the host took, timers) and answers with
//   - Deliver: which bytes of a segment are new and in order (the driver writes them to the host socket, or
//   keeps
//     what the kernel does not take in this flow's stash, so in-window data is never dropped);
//   - Actions: a small bit set (shut the host socket's write side, read more from the host, end the flow
//   ...);
//   - next_transmit(): pulled by the driver until empty; each answer is one (super-)segment to build and
//   send.
//
// Sequence bookkeeping. Guest -> host: `rcv_nxt` is the next byte expected; everything before it is acked
// because it is held (kernel or stash). The advertised window is credit: right edge = rcv_nxt + (credit -
// stashed) and never moves left. Host -> guest: the driver's ring holds [snd_una, snd_una + ring bytes); the
// machine decides what of it is sent, resent (SACK scoreboard, RTO with back-off, fast retransmit) and
// released.
//
// Either end may open. A guest's SYN waits in kSynReceived for the grant. A flow from outside starts in
// kSynSent: the host's connection exists already, so its bytes wait in the kernel's socket until the guest
// has answered.
//
// RFC list: 9293 (TCP), 7323 (window scale), 2018 and 6675 (SACK), 6298 (RTO), 5961 (challenge ACK), 6528
// (ISN), 1122 4.2.2.17 (zero-window probes), 1122 4.2.3.4 / 9293 3.8.6.2 (silly window).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/base/time.h"
#include "core/net/seq_num.h"
#include "core/tcp/range_set.h"
#include "core/tcp/retransmit.h"

namespace cordon::tcp {

enum class State : std::uint8_t {
  kSynReceived,  // guest's SYN seen, the host connection is not granted yet: nothing is sent
  kSynAckSent,   // granted; SYN-ACK sent, waiting for its ACK
  kSynSent,      // a flow from outside: our SYN is on its way to the guest
  kEstablished,  // data both ways
  kGuestClosed,  // guest's FIN taken; host may still send (CLOSE-WAIT)
  kHostClosed,   // host's EOF seen, our FIN follows the ring's last byte; guest may still send (FIN-WAIT-1/2)
  kBothClosed,   // both FINs exist, ours not yet acked (CLOSING / LAST-ACK)
  kTimeWait,  // both FINs acked and we closed first: answers late segments for 0.5 s. The host socket may be
              // closed as soon as the stash is flushed, and a driver short of slots may free such a
              // connection at any time
  kClosed,    // over; the driver frees the slot
};

// A guest segment in value form. Built by the driver from wire views: checksums and lengths are verified,
// flags as on the wire (illegal combinations are the machine's to judge).
struct Segment {
  net::SeqNum seq;
  net::SeqNum ack;  // meaningful when ack_flag
  bool syn = false, ack_flag = false, fin = false, rst = false, psh = false;
  std::uint16_t window = 0;                  // as on the wire, unscaled
  std::uint32_t payload = 0;                 // bytes
  std::optional<std::uint16_t> mss;          // SYN only
  std::optional<std::uint8_t> window_scale;  // SYN only
  bool sack_permitted = false;               // SYN only
  std::array<SackBlock, 4> sack{};
  std::uint8_t sack_count = 0;
};

struct Config {
  net::SeqNum isn;                       // ours, RFC 6528 (driver computes it)
  std::uint16_t mss = 1460;              // what we announce: link MTU minus headers
  std::uint8_t window_scale = 8;         // what we announce
  std::uint32_t initial_credit = 65535;  // bytes of stash reserved for this flow at the start
  std::uint32_t max_super_segment =
      65535 - 120;    // payload bytes of one transmit; mss when the link has no TSO
  bool ipv6 = false;  // chooses the guest's MSS when its SYN names none: 536, or 1220 (RFC 9293 3.7.1)
};

// What of a segment's payload the driver must take. `offset` and `length` are within the payload; the bytes
// belong at rcv_nxt + `ahead`. ahead == 0: in order, forward or stash. ahead > 0: out of order, the driver
// stores them in the stash at that distance (the machine tracks ranges and delivers nothing twice).
struct Deliver {
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t ahead = 0;
  // After in-order bytes fill a gap: this many bytes that already lie in the stash right behind them became
  // in order.
  std::uint32_t unlocked = 0;
};

struct Actions {
  bool shutdown_host_write = false;  // after the stash is flushed: shutdown(SHUT_WR) (the driver defers)
  bool release = false;              // snd_una moved: `released` bytes may leave the ring
  std::uint32_t released = 0;
  bool end = false;     // the flow is over (kClosed); see `reset_host`. A RST may still be owed to the guest:
                        // pull next_transmit() until empty once more, then free the slot. Without
                        // reset_host the stash may still hold bytes: flush them and shut before closing
  bool reopen = false;  // with end: the segment was a fresh SYN for this 4-tuple in kTimeWait. Free the slot
                        // and hand the same segment in as a new flow
  bool reset_host = false;  // with end: the host side must see RST, not FIN
  bool refuse = false;      // kSynSent: the segment belongs to no connection of ours (it acknowledges what we
                            // never sent, or is a SYN of the guest's own). Answer it as a stray
  bool probe_host = false;  // guest keepalive: the driver asks for SO_KEEPALIVE semantics (already set by the
                            // broker; informative)
  bool transmit = false;    // next_transmit() has something (now)
};

// What became of a segment, for the driver's counters.
enum class Verdict : std::uint8_t {
  kTaken,          // all of it was looked at, though none, part or all of the payload may have been new
  kNotReady,       // before kEstablished: only SYN repeats, RST and the answer to our own SYN mean anything
  kDuplicate,      // wholly before rcv_nxt (includes keepalives): answered with an ACK
  kOutOfWindow,    // right of the window, or a RST not at rcv_nxt
  kUnexpectedSyn,  // SYN in a synchronised state: challenge ACK
  kNoAck,          // no ACK flag where one is required
  kBadAck,         // acknowledges what was never sent, or far too old
  kNoRoom,         // out of order and all range slots are taken
  kAfterFin,       // payload behind the guest's own FIN
  kClosed,         // the connection is over
};

// One segment to send. Payload is ring bytes [ring_offset, ring_offset + payload) counted from snd_una's
// byte.
struct Transmit {
  net::SeqNum seq;
  net::SeqNum ack;
  std::uint16_t window = 0;  // on the wire, already scaled
  bool syn = false, ack_flag = true, fin = false, rst = false, psh = false;
  std::uint32_t ring_offset = 0;
  std::uint32_t payload = 0;                 // may exceed mss: the driver sets gso_size = mss()
  std::optional<std::uint16_t> mss;          // SYN only
  std::optional<std::uint8_t> window_scale;  // SYN only
  bool sack_permitted = false;               // SYN only
  std::array<SackBlock, 3> sack{};
  std::uint8_t sack_count = 0;
};

class Connection {
 public:
  // A guest SYN (syn set, no ack, no rst, no fin; payload ignored: no TCP Fast Open) created the flow.
  Connection(const Segment& syn, const Config& config, base::Instant now);
  // A flow from outside: its SYN is due at once.
  Connection(const Config& config, base::Instant now);

  // --- broker's answers
  Actions on_granted(
      base::Instant now);  // the remote end accepted and the second check passed: SYN-ACK leaves
  // --- from the guest
  struct SegmentResult {
    Deliver deliver;
    Actions actions;
    Verdict verdict = Verdict::kTaken;
  };
  SegmentResult on_segment(const Segment& segment, base::Instant now);
  // --- from the host socket
  Actions on_host_data(std::uint32_t bytes, base::Instant now);  // appended to the ring
  Actions on_host_eof(base::Instant now);    // recv() returned 0: FIN follows the ring's last byte
  Actions on_host_error(base::Instant now);  // ECONNRESET and the like: RST to the guest, end
  // --- credit: how the stash stands. `stashed` = in-order bytes held in the stash now; `credit` = bytes
  // reserved. Called after every write attempt that changed either, and before the next_transmit() that
  // follows on_segment(); may make a window update due. Credit may shrink only by what is not promised (see
  // promised()); keep it >= 4096.
  Actions on_stash(std::uint32_t stashed, std::uint32_t credit, base::Instant now);
  // --- the guest's ICMP errors; `sequence` is the quoted segment's and must be in flight (RFC 5927 4.1)
  // A link behind the guest takes segments of `mss` bytes only: what is in flight goes again, in such ones.
  Actions on_smaller_segments(net::SeqNum sequence, std::uint32_t mss, base::Instant now);
  // Nobody there, or forbidden: hard only while our SYN waits (RFC 1122 4.2.3.9).
  Actions on_unreachable(net::SeqNum sequence, base::Instant now);
  // The guest could not be reached at all until now: a SYN that waits for its answer goes again at once.
  Actions on_guest_known(base::Instant now);
  // --- policy or operator cut the flow: RST to the guest, end
  Actions on_revoked(base::Instant now);
  // --- time. on_timer() before deadline() does nothing, so a driver re-arms its wheel only when the deadline
  // became earlier than the armed one, and lets a stale expiry run into on_timer() and ask for deadline()
  // again.
  Actions on_timer(base::Instant now);
  [[nodiscard]] base::Instant deadline() const;  // never() when nothing is armed

  // --- output, pulled until nullopt (also in kClosed: see Actions::end). The link refused
  // (SendStatus::kAgain): call untransmit(t) with the same value and stop; it will be offered again. kDropped
  // needs nothing: it is loss on the wire.
  std::optional<Transmit> next_transmit(base::Instant now);
  void untransmit(const Transmit& transmit);
  // The link has no TSO any more.
  void forbid_super_segments() { max_super_ = mss_; }

  // --- facts the driver needs
  [[nodiscard]] State state() const;
  [[nodiscard]] std::uint32_t mss() const;  // payload bytes of one wire segment to the guest
  [[nodiscard]] std::uint32_t host_read_budget(std::uint32_t ring_bytes, std::uint32_t ring_limit) const;
  // how many bytes to recv() now: bounded by the guest's window
  // (plus a little lookahead) and the ring limit; 0 = stop reading
  [[nodiscard]] std::uint32_t bytes_in_flight() const;
  [[nodiscard]] std::uint32_t promised()
      const;  // stash bytes this flow may need now: in-order bytes held + open window
  [[nodiscard]] bool wants_host_data() const;  // false before the handshake is complete and after EOF

 private:
  // What next_transmit() would send now; computed without side effects so that Actions::transmit is never a
  // guess.
  enum class PlanKind : std::uint8_t { kReset, kSyn, kAck, kKeepalive, kProbe, kResend, kData };
  struct Plan {
    PlanKind kind = PlanKind::kAck;
    net::SeqNum seq;
    std::uint32_t length = 0;
    bool fin = false;
  };

  // connection.cc
  void enter(State next);  // the only writer of state_
  Actions settle(Actions actions, base::Instant now);
  void rearm(base::Instant now);
  [[nodiscard]] base::Instant idle_deadline() const;
  void on_idle(Actions& actions, base::Instant now);
  [[nodiscard]] bool synchronised() const { return state_ >= State::kEstablished && state_ < State::kClosed; }
  // handshake.cc
  void offer(const Config& config);
  void negotiate(const Segment& syn);
  void limit_segments(std::uint32_t mss);
  bool on_handshake_segment(const Segment& segment, SegmentResult& result, base::Instant now);
  void on_answer_to_syn(const Segment& segment, SegmentResult& result, base::Instant now);
  void complete_handshake(const Segment& segment, std::uint32_t window, base::Instant now);
  // A SYN of ours, with or without ACK, is what we have to say now.
  [[nodiscard]] bool opening() const { return state_ == State::kSynAckSent || state_ == State::kSynSent; }
  // receive.cc
  bool accept(const Segment& segment, SegmentResult& result, base::Instant now);
  bool accept_position(const Segment& segment, SegmentResult& result, base::Instant now);
  void take_payload(const Segment& segment, SegmentResult& result, base::Instant now);
  void take_in_order(net::SeqNum start, std::uint32_t length, Deliver& deliver);
  Verdict hold(net::SeqNum start, std::uint32_t length, Deliver& deliver);
  void decide_ack(const Segment& segment, const Deliver& deliver, base::Instant now);
  void challenge(base::Instant now);
  void ack_now() { acks_due_ = acks_due_ == 0 ? std::uint8_t{1} : acks_due_; }
  [[nodiscard]] std::uint32_t open_window() const;
  [[nodiscard]] net::SeqNum desired_edge() const;
  [[nodiscard]] bool window_update_due() const;
  std::uint16_t advertise(bool syn);
  // recovery.cc
  bool process_ack(const Segment& segment, SegmentResult& result, base::Instant now);
  void advance(net::SeqNum ack, Actions& actions, base::Instant now);
  bool update_window(const Segment& segment);
  void record_sack(const Segment& segment);
  void detect_loss();
  void on_retransmission_timeout(Actions& actions);
  void go_back();
  // transmit.cc
  [[nodiscard]] std::optional<Plan> plan() const;
  [[nodiscard]] std::optional<Plan> plan_probe() const;
  [[nodiscard]] std::optional<Plan> plan_resend() const;
  [[nodiscard]] std::optional<Plan> plan_fresh() const;
  void commit(const Plan& plan, base::Instant now);
  [[nodiscard]] bool blocked() const;
  [[nodiscard]] bool fin_pending() const { return host_eof_ && !fin_acked_; }
  [[nodiscard]] net::SeqNum data_end() const { return snd_una_ + ring_bytes_; }
  [[nodiscard]] net::SeqNum idle_seq() const;
  // teardown.cc
  void take_guest_fin(Actions& actions, base::Instant now);
  void on_fin_acked(Actions& actions, base::Instant now);
  void end_with_reset(Actions& actions);
  void on_guest_reset(Actions& actions);

  static constexpr base::Duration kDelayedAck = std::chrono::milliseconds{10};
  static constexpr std::size_t kHeldRanges = 4;
  static constexpr std::size_t kSackedRanges = 8;

  // Time.
  base::Instant rto_deadline_ = base::Instant::never();   // retransmission, or probe while blocked()
  base::Instant ack_deadline_ = base::Instant::never();   // delayed ACK
  base::Instant life_deadline_ = base::Instant::never();  // half-open limit, then TIME-WAIT
  base::Instant last_guest_;                              // last segment from the guest
  base::Instant rtt_start_;
  RetransmitTimer rto_;
  // Host -> guest. snd_nxt_ is where sending goes on (it goes back on a time-out); snd_max_ is the highest
  // ever sent.
  net::SeqNum snd_una_, snd_nxt_, snd_max_;
  net::SeqNum snd_right_;          // right edge of the guest's window
  net::SeqNum snd_wl1_, snd_wl2_;  // seq and ack of the last window update (RFC 9293 3.10.7.4)
  net::SeqNum recover_;            // recovery ends here
  net::SeqNum rexmit_;             // next byte to look at for holes in this recovery
  net::SeqNum rtt_seq_;            // the ACK that ends the running RTT sample
  std::uint32_t ring_bytes_ = 0;
  std::uint32_t max_snd_wnd_ = 0;
  std::uint32_t max_super_ = 0;
  RangeSet<kSackedRanges> sacked_;
  // Guest -> host.
  net::SeqNum rcv_nxt_;
  net::SeqNum rcv_adv_;  // right edge promised; never moves left
  std::uint32_t credit_ = 0;
  std::uint32_t stashed_ = 0;
  std::uint32_t unacked_ = 0;  // bytes taken since the last ACK left
  std::uint32_t challenge_second_ = 0;
  RangeSet<kHeldRanges> held_;
  std::uint16_t mss_ = 536;       // of segments to the guest
  std::uint16_t our_mss_ = 1460;  // announced
  std::uint16_t rcv_mss_ = 0;     // largest segment seen from the guest, at most our_mss_
  std::uint8_t snd_shift_ = 0;    // scale of the guest's windows
  std::uint8_t rcv_shift_ = 0;    // scale of ours
  std::uint8_t dup_acks_ = 0;
  std::uint8_t acks_due_ = 0;
  std::uint8_t quick_acks_ = 16;
  std::uint8_t challenges_ = 0;
  std::uint8_t keep_probes_ = 0;
  State state_ = State::kSynReceived;
  bool sack_ = false;
  bool scaled_ = false;
  bool host_eof_ = false;
  bool fin_acked_ = false;
  bool guest_known_ = true;  // its initial sequence number: false until it answered our SYN
  bool guest_fin_ = false;
  bool guest_closed_first_ = false;  // LAST-ACK, not CLOSING
  bool recovering_ = false;
  bool rexmit_one_ = false;  // recovery without SACK: one segment at snd_una_
  bool rtt_timing_ = false;
  bool rst_due_ = false;
  bool syn_due_ = false;
  bool probe_due_ = false;
  bool keepalive_due_ = false;
};
// 5,000 held flows must cost at most 1 KiB each in the whole translator.
static_assert(sizeof(Connection) <= 320);

}  // namespace cordon::tcp
