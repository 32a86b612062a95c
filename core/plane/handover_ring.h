// A bounded ring that carries frames from one worker to another: one producer, one consumer, no lock.
//
// Theory of operation. A ring of bytes holds records of different length, each a header and its bytes without
// a break; a record that does not fit before the end leaves a filler there and starts at the front. Positions
// only grow. The producer publishes a record by moving `tail_`; the consumer reads records where they lie and
// gives them back, all at once, by moving `head_`. Each side keeps a copy of the other's position and looks
// at the shared one only when the copy says full or empty, so a busy ring costs one shared store a record.
// `tail_` is stored and loaded in the one order of all sequentially consistent operations, because the
// doorbell (shared_link.h) depends on it. A full ring refuses: the frame is lost, as on any full wire.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/base/bytes.h"
#include "core/base/reserved.h"
#include "core/link/link.h"

namespace cordon::plane {

class HandoverRing {
 public:
  enum class Kind : std::uint16_t { kFrame, kInbound, kToGuest };
  struct Record {
    Kind kind = Kind::kFrame;
    link::Offload offload;
    base::Bytes bytes;  // valid until release()
  };

  // `bytes`: a power of two; address space, committed as used.
  explicit HandoverRing(std::size_t bytes);

  // --- producer
  // False: full.
  [[nodiscard]] bool push(Kind kind, const link::Offload& offload, std::span<const base::Bytes> parts);
  // Gives memory back while nobody reads.
  void trim();

  // --- consumer
  [[nodiscard]] std::optional<Record> next();
  void release();
  // Nothing behind the last record taken by next().
  [[nodiscard]] bool empty() const { return tail_.load(std::memory_order_seq_cst) == cursor_; }

 private:
  struct Header {
    std::uint32_t size = 0;  // of the bytes; kFiller: up to the end of the ring
    Kind kind = Kind::kFrame;
    link::Offload offload;
  };
  static constexpr std::uint32_t kFiller = UINT32_MAX;
  // A multiple of the header's size, so that one always fits before the end.
  static constexpr std::size_t kUnit = 32;
  static_assert(sizeof(Header) <= kUnit);
  static constexpr std::size_t kLine = 64;  // of a cache: the two sides do not share one

  [[nodiscard]] std::byte* at(std::uint64_t position) { return memory_.data() + (position & mask_); }
  [[nodiscard]] bool room(std::uint64_t end);

  base::Reserved<std::byte> memory_;
  std::uint64_t mask_;
  alignas(kLine) std::atomic<std::uint64_t> tail_{0};  // written by the producer
  std::uint64_t head_seen_ = 0;                        // producer's copy of head_
  alignas(kLine) std::atomic<std::uint64_t> head_{0};  // written by the consumer
  std::uint64_t cursor_ = 0;                           // consumer: next record
  std::uint64_t tail_seen_ = 0;                        // consumer's copy of tail_
};

}  // namespace cordon::plane
