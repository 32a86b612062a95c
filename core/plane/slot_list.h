// A first-in first-out list of slots, intrusive by index: work that waits. A slot is in it at most once. A
// slot may be freed and reused while listed; whoever pops it looks whether there is something to do.
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/reserved.h"

namespace cordon::plane {

class SlotList {
 public:
  explicit SlotList(std::uint32_t slots) : next_(slots) {}

  void push(std::uint32_t slot) {
    if (next_[slot] != kAbsent) return;
    next_[slot] = kLast;
    if (size_++ == 0)
      head_ = slot;
    else
      next_[tail_] = slot + kBias;
    tail_ = slot;
  }
  std::optional<std::uint32_t> pop() {
    if (size_ == 0) return std::nullopt;
    const std::uint32_t slot = head_;
    if (--size_ > 0) head_ = next_[slot] - kBias;
    next_[slot] = kAbsent;
    return slot;
  }
  // Back to the front: it could not be done and nothing behind it may pass.
  void push_front(std::uint32_t slot) {
    if (next_[slot] != kAbsent) return;
    next_[slot] = size_ == 0 ? kLast : head_ + kBias;
    if (size_++ == 0) tail_ = slot;
    head_ = slot;
  }
  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

 private:
  static constexpr std::uint32_t kAbsent = 0;
  static constexpr std::uint32_t kLast = 1;
  static constexpr std::uint32_t kBias = 2;
  base::Reserved<std::uint32_t> next_;
  std::uint32_t head_ = 0;
  std::uint32_t tail_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace cordon::plane
