// The device's side of a split virtqueue (virtio 1.2, section 2.7).
//
// Theory of operation. All of the ring lies in memory that the guest writes while we read, so every index and
// every descriptor is read once into private memory, judged there and never looked at again. A chain comes
// out as spans of guest memory that were checked against the memory table; what is in them is read once, too,
// by whoever copies it (snapshot()). Walks are bounded by the ring's size and by kMaxChain. A guest's driver
// that keeps to the standard never causes a RingViolation, so the first one ends the device.
//
// Used entries are written at once and published together. The two questions "does the guest want a call"
// and "has the guest added something since we asked for kicks" each need a full barrier between our store and
// the load of what the guest says (sections 2.7.7 and 2.7.10), because the other side does the same the other
// way round.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include "core/vhost/queue.h"

namespace cordon::vhost {

enum class RingViolation : std::uint8_t {
  kAvailableJump,          // the available index is more than a ring ahead
  kHeadOutOfRange,         // an available entry names no descriptor
  kNextOutOfRange,         // a descriptor's successor is none
  kLoop,                   // more descriptors than the ring has
  kIndirectNotNegotiated,  // INDIRECT without the feature
  kIndirectNested,         // INDIRECT in an indirect table
  kIndirectContinued,      // INDIRECT together with NEXT
  kIndirectLength,         // a table of no, broken or too many entries
  kOutsideMemory,          // a buffer or table that is not in one region
  kDirection,              // to be written by us where we read, or the other way round
};
[[nodiscard]] std::string_view name(RingViolation violation);

inline constexpr std::size_t kMaxChain = 1024;  // descriptors

struct RingDescriptor {  // as in memory
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags;
  std::uint16_t next;
};

struct Segment {
  std::span<std::byte> bytes;  // guest memory
  GuestAddress guest;
};

struct Chain {
  std::uint16_t head = 0;
  std::uint16_t segments = 0;  // without those of length 0
  std::uint64_t bytes = 0;     // in all of them
};

// Copies bytes that somebody may be writing: what is in `to` afterwards is all we ever know of them.
inline void snapshot(void* to, const void* from, std::size_t size);

class Ring {
 public:
  enum class Direction : std::uint8_t { kFromGuest, kToGuest };
  explicit Ring(Direction direction) : direction_(direction) {}

  // `log`: nullptr unless writes are to be logged.
  void start(const RingConfig& config, const Negotiated& features, const MemoryTable& memory, DirtyLog* log);
  void stop() { running_ = false; }
  [[nodiscard]] bool running() const { return running_; }
  [[nodiscard]] std::uint16_t size() const { return config_.size; }

  // The next available chain, its segments in `room` (at least kMaxChain); nullopt: none. After a violation
  // nothing but stop() makes sense.
  [[nodiscard]] std::expected<std::optional<Chain>, RingViolation> next(std::span<Segment> room);
  // The guest has added something that next() has not seen.
  [[nodiscard]] bool has_more() const;
  // Where next() reads.
  [[nodiscard]] std::uint16_t position() const { return next_available_; }

  // Gives a chain back; the guest sees it after publish().
  void put_used(std::uint16_t head, std::uint32_t written);
  [[nodiscard]] std::uint16_t unpublished() const { return static_cast<std::uint16_t>(used_ - published_); }
  void publish();
  // After publish(). True: the guest wants to be told of what was published since the last true.
  [[nodiscard]] bool wants_call();

  void suppress_kicks();
  // True: there is something already, or the guest has just added it; a kick may or may not come.
  [[nodiscard]] bool arm_kicks();

 private:
  [[nodiscard]] std::expected<Chain, RingViolation> walk(std::uint16_t head, std::span<Segment> room) const;
  [[nodiscard]] std::expected<std::span<const std::byte>, RingViolation> indirect_table(
      const RingDescriptor& descriptor) const;
  [[nodiscard]] std::uint16_t available_index() const;
  void store16(std::size_t offset, std::uint16_t value);
  void mark_used(std::size_t offset, std::size_t length);
  [[nodiscard]] std::size_t event_offset() const { return 4 + std::size_t{8} * config_.size; }

  Direction direction_;
  bool running_ = false;
  bool kicks_armed_ = false;
  bool call_owed_ = false;  // nothing is known of what was signalled: call for sure
  RingConfig config_;
  Negotiated features_;
  const MemoryTable* memory_ = nullptr;
  DirtyLog* log_ = nullptr;
  std::uint16_t next_available_ = 0;
  std::uint16_t seen_available_ = 0;
  std::uint16_t used_ = 0;       // the next used entry to write
  std::uint16_t published_ = 0;  // the used index the guest sees
  std::uint16_t signalled_ = 0;  // ... when we last asked whether to call
  std::uint16_t armed_at_ = 0;
};

inline void snapshot(void* to, const void* from, std::size_t size) {
  __builtin_memcpy(to, from, size);
  // The compiler may not read `from` a second time instead of the copy.
  asm volatile("" : : "r"(to) : "memory");
}

}  // namespace cordon::vhost
