// One TCP connection towards the guest: the pure protocol machine.
//
// Theory of operation. The host kernel's TCP faces the world; this machine is a small, complete TCP (RFC 9293) that
// faces the guest. It owns no fd, no clock, no buffer: it sees events (segments, bytes that arrived from the host,
// bytes the host took, timers) and answers with
//   - Deliver: which bytes of a segment are new and in order (the driver writes them to the host socket, or keeps
//     what the kernel does not take in this flow's stash, so in-window data is never dropped);
//   - Actions: a small bit set (shut the host socket's write side, read more from the host, end the flow ...);
//   - next_transmit(): pulled by the driver until empty; each answer is one (super-)segment to build and send.
//
// Sequence bookkeeping. Guest -> host: `rcv_nxt` is the next byte expected; everything before it is acked because it
// is held (kernel or stash). The advertised window is credit: right edge = rcv_nxt + (credit - stashed) and never
// moves left. Host -> guest: the driver's ring holds [snd_una, snd_una + ring bytes); the machine decides what of it
// is sent, resent (SACK scoreboard, RTO with back-off, fast retransmit) and released.
//
// RFC list: 9293 (TCP), 7323 (window scale), 2018 and 6675 (SACK), 6298 (RTO), 5961 (challenge ACK), 6528 (ISN),
// 1122 4.2.2.17 (zero-window probes), 1122 4.2.3.4 / 9293 3.8.6.2 (silly window).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/base/time.h"
#include "core/net/seq_num.h"

namespace cordon::tcp {

enum class State : std::uint8_t {
  kSynReceived,   // guest's SYN seen, the host connection is not granted yet: nothing is sent
  kSynAckSent,    // granted; SYN-ACK sent, waiting for its ACK
  kEstablished,   // data both ways
  kGuestClosed,   // guest's FIN taken; host may still send (CLOSE-WAIT)
  kHostClosed,    // host's EOF seen, our FIN follows the ring's last byte; guest may still send (FIN-WAIT-1/2)
  kBothClosed,    // both FINs exist, ours not yet acked (CLOSING / LAST-ACK)
  kTimeWait,      // both FINs acked and we closed first: answers late segments for 2 s. The host socket may be closed as
                  // soon as the stash is flushed, and a driver short of slots may free such a connection at any time
  kClosed,        // over; the driver frees the slot
};

// A guest segment in value form. Built by the driver from wire views: checksums and lengths are verified, flags as
// on the wire (illegal combinations are the machine's to judge).
struct SackBlock {
  net::SeqNum left;   // first byte held
  net::SeqNum right;  // first byte not held
};
struct Segment {
  net::SeqNum seq;
  net::SeqNum ack;  // meaningful when ack_flag
  bool syn = false, ack_flag = false, fin = false, rst = false, psh = false;
  std::uint16_t window = 0;  // as on the wire, unscaled
  std::uint32_t payload = 0; // bytes
  std::optional<std::uint16_t> mss;         // SYN only
  std::optional<std::uint8_t> window_scale; // SYN only
  bool sack_permitted = false;              // SYN only
  std::array<SackBlock, 4> sack{};
  std::uint8_t sack_count = 0;
};

struct Config {
  net::SeqNum isn;                  // ours, RFC 6528 (driver computes it)
  std::uint16_t mss = 1460;         // what we announce: link MTU minus headers
  std::uint8_t window_scale = 8;    // what we announce
  std::uint32_t initial_credit = 65535;  // bytes of stash reserved for this flow at the start
  std::uint32_t max_super_segment = 65535 - 120;  // payload bytes of one transmit; mss when the link has no TSO
  bool ipv6 = false;  // chooses the guest's MSS when its SYN names none: 536, or 1220 (RFC 9293 3.7.1)
};

// What of a segment's payload the driver must take. `offset` and `length` are within the payload; the bytes belong at
// rcv_nxt + `ahead`. ahead == 0: in order, forward or stash. ahead > 0: out of order, the driver stores them in the
// stash at that distance (the machine tracks ranges and delivers nothing twice).
struct Deliver {
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t ahead = 0;
  // After in-order bytes fill a gap: this many bytes that already lie in the stash right behind them became in order.
  std::uint32_t unlocked = 0;
};

struct Actions {
  bool shutdown_host_write = false;  // after the stash is flushed: shutdown(SHUT_WR) (the driver defers)
  bool release = false;              // snd_una moved: `released` bytes may leave the ring
  std::uint32_t released = 0;
  bool end = false;                  // the flow is over (kClosed); see `reset_host`. A RST may still be owed to the guest:
                                     // pull next_transmit() until empty once more, then free the slot
  bool reopen = false;               // with end: the segment was a fresh SYN for this 4-tuple in kTimeWait. Free the slot and
                                     // hand the same segment in as a new flow
  bool reset_host = false;           // with end: the host side must see RST, not FIN
  bool probe_host = false;           // guest keepalive: the driver asks for SO_KEEPALIVE semantics (already set by the broker; informative)
  bool transmit = false;             // next_transmit() has something (now)
};

// What became of a segment, for the driver's counters.
enum class Verdict : std::uint8_t {
  kTaken,           // all of it was looked at, though none, part or all of the payload may have been new
  kNotReady,        // kSynReceived or kSynAckSent: only SYN repeats, RST and the ACK of our SYN-ACK mean anything
  kDuplicate,       // wholly before rcv_nxt (includes keepalives): answered with an ACK
  kOutOfWindow,     // right of the window, or a RST not at rcv_nxt
  kUnexpectedSyn,   // SYN in a synchronised state: challenge ACK
  kNoAck,           // no ACK flag where one is required
  kBadAck,          // acknowledges what was never sent, or far too old
  kNoRoom,          // out of order and all range slots are taken
  kAfterFin,        // payload behind the guest's own FIN
  kClosed,          // the connection is over
};

// One segment to send. Payload is ring bytes [ring_offset, ring_offset + payload) counted from snd_una's byte.
struct Transmit {
  net::SeqNum seq;
  net::SeqNum ack;
  std::uint16_t window = 0;  // on the wire, already scaled
  bool syn = false, ack_flag = true, fin = false, rst = false, psh = false;
  std::uint32_t ring_offset = 0;
  std::uint32_t payload = 0;       // may exceed mss: the driver sets gso_size = mss()
  std::optional<std::uint16_t> mss;           // SYN only
  std::optional<std::uint8_t> window_scale;   // SYN only
  bool sack_permitted = false;                // SYN only
  std::array<SackBlock, 3> sack{};
  std::uint8_t sack_count = 0;
};

class Connection {
 public:
  // A guest SYN (syn set, no ack, no rst, no fin; payload ignored: no TCP Fast Open) created the flow.
  Connection(const Segment& syn, const Config& config, base::Instant now);

