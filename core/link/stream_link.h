// StreamLink: a VM's network card at the other end of a stream socket (QEMU's `-netdev stream` and `socket`,
// libkrun's unixstream) as a Link. Each frame follows its length, four bytes in network order, both ways.
//
// Theory of operation. Nothing here waits, whatever the descriptor's flags say: it may be shared and
// blocking. Input: one recv() fills the rest of a buffer, frames are handed out where they lie, and a frame
// cut by the end of what has come moves to the front before the next recv(). A length no frame can have means
// that the two sides disagree where frames begin; nothing behind it can be trusted, so the link is dead.
// Output: frames are gathered in a buffer with their lengths and leave together in flush(). What the socket
// does not take stays first in the buffer, so a frame once begun is always completed before the next one.
// While something waits for room nothing more is taken (kAgain), and waits_for() tells what to wake up for: a
// guest that has been stopped costs no more turns.
//
// A monitor without offloads to negotiate says nothing about checksums. libkrun's guests leave them to the
// device, which forwards frames as they are, so the guest's L4 checksums are never verified here. That harms
// nobody else: its payload is sent on from a socket of ours, with checksums of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/fd.h"
#include "core/base/reserved.h"
#include "core/link/link.h"

namespace cordon::link {

enum class StreamEnd : std::uint8_t {
  kNone,       // the link lives
  kClosed,     // by the other side, between two frames
  kCutShort,   // by the other side, inside a frame
  kBadLength,  // the stream is out of step
  kFailed,     // the socket reported an error
};

struct StreamStats {
  std::uint64_t bad_length = 0;  // a length no frame can have: one at most, it ends the link
  std::uint64_t refused = 0;     // frames to the guest that are too long for it, or came after the end
};

class StreamLink final : public Link {
 public:
  // What a length may say: an Ethernet header up to a VLAN-tagged 65,535 (libkrun's guests send
  // super-frames).
  static constexpr std::size_t kMinFrame = 14;
  static constexpr std::size_t kMaxFrame = 65'535 + 14 + 4;
  static constexpr std::size_t kPrefix = 4;

  // May throw std::bad_alloc.
  explicit StreamLink(base::Fd socket);

  [[nodiscard]] Capabilities capabilities() const override { return {}; }
  [[nodiscard]] int poll_fd() const override { return socket_.get(); }
  [[nodiscard]] std::size_t receive(std::span<Frame> frames) override;
  [[nodiscard]] Refused refused() const override { return {stats_.bad_length, 0}; }
  [[nodiscard]] SendStatus send(const Offload& offload, std::span<const iovec> parts) override;
  void flush() override;
  void trim() override;
  // The input begins with a whole frame, or with a length that is none.
  [[nodiscard]] bool pending() const override;
  [[nodiscard]] bool tells_room() const override { return true; }
  [[nodiscard]] std::uint32_t waits_for() const override;

  // Nothing will come any more, and nothing can be sent.
  [[nodiscard]] bool dead() const { return end_ != StreamEnd::kNone; }
  [[nodiscard]] StreamEnd end() const { return end_; }
  // For a person: why it is dead.
  [[nodiscard]] std::string describe_end() const;
  [[nodiscard]] const StreamStats& stats() const { return stats_; }

 private:
  // A batch's bytes should still be in the CPU's cache when they are written on; at least two whole frames.
  static constexpr std::size_t kInput = std::size_t{256} << 10U;
  static constexpr std::size_t kOutput = std::size_t{256} << 10U;
  static_assert(kInput >= 2 * (kMaxFrame + kPrefix) && kOutput >= 2 * (kMaxFrame + kPrefix));

  static constexpr bool possible(std::size_t length) { return length >= kMinFrame && length <= kMaxFrame; }
  [[nodiscard]] std::size_t length_at(std::size_t position) const;
  void refill();
  void compact();
  void fail(StreamEnd end, std::uint64_t detail);

  base::Fd socket_;
  base::Reserved<std::byte> input_;
  std::size_t first_ = 0, last_ = 0;  // what was read and not handed out yet
  base::Reserved<std::byte> output_;
  std::size_t sent_ = 0, gathered_ = 0;  // of the output
  bool full_ = false;                    // the socket took less than it was offered
  StreamEnd end_ = StreamEnd::kNone;
  std::uint64_t detail_ = 0;  // errno or the bad length
  StreamStats stats_;
};

}  // namespace cordon::link
