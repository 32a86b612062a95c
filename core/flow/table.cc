#include "core/flow/table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "core/base/check.h"

namespace cordon::flow {
namespace {

std::size_t put(std::byte* at, const net::Endpoint& end) {
  const auto bytes = end.address.bytes();
  std::memcpy(at, bytes.data(), bytes.size());
  const std::uint16_t port = end.port.number();
  std::memcpy(at + bytes.size(), &port, sizeof port);
  return bytes.size() + sizeof port;
}

}  // namespace

Table::Table(const Config& config)
    : slots_(config.slots),
      mask_(std::bit_ceil(config.slots * 2) - 1),
      key_(config.key),
      entries_(config.slots),
      cells_(std::size_t{mask_} + 1),
      kind_{} {
  CORDON_CHECK(config.slots > 0 && config.slots < (1U << 24U));
  kind_[0].cap = config.slots;
  kind_[1].cap = config.udp_slots;
  kind_[2].cap = config.icmp_slots;
  kind_[kOutsideUdp].cap = std::max(config.udp_slots / kOutsidePart, 1U);
}

std::uint32_t Table::hash_of(const Tuple& tuple) const {
  // The family is told by the length, so an IPv4 tuple never hashes as an IPv6 one's prefix.
  std::array<std::byte, 40> bytes;
  std::size_t n = 0;
  bytes[n++] = static_cast<std::byte>(tuple.protocol);
  n += put(&bytes[n], tuple.guest);
  n += put(&bytes[n], tuple.remote);
  const std::uint64_t hash = base::siphash24(key_, std::span(bytes).first(n));
  return static_cast<std::uint32_t>(hash ^ (hash >> 32U));
}

std::optional<std::uint32_t> Table::find(const Tuple& tuple) {
  if (entries_[last_hit_].live && entries_[last_hit_].tuple == tuple) return last_hit_;
  const std::uint32_t hash = hash_of(tuple);
  for (std::uint32_t i = hash & mask_; cells_[i].slot_plus_1 != 0; i = (i + 1) & mask_) {
    if (cells_[i].hash != hash) continue;
    const std::uint32_t slot = cells_[i].slot_plus_1 - 1;
    if (entries_[slot].tuple == tuple) {
      last_hit_ = slot;
      return slot;
    }
  }
  return std::nullopt;
}

std::expected<Id, Table::Full> Table::insert(const Tuple& tuple, Origin origin) {
  const std::uint8_t index = index_of(tuple.protocol, origin);
  Kind& kind = kind_[index];
  if (kind.count >= kind.cap || size(tuple.protocol) >= kind_[index_of(tuple.protocol)].cap)
    return std::unexpected(Full::kProtocol);
  std::uint32_t slot = free_;
  if (slot != kNone) {
    free_ = entries_[slot].next;
  } else if (fresh_ < slots_) {
    slot = fresh_++;
  } else {
    return std::unexpected(Full::kTable);
  }
  Entry& entry = entries_[slot];
  entry.tuple = tuple;
  entry.live = true;
  entry.kind = index;
  if (++entry.generation == 0) entry.generation = 1;
  entry.hash = hash_of(tuple);
  std::uint32_t i = entry.hash & mask_;
  while (cells_[i].slot_plus_1 != 0) i = (i + 1) & mask_;
  cells_[i] = {entry.hash, slot + 1};
  ++kind.count;
  ++live_;
  if (tuple.protocol != Protocol::kTcp) link_newest(kind, slot);
  last_hit_ = slot;
  return Id{slot, entry.generation};
}

void Table::remove(std::uint32_t slot) {
  Entry& entry = entries_[slot];
  CORDON_CHECK(entry.live);
  erase_cell(slot);
  Kind& kind = kind_[entry.kind];
  if (entry.tuple.protocol != Protocol::kTcp) unlink(kind, slot);
  --kind.count;
  --live_;
  entry.live = false;
  entry.next = limbo_;
  limbo_ = slot;
}

void Table::end_turn() {
  while (limbo_ != kNone) {
    const std::uint32_t slot = limbo_;
    limbo_ = entries_[slot].next;
    entries_[slot].next = free_;
    free_ = slot;
  }
}

void Table::erase_cell(std::uint32_t slot) {
  std::uint32_t hole = entries_[slot].hash & mask_;
  while (cells_[hole].slot_plus_1 != slot + 1) hole = (hole + 1) & mask_;
  // Close the gap: move back each follower whose home is not between the hole and where it lies.
  for (std::uint32_t i = (hole + 1) & mask_; cells_[i].slot_plus_1 != 0; i = (i + 1) & mask_) {
    const std::uint32_t home = cells_[i].hash & mask_;
    if (((i - home) & mask_) < ((i - hole) & mask_)) continue;
    cells_[hole] = cells_[i];
    hole = i;
  }
  cells_[hole] = {};
}

void Table::touch(std::uint32_t slot) {
  Kind& kind = kind_[entries_[slot].kind];
  if (kind.newest == slot) return;
  unlink(kind, slot);
  link_newest(kind, slot);
}

std::optional<std::uint32_t> Table::least_recent(Protocol protocol, Origin origin) const {
  const std::uint32_t slot = kind_[index_of(protocol, origin)].oldest;
  if (slot == kNone) return std::nullopt;
  return slot;
}

void Table::link_newest(Kind& kind, std::uint32_t slot) {
  entries_[slot].previous = kNone;
  entries_[slot].next = kind.newest;
  if (kind.newest != kNone) entries_[kind.newest].previous = slot;
  kind.newest = slot;
  if (kind.oldest == kNone) kind.oldest = slot;
}

void Table::unlink(Kind& kind, std::uint32_t slot) {
  const Entry& entry = entries_[slot];
  (entry.previous == kNone ? kind.newest : entries_[entry.previous].next) = entry.next;
  (entry.next == kNone ? kind.oldest : entries_[entry.next].previous) = entry.previous;
}

}  // namespace cordon::flow
