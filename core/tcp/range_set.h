// A few disjoint, non-adjacent sequence ranges, the most recently touched first (the order RFC 2018 section 4
// wants for SACK blocks). Used for what we hold out of order and for what the guest says it holds. Linear: N
// is 4 to 8.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/net/seq_num.h"

namespace cordon::tcp {

struct SackBlock {
  net::SeqNum left;   // first byte held
  net::SeqNum right;  // first byte not held
  friend constexpr bool operator==(const SackBlock&, const SackBlock&) = default;
};

template <std::size_t N>
class RangeSet {
 public:
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] const SackBlock& operator[](std::size_t i) const { return ranges_[i]; }
  void clear() { size_ = 0; }

  // Adds `range`, joined with every range it overlaps or touches. False when all places are taken.
  bool insert(SackBlock range) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      const SackBlock old = ranges_[i];
      if (old.right.before(range.left) || old.left.after(range.right)) {
        ranges_[kept++] = old;
        continue;
      }
      if (old.left.before(range.left)) range.left = old.left;
      if (old.right.after(range.right)) range.right = old.right;
    }
    if (kept == N) return false;  // nothing was joined, so nothing was lost
    for (std::size_t i = kept; i > 0; --i) ranges_[i] = ranges_[i - 1];
    ranges_[0] = range;
    size_ = static_cast<std::uint8_t>(kept + 1);
    return true;
  }

  // Forgets everything before `edge`.
  void drop_before(net::SeqNum edge) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      SackBlock range = ranges_[i];
      if (!range.right.after(edge)) continue;
      if (range.left.before(edge)) range.left = edge;
      ranges_[kept++] = range;
    }
    size_ = static_cast<std::uint8_t>(kept);
  }

  [[nodiscard]] std::optional<SackBlock> covering(net::SeqNum seq) const {
    for (std::size_t i = 0; i < size_; ++i)
      if (!seq.before(ranges_[i].left) && seq.before(ranges_[i].right)) return ranges_[i];
    return std::nullopt;
  }

  // The nearest range that starts at or after `seq`.
  [[nodiscard]] std::optional<SackBlock> next_from(net::SeqNum seq) const {
    std::optional<SackBlock> best;
    for (std::size_t i = 0; i < size_; ++i)
      if (!ranges_[i].left.before(seq) && (!best || ranges_[i].left.before(best->left))) best = ranges_[i];
    return best;
  }

  // The right edge of the highest range, or `floor` when there is none above it.
  [[nodiscard]] net::SeqNum highest(net::SeqNum floor) const {
    for (std::size_t i = 0; i < size_; ++i)
      if (ranges_[i].right.after(floor)) floor = ranges_[i].right;
    return floor;
  }

  [[nodiscard]] std::uint32_t bytes() const {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < size_; ++i)
      sum += static_cast<std::uint32_t>(ranges_[i].right.distance_from(ranges_[i].left));
    return sum;
  }

 private:
  std::array<SackBlock, N> ranges_{};
  std::uint8_t size_ = 0;
};

}  // namespace cordon::tcp
