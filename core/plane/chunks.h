// Byte queues cut from a fixed pool of equal chunks: the host -> guest ring and the guest -> host stash of
// each flow.
//
// Theory of operation. A ChunkPool owns the memory and counts two things: chunks in use and chunks promised
// (reserve()); a queue that reserved k chunks may always hold k, so a promise made to a guest as a window is
// kept whatever the others do. A ChunkQueue is a list of chunks that covers [front, front + reach) of one
// byte stream; bytes may be written at any distance ahead (out-of-order segments) and are read back as
// iovecs. Freed chunks are handed out last-freed first, so that few pages stay warm; trim() gives the pages
// of an unused pool back.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/bytes.h"
#include "core/base/reserved.h"

namespace cordon::plane {

class ChunkPool {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  ChunkPool(std::size_t bytes, std::uint32_t chunk_size);

  [[nodiscard]] std::uint32_t chunk_size() const { return chunk_size_; }
  [[nodiscard]] std::uint32_t total() const { return total_; }
  [[nodiscard]] std::uint32_t used() const { return used_; }
  [[nodiscard]] std::uint32_t promised() const { return promised_; }
  // Chunks that hold `bytes` wherever they start within a chunk.
  [[nodiscard]] std::uint32_t chunks_for(std::uint32_t bytes) const {
    return (bytes + chunk_size_ - 1) / chunk_size_ + 1;
  }

  [[nodiscard]] bool reserve(std::uint32_t chunks);
  void unreserve(std::uint32_t chunks) { promised_ -= chunks; }

  // kNone: all in use (never for a holder within its reservation).
  [[nodiscard]] std::uint32_t take();
  void give(std::uint32_t chunk);
  [[nodiscard]] std::byte* data(std::uint32_t chunk) {
    return memory_.data() + std::size_t{chunk} * chunk_size_;
  }
  [[nodiscard]] std::uint32_t next(std::uint32_t chunk) const { return next_[chunk]; }
  void set_next(std::uint32_t chunk, std::uint32_t next) { next_[chunk] = next; }
  // When nothing is in use: the kernel may have the pages back.
  void trim();

 private:
  std::uint32_t chunk_size_;
  std::uint32_t total_;
  std::uint32_t used_ = 0;
  std::uint32_t promised_ = 0;
  std::uint32_t fresh_ = 0;
  std::uint32_t free_ = kNone;
  base::Reserved<std::byte> memory_;
  base::Reserved<std::uint32_t> next_;
};

class ChunkQueue {
 public:
  [[nodiscard]] bool empty() const { return chunks_ == 0; }
  [[nodiscard]] std::uint32_t chunks() const { return chunks_; }

  // Copies `bytes` to [front + at, ...). False: the pool is empty (within a reservation: never).
  [[nodiscard]] bool write(ChunkPool& pool, std::uint32_t at, base::Bytes bytes);
  // Room for up to `length` bytes at `at`, as far as pool and `out` allow; returns the number of pieces.
  [[nodiscard]] std::size_t room(ChunkPool& pool, std::uint32_t at, std::uint32_t length,
                                 std::span<iovec> out);
  // The bytes [front + at, front + at + length), which must have been written; returns the number of pieces,
  // of which the caller has provided enough or gets a shorter prefix.
  [[nodiscard]] std::size_t pieces(ChunkPool& pool, std::uint32_t at, std::uint32_t length,
                                   std::span<iovec> out) const;
  void read(ChunkPool& pool, std::uint32_t at, base::MutableBytes out) const;
  // Drops the first `n` bytes of the stream, stored or not.
  void advance(ChunkPool& pool, std::uint32_t n);
  void clear(ChunkPool& pool);

 private:
  [[nodiscard]] bool extend(ChunkPool& pool, std::uint32_t end);
  [[nodiscard]] std::uint32_t reach(const ChunkPool& pool) const {
    return chunks_ * pool.chunk_size() - start_;
  }

  std::uint32_t head_ = ChunkPool::kNone;
  std::uint32_t tail_ = ChunkPool::kNone;
  std::uint32_t chunks_ = 0;
  std::uint32_t start_ = 0;  // of the front byte, in the head chunk
};

}  // namespace cordon::plane
