#include "core/vhost/dirty_log.h"

#include <algorithm>
#include <atomic>

namespace cordon::vhost {

bool DirtyLog::mark(GuestAddress address, std::uint64_t length) {
  if (length == 0) return true;
  if (length - 1 > UINT64_MAX - address.value) return false;
  const std::uint64_t pages = std::uint64_t{bitmap_.size()} * 8;
  const std::uint64_t first = address.value / kPage;
  const std::uint64_t last = (address.value + (length - 1)) / kPage;
  if (first >= pages) return false;
  // A buffer has at most as many pages as its region; a whole byte of the bitmap at a time.
  const std::uint64_t end = std::min(last, pages - 1);
  for (std::uint64_t page = first; page <= end;) {
    const std::uint64_t in_byte = std::min<std::uint64_t>(8 - page % 8, end - page + 1);
    const auto mask = static_cast<std::uint8_t>(((1U << in_byte) - 1U) << (page % 8));
    auto& byte = *static_cast<std::uint8_t*>(static_cast<void*>(&bitmap_[page / 8]));
    // Always, although most bits are set already: the front end clears a bit and then reads the page, so our
    // bytes must be there before we look at the bit.
    std::atomic_ref<std::uint8_t>{byte}.fetch_or(mask, std::memory_order_seq_cst);
    page += in_byte;
  }
  return last < pages;
}

}  // namespace cordon::vhost
