#include "core/plane/chunks.h"

#include <algorithm>
#include <cstring>

#include "core/base/check.h"

namespace cordon::plane {

ChunkPool::ChunkPool(std::size_t bytes, std::uint32_t chunk_size)
    : chunk_size_(chunk_size),
      total_(static_cast<std::uint32_t>(bytes / chunk_size)),
      memory_(std::size_t{total_} * chunk_size),
      next_(total_) {}

bool ChunkPool::reserve(std::uint32_t chunks) {
  if (total_ - promised_ < chunks) return false;
  promised_ += chunks;
  return true;
}

std::uint32_t ChunkPool::take() {
  std::uint32_t chunk = free_;
  if (chunk != kNone) {
    free_ = next_[chunk];
  } else if (fresh_ < total_) {
    chunk = fresh_++;
  } else {
    return kNone;
  }
  ++used_;
  next_[chunk] = kNone;
  return chunk;
}

void ChunkPool::give(std::uint32_t chunk) {
  next_[chunk] = free_;
  free_ = chunk;
  --used_;
}

void ChunkPool::trim() {
  if (used_ != 0 || fresh_ == 0) return;
  memory_.discard(0, std::size_t{fresh_} * chunk_size_);
  fresh_ = 0;
  free_ = kNone;
}

bool ChunkQueue::extend(ChunkPool& pool, std::uint32_t end) {
  while (reach(pool) < end) {
    const std::uint32_t chunk = pool.take();
    if (chunk == ChunkPool::kNone) return false;
    if (chunks_ == 0)
      head_ = chunk;
    else
      pool.set_next(tail_, chunk);
    tail_ = chunk;
    ++chunks_;
  }
  return true;
}

bool ChunkQueue::write(ChunkPool& pool, std::uint32_t at, base::Bytes bytes) {
  if (!extend(pool, at + static_cast<std::uint32_t>(bytes.size()))) return false;
  std::uint32_t chunk = head_;
  std::uint32_t offset = start_ + at;
  for (; offset >= pool.chunk_size(); offset -= pool.chunk_size()) chunk = pool.next(chunk);
  while (!bytes.empty()) {
    const std::size_t n = std::min<std::size_t>(bytes.size(), pool.chunk_size() - offset);
    std::memcpy(pool.data(chunk) + offset, bytes.data(), n);
    bytes = bytes.subspan(n);
    offset = 0;
    chunk = pool.next(chunk);
  }
  return true;
}

std::size_t ChunkQueue::room(ChunkPool& pool, std::uint32_t at, std::uint32_t length, std::span<iovec> out) {
  if (!extend(pool, at + length)) {
    if (reach(pool) <= at) return 0;
    length = reach(pool) - at;
  }
  return pieces(pool, at, length, out);
}

std::size_t ChunkQueue::pieces(ChunkPool& pool, std::uint32_t at, std::uint32_t length,
                               std::span<iovec> out) const {
  if (length == 0) return 0;
  CORDON_CHECK(at + length <= reach(pool));
  std::uint32_t chunk = head_;
  std::uint32_t offset = start_ + at;
  for (; offset >= pool.chunk_size(); offset -= pool.chunk_size()) chunk = pool.next(chunk);
  std::size_t n = 0;
  while (length > 0 && n < out.size()) {
    const std::uint32_t take = std::min(length, pool.chunk_size() - offset);
    out[n++] = {pool.data(chunk) + offset, take};
    length -= take;
    offset = 0;
    chunk = pool.next(chunk);
  }
  return n;
}

void ChunkQueue::read(ChunkPool& pool, std::uint32_t at, base::MutableBytes out) const {
  CORDON_CHECK(at + out.size() <= reach(pool));
  std::uint32_t chunk = head_;
  std::uint32_t offset = start_ + at;
  for (; offset >= pool.chunk_size(); offset -= pool.chunk_size()) chunk = pool.next(chunk);
  while (!out.empty()) {
    const std::size_t n = std::min<std::size_t>(out.size(), pool.chunk_size() - offset);
    std::memcpy(out.data(), pool.data(chunk) + offset, n);
    out = out.subspan(n);
    offset = 0;
    chunk = pool.next(chunk);
  }
}

void ChunkQueue::advance(ChunkPool& pool, std::uint32_t n) {
  if (chunks_ == 0) return;
  start_ += n;
  while (chunks_ > 0 && start_ >= pool.chunk_size()) {
    const std::uint32_t chunk = head_;
    head_ = pool.next(chunk);
    pool.give(chunk);
    --chunks_;
    start_ -= pool.chunk_size();
  }
  if (chunks_ == 0) *this = {};
}

void ChunkQueue::clear(ChunkPool& pool) {
  while (chunks_ > 0) {
    const std::uint32_t chunk = head_;
    head_ = pool.next(chunk);
    pool.give(chunk);
    --chunks_;
  }
  *this = {};
}

}  // namespace cordon::plane
