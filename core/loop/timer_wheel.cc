#include "core/loop/timer_wheel.h"

#include <algorithm>

namespace cordon::loop {

TimerWheel::TimerWheel(std::uint32_t slots, base::Instant now) : nodes_(slots), current_(floor_tick(now)) {}

void TimerWheel::arm(std::uint32_t slot, base::Instant deadline) {
  if (deadline == base::Instant::never()) return;
  const std::uint64_t nanos = deadline.nanos() < 0 ? 0 : static_cast<std::uint64_t>(deadline.nanos());
  // Rounded up, at least one tick ahead, at most what the top level holds.
  constexpr std::uint64_t kSpan = (std::uint64_t{1} << (kLevels * kBits)) - 1;
  const std::uint64_t wanted = (nanos + (1U << kTickShift) - 1) >> kTickShift;
  const std::uint64_t expiry = std::clamp(wanted, current_ + 1, current_ + kSpan);
  Node& node = nodes_[slot];
  if (node.expiry != 0) {
    if (node.expiry <= expiry) return;
    cancel(slot);
  }
  insert(slot, expiry);
}

void TimerWheel::insert(std::uint32_t slot, std::uint64_t expiry) {
  const std::uint64_t delta = expiry - current_;
  unsigned level = 0;
  while (level + 1 < kLevels && delta >= (std::uint64_t{1} << ((level + 1) * kBits))) ++level;
  const auto index = static_cast<std::uint32_t>((expiry >> (level * kBits)) & (kBuckets - 1));
  Bucket& to = buckets_[level * kBuckets + index];
  nodes_[slot] = {expiry, to.head, kNone, static_cast<std::uint32_t>(level * kBuckets + index)};
  if (to.head != kNone) nodes_[to.head].previous = slot;
  to.head = slot;
  occupied_[level] |= std::uint64_t{1} << index;
}

void TimerWheel::cancel(std::uint32_t slot) {
  Node& node = nodes_[slot];
  if (node.expiry == 0) return;
  Bucket& from = buckets_[node.place];
  (node.previous == kNone ? from.head : nodes_[node.previous].next) = node.next;
  if (node.next != kNone) nodes_[node.next].previous = node.previous;
  if (from.head == kNone) occupied_[node.place / kBuckets] &= ~(std::uint64_t{1} << (node.place % kBuckets));
  node.expiry = 0;
}

std::uint64_t TimerWheel::next_tick() const {
  std::uint64_t best = UINT64_MAX;
  for (unsigned level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    // Everything in a level lies in the 64 blocks after the current one.
    const std::uint64_t block = (current_ >> (level * kBits)) + 1;
    const auto turned = std::rotr(occupied_[level], static_cast<int>(block & (kBuckets - 1)));
    const std::uint64_t first = block + static_cast<std::uint64_t>(std::countr_zero(turned));
    best = std::min(best, first << (level * kBits));
  }
  return best;
}

void TimerWheel::cascade() {
  for (unsigned level = kLevels - 1; level > 0; --level) {
    if ((current_ & ((std::uint64_t{1} << (level * kBits)) - 1)) != 0) continue;
    Bucket& from = bucket(level, current_);
    while (from.head != kNone) {
      const std::uint32_t slot = from.head;
      const std::uint64_t expiry = nodes_[slot].expiry;
      cancel(slot);
      insert(slot, expiry);
    }
  }
}

base::Instant TimerWheel::next_deadline() const {
  const std::uint64_t tick = next_tick();
  if (tick == UINT64_MAX) return base::Instant::never();
  return base::Instant::from_nanos(static_cast<std::int64_t>(tick << kTickShift));
}

}  // namespace cordon::loop
