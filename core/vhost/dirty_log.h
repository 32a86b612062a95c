// The bitmap of guest pages that we have written to, for a migration (VHOST_USER_SET_LOG_BASE): one bit for
// 4096 bytes of guest-physical address space, shared with the front end, which clears what it has read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/vhost/memory.h"

namespace cordon::vhost {

class DirtyLog {
 public:
  static constexpr std::uint64_t kPage = 4096;

  DirtyLog() = default;
  // Mapped, shared, not empty. Bits are set in whole bytes, so it need not be aligned.
  explicit DirtyLog(std::span<std::byte> bitmap) : bitmap_(bitmap) {}

  // `length` bytes from `address` on were written. Pages that the bitmap has no bit for are left out: the
  // front end that chose its size loses by that, nobody else. False then.
  bool mark(GuestAddress address, std::uint64_t length);
  [[nodiscard]] std::span<std::byte> bitmap() const { return bitmap_; }

 private:
  std::span<std::byte> bitmap_;
};

}  // namespace cordon::vhost
