// The front end's memory as this process has it mapped, and nothing but ranges that were checked.
//
// A table is made by the back-end (backend.h) from descriptors it has judged, and does not change while a
// queue uses it: a new table is another object, and workers are paused for the change (pause.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace cordon::vhost {

inline constexpr std::size_t kMaxRegions = 32;  // VHOST_USER_GET_MAX_MEM_SLOTS; the message has room for 8

// In the guest's physical address space: what descriptors hold.
struct GuestAddress {
  std::uint64_t value = 0;
};
// In the front end's virtual address space: what SET_VRING_ADDR holds.
struct UserAddress {
  std::uint64_t value = 0;
};

struct Region {
  GuestAddress guest;
  UserAddress user;
  std::span<std::byte> bytes;  // mapped, shared, not empty; neither address wraps within
};

class MemoryTable {
 public:
  // False: full, empty, wraps, or overlaps another one in an address space.
  [[nodiscard]] bool add(const Region& region);
  // The one with these addresses and this size. False: there is none.
  [[nodiscard]] bool remove(const Region& region);
  [[nodiscard]] std::span<const Region> regions() const { return std::span(regions_).first(count_); }

  // `length` bytes from `address` on, all of one region; nullopt otherwise, and for length 0. May be called
  // for each descriptor: it looks first where it found the last one.
  [[nodiscard]] std::optional<std::span<std::byte>> at(GuestAddress address, std::uint64_t length) const;
  [[nodiscard]] std::optional<std::span<std::byte>> at(UserAddress address, std::uint64_t length) const;

 private:
  template <class Start>
  [[nodiscard]] std::optional<std::span<std::byte>> find(std::uint64_t address, std::uint64_t length,
                                                         Start start) const;

  std::array<Region, kMaxRegions> regions_{};
  std::size_t count_ = 0;
  mutable std::uint32_t last_ = 0;  // where the last address was found; several threads write it
};

}  // namespace cordon::vhost
