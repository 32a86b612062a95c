#include "core/vhost/memory.h"

#include <algorithm>
#include <atomic>

namespace cordon::vhost {
namespace {

// Of a region that does not wrap, so no sum here can.
bool overlap(std::uint64_t a, std::uint64_t a_size, std::uint64_t b, std::uint64_t b_size) {
  return a < b ? b - a < a_size : a - b < b_size;
}

// Whether `first` .. `first` + `size` - 1 are addresses at all.
bool fits(std::uint64_t first, std::uint64_t size) { return size - 1 <= UINT64_MAX - first; }

std::optional<std::span<std::byte>> part(std::span<std::byte> bytes, std::uint64_t start,
                                         std::uint64_t address, std::uint64_t length) {
  if (address < start) return std::nullopt;
  const std::uint64_t offset = address - start;
  if (offset >= bytes.size() || length > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(offset, length);
}

}  // namespace

bool MemoryTable::add(const Region& region) {
  const std::uint64_t size = region.bytes.size();
  if (count_ == kMaxRegions || size == 0) return false;
  if (!fits(region.guest.value, size) || !fits(region.user.value, size)) return false;
  for (const Region& other : regions()) {
    if (overlap(region.guest.value, size, other.guest.value, other.bytes.size())) return false;
    if (overlap(region.user.value, size, other.user.value, other.bytes.size())) return false;
  }
  regions_[count_++] = region;
  return true;
}

bool MemoryTable::remove(const Region& region) {
  const auto all = std::span(regions_).first(count_);
  const auto at = std::ranges::find_if(all, [&region](const Region& other) {
    return other.guest.value == region.guest.value && other.user.value == region.user.value &&
           other.bytes.size() == region.bytes.size();
  });
  if (at == all.end()) return false;
  std::move(at + 1, all.end(), at);
  regions_[--count_] = {};
  return true;
}

template <class Start>
std::optional<std::span<std::byte>> MemoryTable::find(std::uint64_t address, std::uint64_t length,
                                                      Start start) const {
  if (length == 0) return std::nullopt;
  // A hint: workers share it, and any value will do.
  const std::atomic_ref<std::uint32_t> last{last_};
  const std::uint32_t hint = last.load(std::memory_order_relaxed);
  if (hint < count_)
    if (const auto found = part(regions_[hint].bytes, start(regions_[hint]), address, length)) return found;
  for (std::uint32_t i = 0; i < count_; ++i) {
    if (const auto found = part(regions_[i].bytes, start(regions_[i]), address, length)) {
      last.store(i, std::memory_order_relaxed);
      return found;
    }
  }
  return std::nullopt;
}

std::optional<std::span<std::byte>> MemoryTable::at(GuestAddress address, std::uint64_t length) const {
  return find(address.value, length, [](const Region& region) { return region.guest.value; });
}
std::optional<std::span<std::byte>> MemoryTable::at(UserAddress address, std::uint64_t length) const {
  return find(address.value, length, [](const Region& region) { return region.user.value; });
}

}  // namespace cordon::vhost
