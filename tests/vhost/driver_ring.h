// The driver's side of a split virtqueue (virtio 1.2, section 2.7), as a guest's kernel has it; and access to
// every field, for a guest that lies.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/vhost/queue.h"
#include "tests/vhost/guest_memory.h"

namespace cordon::vhost_client {

struct Buffer {
  std::uint64_t address;
  std::uint32_t length;
};

struct RingOptions {
  std::uint16_t size = 256;
  bool event_index = false;
  bool indirect = false;
};

struct RawDescriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags;
  std::uint16_t next;
};
inline constexpr std::uint16_t kNext = 1;
inline constexpr std::uint16_t kWrite = 2;
inline constexpr std::uint16_t kIndirect = 4;

class DriverRing {
 public:
  struct Used {
    std::uint16_t head;
    std::uint32_t length;
  };

  DriverRing(GuestMemory& memory, const RingOptions& options);

  // Empty again, as after a reset of the guest.
  void reset();
  // The head, or nullopt: not enough free descriptors. The device sees it after publish().
  [[nodiscard]] std::optional<std::uint16_t> add(std::span<const Buffer> buffers, bool writable);
  void publish();
  // After publish().
  [[nodiscard]] bool wants_kick();
  // The next chain the device has given back; its descriptors are free again.
  [[nodiscard]] std::optional<Used> take_used();
  // True: something is there already.
  [[nodiscard]] bool arm_calls();
  void suppress_calls();
  [[nodiscard]] std::uint16_t size() const { return options_.size; }
  [[nodiscard]] std::uint16_t free() const { return free_count_; }
  [[nodiscard]] std::uint16_t in_flight() const { return static_cast<std::uint16_t>(added_ - last_used_); }

  // --- the fields themselves
  [[nodiscard]] RawDescriptor& descriptor(std::uint16_t i) {
    return reinterpret_cast<RawDescriptor*>(memory_->at(descriptors_))[i];
  }
  [[nodiscard]] std::uint16_t& available_flags() { return word(available_, 0); }
  [[nodiscard]] std::uint16_t& available_index() { return word(available_, 1); }
  [[nodiscard]] std::uint16_t& available_entry(std::uint16_t i) {
    return word(available_, 2U + (i & (options_.size - 1U)));
  }
  [[nodiscard]] std::uint16_t& used_event() { return word(available_, 2U + options_.size); }
  [[nodiscard]] std::uint16_t& used_flags() { return word(used_, 0); }
  [[nodiscard]] std::uint16_t& used_index() { return word(used_, 1); }
  [[nodiscard]] std::uint16_t& available_event() { return word(used_, 2U + 4U * options_.size); }
  [[nodiscard]] std::uint64_t descriptors_address() const { return descriptors_; }
  [[nodiscard]] std::uint64_t available_address() const { return available_; }
  [[nodiscard]] std::uint64_t used_address() const { return used_; }

  // For a device in this process.
  [[nodiscard]] vhost::RingConfig config(std::uint16_t base = 0);

 private:
  [[nodiscard]] std::uint16_t& word(std::uint64_t ring, std::size_t i) {
    return reinterpret_cast<std::uint16_t*>(memory_->at(ring))[i];
  }

  GuestMemory* memory_;
  RingOptions options_;
  std::uint64_t descriptors_, available_, used_, tables_ = 0;
  std::vector<std::uint16_t> chain_length_;  // by head
  std::uint16_t free_head_ = 0;
  std::uint16_t free_count_ = 0;
  std::uint16_t added_ = 0;
  std::uint16_t kicked_ = 0;
  std::uint16_t last_used_ = 0;
};

inline constexpr std::size_t kIndirectEntries = 64;

}  // namespace cordon::vhost_client
