#include "tests/vhost/driver_ring.h"

#include <atomic>
#include <cstring>

namespace cordon::vhost_client {
namespace {

std::uint16_t load(std::uint16_t& word) {
  return std::atomic_ref<std::uint16_t>{word}.load(std::memory_order_acquire);
}
void store(std::uint16_t& word, std::uint16_t value) {
  std::atomic_ref<std::uint16_t>{word}.store(value, std::memory_order_release);
}
void full_barrier() { std::atomic_thread_fence(std::memory_order_seq_cst); }

}  // namespace

DriverRing::DriverRing(GuestMemory& memory, const RingOptions& options)
    : memory_(&memory),
      options_(options),
      descriptors_(memory.allocate(std::size_t{16} * options.size)),
      available_(memory.allocate(6 + std::size_t{2} * options.size)),
      used_(memory.allocate(6 + std::size_t{8} * options.size)),
      chain_length_(options.size) {
  if (options.indirect) tables_ = memory.allocate(options.size * kIndirectEntries * sizeof(RawDescriptor));
  reset();
}

void DriverRing::reset() {
  std::memset(memory_->at(descriptors_), 0, std::size_t{16} * options_.size);
  std::memset(memory_->at(available_), 0, 6 + std::size_t{2} * options_.size);
  std::memset(memory_->at(used_), 0, 6 + std::size_t{8} * options_.size);
  for (std::uint16_t i = 0; i < options_.size; ++i) descriptor(i).next = static_cast<std::uint16_t>(i + 1);
  free_head_ = added_ = kicked_ = last_used_ = 0;
  free_count_ = options_.size;
}

std::optional<std::uint16_t> DriverRing::add(std::span<const Buffer> buffers, bool writable) {
  const std::uint16_t direction = writable ? kWrite : std::uint16_t{0};
  const bool indirect = options_.indirect && buffers.size() > 1 && buffers.size() <= kIndirectEntries;
  const std::size_t needed = indirect ? 1 : buffers.size();
  if (needed > free_count_ || buffers.empty()) return std::nullopt;
  const std::uint16_t head = free_head_;
  const auto entry = [direction](const Buffer& buffer, bool last, std::uint16_t next) {
    return RawDescriptor{buffer.address, buffer.length,
                         static_cast<std::uint16_t>(direction | (last ? 0U : kNext)), next};
  };
  if (indirect) {
    const std::uint64_t table = tables_ + head * kIndirectEntries * sizeof(RawDescriptor);
    auto* const at = reinterpret_cast<RawDescriptor*>(memory_->at(table));
    for (std::size_t i = 0; i < buffers.size(); ++i)
      at[i] = entry(buffers[i], i + 1 == buffers.size(), static_cast<std::uint16_t>(i + 1));
    free_head_ = descriptor(head).next;
    descriptor(head) = {table, static_cast<std::uint32_t>(buffers.size() * sizeof(RawDescriptor)), kIndirect,
                        0};
  } else {
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      RawDescriptor& at = descriptor(free_head_);
      free_head_ = at.next;
      at = entry(buffers[i], i + 1 == buffers.size(), at.next);
    }
  }
  free_count_ = static_cast<std::uint16_t>(free_count_ - needed);
  chain_length_[head] = static_cast<std::uint16_t>(needed);
  available_entry(added_++) = head;
  return head;
}

void DriverRing::publish() { store(available_index(), added_); }

bool DriverRing::wants_kick() {
  full_barrier();
  const std::uint16_t before = kicked_;
  if (before == added_) return false;
  kicked_ = added_;
  if (!options_.event_index) return (load(used_flags()) & 1U) == 0;
  const std::uint16_t event = load(available_event());
  return static_cast<std::uint16_t>(added_ - event - 1) < static_cast<std::uint16_t>(added_ - before);
}

std::optional<DriverRing::Used> DriverRing::take_used() {
  if (load(used_index()) == last_used_) return std::nullopt;
  const std::byte* const at = memory_->at(used_) + 4 + std::size_t{8} * (last_used_ & (options_.size - 1U));
  std::uint32_t head = 0;
  Used used{};
  std::memcpy(&head, at, sizeof head);
  std::memcpy(&used.length, at + 4, sizeof used.length);
  used.head = static_cast<std::uint16_t>(head & (options_.size - 1U));
  ++last_used_;
  std::uint16_t last = used.head;
  for (std::uint16_t i = 1; i < chain_length_[used.head]; ++i) last = descriptor(last).next;
  descriptor(last).next = free_head_;
  free_head_ = used.head;
  free_count_ = static_cast<std::uint16_t>(free_count_ + chain_length_[used.head]);
  return used;
}

bool DriverRing::arm_calls() {
  if (options_.event_index)
    store(used_event(), last_used_);
  else
    store(available_flags(), 0);
  full_barrier();
  return load(used_index()) != last_used_;
}

void DriverRing::suppress_calls() {
  // With the event index, one that lies half a circle behind.
  if (options_.event_index)
    store(used_event(), static_cast<std::uint16_t>(last_used_ - 0x8000));
  else
    store(available_flags(), 1);
}

vhost::RingConfig DriverRing::config(std::uint16_t base) {
  const std::span<std::byte> device = memory_->region().bytes;
  const auto part = [&](std::uint64_t address, std::size_t size) {
    return device.subspan(address - memory_->start(), size);
  };
  return {.size = options_.size,
          .descriptors = part(descriptors_, std::size_t{16} * options_.size),
          .available = part(available_, 6 + std::size_t{2} * options_.size),
          .used = part(used_, 6 + std::size_t{8} * options_.size),
          .base = base,
          .used_logged = vhost::GuestAddress{used_}};
}

}  // namespace cordon::vhost_client
