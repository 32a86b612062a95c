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
  kHostClosed,    // our FIN sent after the host's EOF; guest may still send (FIN-WAIT-1/2)
  kBothClosed,    // both FINs exist, ours not yet acked (CLOSING / LAST-ACK)
  kTimeWait,      // both FINs acked and we closed first: answers late segments for a short time
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
  bool end = false;                  // the flow is over; see `reset_host`
  bool reset_host = false;           // with end: the host side must see RST, not FIN
  bool probe_host = false;           // guest keepalive: the driver asks for SO_KEEPALIVE semantics (already set by the broker; informative)
  bool transmit = false;             // next_transmit() has something (now)
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
  };
  SegmentResult on_segment(const Segment& segment, base::Instant now);
  // --- from the host socket
  Actions on_host_data(std::uint32_t bytes, base::Instant now);  // appended to the ring
  Actions on_host_eof(base::Instant now);                        // recv() returned 0: FIN follows the ring's last byte
  Actions on_host_error(base::Instant now);                      // ECONNRESET and the like: RST to the guest, end
  // --- credit: how the stash stands. `stashed` = in-order bytes held in the stash now; `credit` = bytes reserved.
  // Called after every write attempt that changed either; may make a window update due.
  Actions on_stash(std::uint32_t stashed, std::uint32_t credit, base::Instant now);
  // --- policy or operator cut the flow: RST to the guest, end
  Actions on_revoked(base::Instant now);
  // --- time
  Actions on_timer(base::Instant now);
  [[nodiscard]] base::Instant deadline() const;  // never() when nothing is armed

  // --- output, pulled until nullopt. The link refused (SendStatus::kAgain): call untransmit(t) with the same value and
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
  [[nodiscard]] bool wants_host_data() const;            // false before the guest's ACK of our SYN-ACK and after EOF
};

}  // namespace cordon::tcp
