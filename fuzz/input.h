// What fuzz targets share: the demand that never sleeps, and a reader that takes values off the front of the
// input. A reader that has run dry gives zeros, so that no input is refused for being short.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <span>
#include <string>

#include "core/base/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace cordon::fuzz {

// Unlike assert(), always on.
inline void require(bool holds, std::source_location at = std::source_location::current()) {
  if (holds) return;
  std::fprintf(stderr, "%s:%u: what must hold does not\n", at.file_name(), at.line());
  std::abort();
}

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : bytes_(data, size) {}

  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  std::uint8_t u8() {
    if (empty()) return 0;
    const std::uint8_t value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return value;
  }
  std::uint16_t u16() {
    const unsigned low = u8();
    return static_cast<std::uint16_t>(low | unsigned{u8()} << 8U);
  }
  std::uint32_t u32() {
    const std::uint32_t low = u16();
    return low | std::uint32_t{u16()} << 16U;
  }
  std::uint64_t u64() {
    const std::uint64_t low = u32();
    return low | std::uint64_t{u32()} << 32U;
  }
  bool flag() { return (u8() & 1U) != 0; }
  // As many as there are, `most` at most.
  base::Bytes bytes(std::size_t most) {
    const auto taken = bytes_.first(std::min(most, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return base::as_bytes(taken.data(), taken.size());
  }
  base::Bytes rest() { return bytes(bytes_.size()); }
  // A length in one byte, and so much text.
  std::string text() {
    std::string out;
    for (const std::byte b : bytes(u8())) out.push_back(std::to_integer<char>(b));
    return out;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

// How many descriptors this process holds.
std::size_t open_descriptors();

}  // namespace cordon::fuzz
