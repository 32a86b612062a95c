#include "core/plane/handover_ring.h"

#include <bit>
#include <cstring>
#include <new>
#include <type_traits>

#include "core/base/check.h"

namespace cordon::plane {

HandoverRing::HandoverRing(std::size_t bytes) : memory_(bytes), mask_(bytes - 1) {
  CORDON_CHECK(std::has_single_bit(bytes) && bytes >= kUnit);
}

bool HandoverRing::room(std::uint64_t end) {
  if (end - head_seen_ <= mask_ + 1) return true;
  head_seen_ = head_.load(std::memory_order_acquire);
  return end - head_seen_ <= mask_ + 1;
}

bool HandoverRing::push(Kind kind, const link::Offload& offload, std::span<const base::Bytes> parts) {
  std::size_t size = 0;
  for (const base::Bytes part : parts) size += part.size();
  const std::uint64_t need = kUnit + (size + kUnit - 1) / kUnit * kUnit;
  std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  const std::uint64_t to_end = mask_ + 1 - (tail & mask_);
  const bool wraps = need > to_end;
  if (!room(tail + need + (wraps ? to_end : 0))) return false;
  static_assert(std::is_trivially_copyable_v<Header>);
  if (wraps) {
    const Header filler{.size = kFiller, .kind = kind, .offload = {}};
    std::memcpy(at(tail), &filler, sizeof filler);
    tail += to_end;
  }
  const Header header{.size = static_cast<std::uint32_t>(size), .kind = kind, .offload = offload};
  std::memcpy(at(tail), &header, sizeof header);
  std::byte* to = at(tail) + kUnit;
  for (const base::Bytes part : parts) {
    if (!part.empty()) std::memcpy(to, part.data(), part.size());
    to += part.size();
  }
  tail_.store(tail + need, std::memory_order_seq_cst);
  return true;
}

// The consumer reads between head and tail only, and there is nothing.
void HandoverRing::trim() {
  if (head_.load(std::memory_order_acquire) != tail_.load(std::memory_order_relaxed)) return;
  memory_.discard(0, memory_.size());
}

std::optional<HandoverRing::Record> HandoverRing::next() {
  for (;;) {
    if (cursor_ == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_seq_cst);
      if (cursor_ == tail_seen_) return std::nullopt;
    }
    Header header;
    std::memcpy(&header, at(cursor_), sizeof header);
    if (header.size == kFiller) {
      cursor_ += mask_ + 1 - (cursor_ & mask_);
      continue;
    }
    const base::Bytes bytes{at(cursor_) + kUnit, header.size};
    cursor_ += kUnit + (header.size + kUnit - 1) / kUnit * kUnit;
    return Record{header.kind, header.offload, bytes};
  }
}

void HandoverRing::release() {
  // Unshared while idle: the line stays with the producer.
  if (head_.load(std::memory_order_relaxed) != cursor_) head_.store(cursor_, std::memory_order_release);
}

}  // namespace cordon::plane
