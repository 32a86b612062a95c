// The flow table: fixed slots, one keyed index from Tuple to slot, generations.
//
// Theory of operation. Everything is reserved at construction; a full table is an answer, not an error. The
// index is open addressing with linear probing at most half full, keyed by SipHash so that a guest cannot
// build collisions, and deletes by shifting back (no tombstones, so lookups never degrade). A removed flow
// leaves the index at once, but its slot goes to a limbo list until end_turn(): events of the same epoll
// batch still find a dead slot with a new generation, never a stranger. Caps keep datagram flows from taking
// TCP's slots. Datagram flows are kept in order of use, so that the longest idle one can make room; TCP flows
// are never evicted. UDP flows that began outside have a part of UDP's slots and an order of their own:
// whoever floods a published port drives out his like, not what the guest began.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "core/base/reserved.h"
#include "core/base/siphash.h"
#include "core/flow/types.h"

namespace cordon::flow {

class Table {
 public:
  struct Config {
    std::uint32_t slots = 16384;  // at most 2^24: a slot fits 24 bits of an epoll token
    std::uint32_t udp_slots = 6144;
    std::uint32_t icmp_slots = 256;
    base::SipKey key;
  };
  enum class Full : std::uint8_t { kTable, kProtocol };
  enum class Origin : std::uint8_t { kGuest, kOutside };

  explicit Table(const Config& config);

  [[nodiscard]] std::optional<std::uint32_t> find(const Tuple& tuple);
  // The tuple must not be in the table (CHECKed by callers' find()).
  [[nodiscard]] std::expected<Id, Full> insert(const Tuple& tuple, Origin origin = Origin::kGuest);
  // From now on find() and live() do not know it; the slot is reused after end_turn() at the earliest.
  void remove(std::uint32_t slot);
  void end_turn();

  [[nodiscard]] bool live(Id id) const {
    return id.slot < slots_ && id.generation != 0 && entries_[id.slot].live &&
           entries_[id.slot].generation == id.generation;
  }
  [[nodiscard]] const Tuple& tuple(std::uint32_t slot) const { return entries_[slot].tuple; }
  [[nodiscard]] Id id(std::uint32_t slot) const { return {slot, entries_[slot].generation}; }

  // Datagram flows only: this one was used just now.
  void touch(std::uint32_t slot);
  // The one idle for longest; nullopt when there is none. Not for TCP.
  [[nodiscard]] std::optional<std::uint32_t> least_recent(Protocol protocol,
                                                          Origin origin = Origin::kGuest) const;

  [[nodiscard]] std::uint32_t size() const { return live_; }
  [[nodiscard]] std::uint32_t size(Protocol protocol) const {
    return kind_[index_of(protocol)].count + (protocol == Protocol::kUdp ? kind_[kOutsideUdp].count : 0);
  }
  [[nodiscard]] std::uint32_t capacity() const { return slots_; }

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Entry {
    Tuple tuple;
    bool live;
    std::uint8_t kind;  // index of kind_
    std::uint32_t generation;
    std::uint32_t hash;
    std::uint32_t next;      // free list, limbo, or towards the less recently used
    std::uint32_t previous;  // towards the more recently used
  };
  struct Cell {  // zero: empty
    std::uint32_t hash;
    std::uint32_t slot_plus_1;
  };
  struct Kind {
    std::uint32_t cap = 0;
    std::uint32_t count = 0;
    std::uint32_t newest = kNone;
    std::uint32_t oldest = kNone;
  };

  static constexpr std::uint8_t kOutsideUdp = 3;
  static constexpr std::uint32_t kOutsidePart = 4;  // of udp_slots
  static constexpr std::uint8_t index_of(Protocol p, Origin origin = Origin::kGuest) {
    if (p == Protocol::kUdp) return origin == Origin::kGuest ? 1U : kOutsideUdp;
    return p == Protocol::kTcp ? 0U : 2U;
  }
  [[nodiscard]] std::uint32_t hash_of(const Tuple& tuple) const;
  void erase_cell(std::uint32_t slot);
  void link_newest(Kind& kind, std::uint32_t slot);
  void unlink(Kind& kind, std::uint32_t slot);

  std::uint32_t slots_;
  std::uint32_t mask_;
  base::SipKey key_;
  base::Reserved<Entry> entries_;
  base::Reserved<Cell> cells_;
  Kind kind_[4];
  std::uint32_t live_ = 0;
  std::uint32_t fresh_ = 0;     // slots never used yet start here
  std::uint32_t free_ = kNone;  // last freed first: warm memory
  std::uint32_t limbo_ = kNone;
  std::uint32_t last_hit_ = 0;  // frames come in runs of one flow
};

}  // namespace cordon::flow
