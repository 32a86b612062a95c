// Rate limits of the data path: which flow may move how many bytes now, and who waits for whom.
//
// Theory of operation. A ShaperBank holds two token buckets (one for each direction) per shaper and is shared
// by all workers, so that a rate is the guest's and not a worker's; drawing from it is one atomic exchange
// per read or write, and nothing for a flow that is not shaped. A flow may draw from two shapers, its own and
// an outer one.
//
// Streams are delayed: a flow that finds too few tokens stands in line, one line for each shaper and
// direction in each worker, and one timer wakes the head when enough tokens are back. Nobody overtakes a
// line; who is served takes a bounded quantum and goes to the back, so flows of one shaper share it evenly
// whatever their number. Lines that share an outer shaper are served in turns. What waits stays where it is:
// in the kernel's socket (whose peer's window closes) or in the flow's stash (whose guest's window closes).
//
// Datagrams are policed: while the bucket is in debt they are dropped and counted.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/base/byte_bucket.h"
#include "core/base/reserved.h"
#include "core/flow/gate.h"
#include "core/loop/timer_wheel.h"

namespace cordon::plane {

enum class Direction : std::uint8_t { kToHost, kToGuest };

class ShaperBank {
 public:
  // The latest word counts.
  void set(const flow::Shaping& shaping, base::Instant now);
  [[nodiscard]] base::ByteBucket& bucket(std::uint16_t shaper, Direction direction) {
    return buckets_[shaper - 1U][static_cast<std::size_t>(direction)];
  }

 private:
  std::array<std::array<base::ByteBucket, 2>, flow::kMaxShapers> buckets_;
};

// The shaper a flow draws from; 0: none. Which outer one that shaper has is the same for all its flows: the
// latest word counts.
struct ShaperIds {
  std::uint16_t shaper = 0;
  explicit operator bool() const { return shaper != 0; }
  friend bool operator==(ShaperIds, ShaperIds) = default;
};

// One worker's lines.
class Shapers {
 public:
  static constexpr std::uint32_t kTimers = 2U * flow::kMaxShapers;

  // `timers` has kTimers timers of ours from number `first_timer` on.
  Shapers(ShaperBank& bank, std::uint32_t slots, loop::TimerWheel& timers, std::uint32_t first_timer);

  [[nodiscard]] ShaperIds adopt(const flow::Shaping& shaping, base::Instant now);
  // After other rates: who waits is due at another time.
  void rearm(ShaperIds ids, base::Instant now);

  // How many of `wanted` bytes (more than 0) the flow may move now. Less than wanted: it stands in line and
  // will be served; 0: nothing may move.
  [[nodiscard]] std::uint32_t allowance(std::uint32_t slot, ShaperIds ids, Direction direction,
                                        std::uint32_t wanted, base::Instant now);
  void charge(ShaperIds ids, Direction direction, std::uint64_t bytes, base::Instant now);
  // A datagram: true, and charged, or to be dropped.
  [[nodiscard]] bool pass(ShaperIds ids, Direction direction, std::uint64_t bytes, base::Instant now);
  // The slot's flow is freed: whoever gets the slot next stands in no line yet.
  void leave(std::uint32_t slot);
  // How long `bytes` take at the flow's rate.
  [[nodiscard]] base::Duration time_for(ShaperIds ids, Direction direction, std::uint64_t bytes) const;

  // A timer of ours fired: calls run(slot) for those whose turn has come.
  template <class Run>
  void serve(std::uint32_t timer, base::Instant now, Run&& run) {
    std::uint32_t index = timer - first_timer_;
    const Direction direction = direction_of(index);
    const std::uint16_t outer = outer_[shaper_of(index)];
    for (std::uint32_t n = 0; n < kServes && next_line(index, outer, now); ++n) {
      const std::uint32_t slot = pop(index);
      served_[static_cast<std::size_t>(direction)] = slot;
      run(slot);
      served_[static_cast<std::size_t>(direction)] = kNobody;
    }
    arm_group(timer - first_timer_, outer, now);
  }

 private:
  struct Line {
    std::uint32_t head = 0;
    std::uint32_t tail = 0;
    std::uint32_t size = 0;
  };
  static constexpr std::uint32_t kNobody = UINT32_MAX;
  static constexpr std::uint32_t kServes = 64;  // of one line in one turn
  static Direction direction_of(std::uint32_t index) {
    return index < flow::kMaxShapers ? Direction::kToHost : Direction::kToGuest;
  }

  static std::uint16_t shaper_of(std::uint32_t index) {
    return static_cast<std::uint16_t>(index % flow::kMaxShapers + 1);
  }
  void set_outer(std::uint16_t shaper, std::uint16_t outer);
  [[nodiscard]] std::uint64_t available(ShaperIds ids, Direction direction, base::Instant now) const;
  [[nodiscard]] std::uint64_t rate(ShaperIds ids, Direction direction) const;
  [[nodiscard]] bool enough(std::uint32_t index, base::Instant now) const;
  // Moves `index` on to the line whose turn it is: itself, or of those that share an outer shaper the next
  // one. False: nobody can be served.
  [[nodiscard]] bool next_line(std::uint32_t& index, std::uint16_t outer, base::Instant now);
  void push(std::uint32_t slot, ShaperIds ids, Direction direction, base::Instant now);
  std::uint32_t pop(std::uint32_t index);
  void unlink(std::uint32_t index, std::uint32_t slot);
  void arm_group(std::uint32_t index, std::uint16_t outer, base::Instant now);
  void arm(std::uint32_t index, base::Instant now);

  ShaperBank& bank_;
  loop::TimerWheel& timers_;
  std::uint32_t first_timer_;
  // By direction and slot: who stands behind (0: not in line) and before it, and in which line.
  std::array<base::Reserved<std::uint32_t>, 2> next_;
  std::array<base::Reserved<std::uint32_t>, 2> previous_;
  std::array<base::Reserved<std::uint32_t>, 2> line_of_;
  std::array<Line, kTimers> lines_{};
  std::array<std::uint16_t, flow::kMaxShapers + 1> outer_{};  // by shaper
  std::array<std::uint32_t, 2> served_{kNobody, kNobody};
  // By direction and outer shaper: how many wait in its lines, and the line served last.
  std::array<std::uint32_t, kTimers> waiting_{};
  std::array<std::uint32_t, kTimers> cursor_{};
};

}  // namespace cordon::plane
