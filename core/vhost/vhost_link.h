// VhostLink: one queue pair of a vhost-user device as a Link.
//
// Theory of operation. From the guest: receive() walks the available chains of the transmit queue and copies
// each frame, header first, into a private buffer; what is judged, forwarded and counted is that copy. Of a
// large frame whose checksum nobody has to verify only the beginning is copied, which has room for all
// headers; the rest stays where it is (link::Tail) for the kernel to take it from there, and the chain is
// given back when the worker is done with the batch. To the guest: send() gathers as many chains of the
// receive queue as the frame needs and copies it there; chains that were read but did not suffice are kept,
// so that each is read once. Used entries are published in batches, and flush() makes at most one call for
// each queue, where the guest wants one.
//
// The worker polls an epoll of our own, in which the kicks come and go with the device's state
// (edge-triggered: a descriptor of the front end that is always readable tells of nothing new). While there
// is work, kicks are suppressed and the rings looked at instead (pending()); before_sleep() asks for kicks
// and looks once more, so that nothing that was added in between waits. Of the receive queue kicks are wanted
// only while a frame waits for buffers: a guest that posts none costs nothing.
//
// The rings are touched by the worker's thread alone, and by apply() while the worker is paused: it steps out
// of its seat for each sleep, and once in every turn. apply() wakes it.
//
// A guest that is not there (rings stopped, VM paused) is a full link. After the first violation the link is
// dead and takes and gives nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/base/fd.h"
#include "core/base/reserved.h"
#include "core/link/link.h"
#include "core/vhost/calls.h"
#include "core/vhost/data_path.h"
#include "core/vhost/fault_guard.h"
#include "core/vhost/net_header.h"
#include "core/vhost/pause.h"
#include "core/vhost/ring.h"

namespace cordon::vhost {

struct VhostStats {
  std::uint64_t chains_from_guest = 0;
  std::uint64_t frames_from_guest = 0;  // those that came out of receive()
  std::uint64_t tails = 0;              // ... with a part left in guest memory
  std::uint64_t bad_length = 0;         // shorter than the headers or longer than a frame can be
  std::uint64_t bad_offload = 0;        // header outside the frame, contradictory or not negotiated
  std::uint64_t frames_to_guest = 0;
  std::uint64_t no_buffers = 0;      // kAgain
  std::uint64_t not_fitting = 0;     // longer than all buffers a guest can post, or one without MRG_RXBUF
  std::uint64_t not_negotiated = 0;  // offloads the guest does not take
  std::uint64_t calls = 0;
};

class VhostLink final : public link::Link, public DataPath {
 public:
  // `seat`: nullptr for the worker that serves the protocol, too. May throw std::bad_alloc,
  // std::system_error.
  explicit VhostLink(PauseSeat* seat = nullptr);

  [[nodiscard]] link::Capabilities capabilities() const override;
  [[nodiscard]] int poll_fd() const override { return kicks_.get(); }
  [[nodiscard]] std::size_t receive(std::span<link::Frame> frames) override;
  [[nodiscard]] link::Refused refused() const override { return {stats_.bad_length, stats_.bad_offload}; }
  [[nodiscard]] link::SendStatus send(const link::Offload& offload, std::span<const iovec> parts) override;
  void flush() override;
  void trim() override;
  [[nodiscard]] bool before_wait(bool may_sleep) override;
  void after_wait() override;
  [[nodiscard]] bool pending() const override;
  [[nodiscard]] bool before_sleep() override;
  [[nodiscard]] bool tells_room() const override { return true; }
  [[nodiscard]] bool serves_guest() const override { return receive_.running(); }
  [[nodiscard]] bool intact() const override { return !fault_guard::memory_lost(); }
  void lose_tail() override { fault_guard::lose_memory(); }

  [[nodiscard]] std::uint16_t next_available(bool transmit) const override;
  void apply(const PairState& state) override;

  [[nodiscard]] bool dead() const { return violation_.has_value(); }
  [[nodiscard]] std::optional<RingViolation> violation() const { return violation_; }
  [[nodiscard]] const VhostStats& stats() const { return stats_; }

 private:
  static constexpr std::size_t kBuffers = 64;
  static constexpr std::size_t kBufferSize = 68U << 10U;  // header + Ethernet + 65,535, page aligned
  static constexpr std::size_t kSegments = 4 * kMaxChain;
  static constexpr std::size_t kPieces = 1024;  // of all tails of a batch

  void watch(const PairState& state);
  void forget_kicks();
  // The frame in a chain from the guest; nullopt: it is none.
  [[nodiscard]] std::optional<link::Frame> take(const Chain& chain, std::byte* buffer);
  [[nodiscard]] link::Tail leave(std::span<const Segment> segments, std::size_t skip, std::byte* room);
  void give_back();
  // Publishes; true: the guest wants to be told.
  [[nodiscard]] bool calls_for(Ring& ring);
  void call_both();
  void die(RingViolation violation);
  // Chains of the receive queue that were read and not used yet, with their segments.
  struct Waiting {
    std::array<Chain, kMaxRingSize> chains{};
    std::array<Segment, kSegments> segments{};
    std::size_t first_chain = 0, end_chain = 0;
    std::size_t first_segment = 0, end_segment = 0;
    [[nodiscard]] std::size_t size() const { return end_chain - first_chain; }
    void clear() { first_chain = end_chain = first_segment = end_segment = 0; }
    void compact();
  };
  enum class Gathered : std::uint8_t { kEnough, kTooFew, kNever };
  [[nodiscard]] Gathered gather(std::size_t bytes, std::size_t& chains);
  void fill(std::size_t chains, NetHeader header, std::span<const iovec> parts);

  PauseSeat* seat_;
  bool outside_ = false;
  base::Fd kicks_;    // epoll
  base::Fd changed_;  // in it: wakes the worker
  std::array<int, 2> watched_{-1, -1};
  Calls calls_;
  Negotiated features_;
  DirtyLog* log_ = nullptr;
  Ring receive_{Ring::Direction::kToGuest};
  Ring transmit_{Ring::Direction::kFromGuest};
  Waiting waiting_;
  std::array<Segment, kMaxChain> segments_{};  // of the chain from the guest that is copied
  base::Reserved<std::byte> buffers_;
  // Chains of frames with tails, and where those lie.
  std::array<std::uint16_t, kBuffers> lent_{};
  std::size_t lent_count_ = 0;
  std::array<iovec, kPieces> pieces_{};
  std::size_t piece_count_ = 0;
  bool blocked_ = false;  // a frame waits for buffers
  bool kicked_ = true;    // the epoll may have something to tell
  std::optional<RingViolation> violation_;
  VhostStats stats_;
};

}  // namespace cordon::vhost
