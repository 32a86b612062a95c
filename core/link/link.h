// The link to the guest: frames in and out, with the offload metadata of a virtio-net header.
// Implementations: TapLink (namespace guests), StreamLink (a VM's stream socket); a fake in tests, with
// faults (drop, duplicate, reorder) by a seeded generator.
//
// Offload contract, both directions (virtio 1.2 section 5.1.6): `needs_checksum` means the L4 checksum field
// holds only the pseudo-header sum and must be completed over [checksum_start, end) at
// checksum_start+checksum_offset. A GSO frame carries one super-packet with `gso_size` payload bytes per
// final segment.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>

#include "core/base/bytes.h"

namespace cordon::link {

enum class Gso : std::uint8_t { kNone, kTcp4, kTcp6, kUdp };  // kUdp: USO (UDP_L4)

struct Offload {
  bool needs_checksum = false;  // see above
  bool checksum_valid = false;  // guest/kernel vouches for the checksum (VIRTIO_NET_HDR_F_DATA_VALID)
  bool ecn = false;             // a CWR super-segment (VIRTIO_NET_HDR_GSO_ECN)
  bool bulk = false;            // to the guest: of a flow with much traffic (see bulk_fd())
  Gso gso = Gso::kNone;
  std::uint16_t gso_size = 0;
  std::uint16_t header_length = 0;   // bytes up to the end of the L4 header
  std::uint16_t checksum_start = 0;  // from the start of the Ethernet header
  std::uint16_t checksum_offset = 0;
};

inline constexpr std::size_t kMostPieces = 63;  // of a tail

// The rest of a large frame, still in the guest's memory. The guest may change it until it has been copied,
// so it is never looked at where it lies: the kernel copies it, or complete() does. Copies of memory that is
// gone by then are zeros, and Link::intact() is false.
struct Tail {
  std::span<const iovec> pieces;  // at most kMostPieces, none empty
  std::size_t size = 0;
  std::byte* room = nullptr;  // for all of it, right behind the frame's bytes
};

// A received frame; valid until the next receive(), flush() or trim().
struct Frame {
  base::Bytes bytes;  // starts at the Ethernet header; all of the frame but its tail
  Offload offload;
  Tail tail;  // only of a frame that needs its checksum, and so none that would have to be verified
};

// Copies the tail behind the other bytes.
void complete(Frame& frame);

// What the guest sent and receive() kept back, because it is no frame; since the start.
struct Refused {
  std::uint64_t length = 0;   // shorter than an Ethernet header or longer than any frame
  std::uint64_t offload = 0;  // metadata outside of the frame, contradictory or not negotiated
};

enum class SendStatus : std::uint8_t {
  kSent,
  kAgain,   // link full now: the frame was not taken; retry when writable
  kDropped  // the link refused it (too long, interface down): counted by the link, treat as lost on the wire
};

struct Capabilities {
  bool tso = false;       // may send and may receive Gso::kTcp4/6
  bool uso = false;       // may send and may receive Gso::kUdp
  bool checksum = false;  // partial checksums allowed
};

class Link {
 public:
  virtual ~Link() = default;
  [[nodiscard]] virtual Capabilities capabilities() const = 0;
  // The fd to poll for input (level-triggered).
  [[nodiscard]] virtual int poll_fd() const = 0;
  // Reads up to frames.size() frames (bounded by the implementation's buffers, at least 32); returns how
  // many. 0 = nothing now. Frames stay valid until the next call.
  [[nodiscard]] virtual std::size_t receive(std::span<Frame> frames) = 0;
  // Asked after each receive(), so that what the guest sends is counted to the last frame.
  [[nodiscard]] virtual Refused refused() const { return {}; }
  // `parts`: headers first (starting at the Ethernet header), then payload pieces; copied before return.
  [[nodiscard]] virtual SendStatus send(const Offload& offload, std::span<const iovec> parts) = 0;
  // One notification per batch, where the link has such a thing. The guest gets back what its frames lay in.
  virtual void flush() {}
  // Nothing happened for a while: buffers may be given back to the kernel. Invalidates received frames.
  virtual void trim() {}

  // --- only of a link whose input is looked at rather than told of while there is much of it
  // There is input that no descriptor tells of; asked while the worker spins.
  [[nodiscard]] virtual bool pending() const { return false; }
  // The last word before a sleep: from here on descriptors tell. True: there is input already, do not sleep.
  [[nodiscard]] virtual bool before_sleep() { return false; }
  // After kAgain input is reported as soon as there is room, so that nobody needs to try again by the clock.
  [[nodiscard]] virtual bool tells_room() const { return false; }
  // --- only of a queue that the guest may leave unused although it uses others (a virtqueue pair)
  // False: what is sent here goes nowhere, now; another queue of the same guest has to take it.
  [[nodiscard]] virtual bool serves_guest() const { return true; }
  // What poll_fd() is to be polled for beside input: room for what flush() could not send. Each turn flushes.
  [[nodiscard]] virtual std::uint32_t waits_for() const { return 0; }

  // --- only of a link whose frames may have tails
  // False: some of the guest's memory is gone, and what was copied from it since may be none of the guest's
  // bytes. It leads nowhere any more.
  [[nodiscard]] virtual bool intact() const { return true; }
  // The kernel could not read a tail (EFAULT).
  virtual void lose_tail() {}

  // --- only of a link with two queues. What the guest answers to frames that were sent as `bulk` comes by
  // the second one, so that it does not stand before everybody else's. Level-triggered; -1: none.
  [[nodiscard]] virtual int bulk_fd() const { return -1; }
  // As receive(), and invalidates its frames.
  [[nodiscard]] virtual std::size_t receive_bulk(std::span<Frame> /*frames*/) { return 0; }

  // --- only of a link that other threads feed as well (core/plane/shared_link.h)
  // A second fd to poll for input, edge-triggered; -1: none.
  [[nodiscard]] virtual int wake_fd() const { return -1; }
  // Around each wait. True: there is input beside poll_fd(), receive() before sleeping.
  [[nodiscard]] virtual bool before_wait(bool /*may_sleep*/) { return false; }
  virtual void after_wait() {}
  // A packet put together from fragments. True: another thread's, it is taken care of.
  [[nodiscard]] virtual bool pass_on(base::Bytes /*ethernet_header*/, base::Bytes /*ip*/) { return false; }
};

}  // namespace cordon::link
