// Messages as a front end writes them, by hand: numbers from the interop document, not from our headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace cordon::vhost::test {

using Bytes = std::vector<std::byte>;

inline constexpr std::uint32_t kPlain = 0x1;      // version 1
inline constexpr std::uint32_t kNeedReply = 0x9;  // and bit 3

class Payload {
 public:
  Payload& u32(std::uint32_t value) { return put(&value, sizeof value); }
  Payload& u64(std::uint64_t value) { return put(&value, sizeof value); }
  Payload& zeros(std::size_t n) {
    bytes_.resize(bytes_.size() + n);
    return *this;
  }
  operator const Bytes&() const { return bytes_; }  // NOLINT: it is one

 private:
  Payload& put(const void* data, std::size_t size) {
    const auto* const first = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
    return *this;
  }
  Bytes bytes_;
};

inline Bytes message_bytes(std::uint32_t request, std::uint32_t flags, const Bytes& payload) {
  Bytes bytes = Payload{}.u32(request).u32(flags).u32(static_cast<std::uint32_t>(payload.size()));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

inline Bytes none() { return {}; }
inline Bytes number(std::uint64_t value) { return Payload{}.u64(value); }
inline Bytes state(std::uint32_t index, std::uint32_t value) { return Payload{}.u32(index).u32(value); }
inline Bytes addr(std::uint32_t index, std::uint32_t flags, std::uint64_t descriptors, std::uint64_t used,
                  std::uint64_t available, std::uint64_t log = 0) {
  return Payload{}.u32(index).u32(flags).u64(descriptors).u64(used).u64(available).u64(log);
}

struct RegionArgs {
  std::uint64_t guest = 0;
  std::uint64_t size = 0;
  std::uint64_t user = 0;
  std::uint64_t offset = 0;
};
inline Bytes mem_table(const std::vector<RegionArgs>& regions) {
  Payload out;
  out.u32(static_cast<std::uint32_t>(regions.size())).u32(0);
  for (const RegionArgs& r : regions) out.u64(r.guest).u64(r.size).u64(r.user).u64(r.offset);
  return out;
}
inline Bytes mem_reg(const RegionArgs& r) {
  return Payload{}.u64(0).u64(r.guest).u64(r.size).u64(r.user).u64(r.offset);
}

}  // namespace cordon::vhost::test