  // --- broker's answers
  Actions on_granted(base::Instant now);  // the remote end accepted and the second check passed: SYN-ACK leaves
  // --- from the guest
  struct SegmentResult {
    Deliver deliver;
    Actions actions;
    Verdict verdict = Verdict::kTaken;
  };
  SegmentResult on_segment(const Segment& segment, base::Instant now);
  // --- from the host socket
  Actions on_host_data(std::uint32_t bytes, base::Instant now);  // appended to the ring
  Actions on_host_eof(base::Instant now);                        // recv() returned 0: FIN follows the ring's last byte
  Actions on_host_error(base::Instant now);                      // ECONNRESET and the like: RST to the guest, end
  // --- credit: how the stash stands. `stashed` = in-order bytes held in the stash now; `credit` = bytes reserved.
  // Called after every write attempt that changed either, and before the next_transmit() that follows on_segment(); may
  // make a window update due. Credit may shrink only by what is not promised (see promised()); keep it >= 4096.
  Actions on_stash(std::uint32_t stashed, std::uint32_t credit, base::Instant now);
  // --- policy or operator cut the flow: RST to the guest, end
  Actions on_revoked(base::Instant now);
  // --- time. on_timer() before deadline() does nothing, so a driver re-arms its wheel only when the deadline became
  // earlier than the armed one, and lets a stale expiry run into on_timer() and ask for deadline() again.
  Actions on_timer(base::Instant now);
  [[nodiscard]] base::Instant deadline() const;  // never() when nothing is armed

  // --- output, pulled until nullopt (also in kClosed: see Actions::end). The link refused (SendStatus::kAgain): call untransmit(t) with the same value and
  // stop; it will be offered again. kDropped needs nothing: it is loss on the wire.
  std::optional<Transmit> next_transmit(base::Instant now);
  void untransmit(const Transmit& transmit);

  // --- facts the driver needs
  [[nodiscard]] State state() const;
  [[nodiscard]] std::uint32_t mss() const;               // payload bytes of one wire segment to the guest
  [[nodiscard]] std::uint32_t host_read_budget(std::uint32_t ring_bytes, std::uint32_t ring_limit) const;
                                                         // how many bytes to recv() now: bounded by the guest's window
                                                         // (plus a little lookahead) and the ring limit; 0 = stop reading
  [[nodiscard]] std::uint32_t bytes_in_flight() const;
  [[nodiscard]] std::uint32_t promised() const;          // stash bytes this flow may need now: in-order bytes held + open window
  [[nodiscard]] bool wants_host_data() const;            // false before the guest's ACK of our SYN-ACK and after EOF
};

}  // namespace cordon::tcp
