// Byte spans and big-endian access. Byte order exists only here, in core/wire and in core/net/sockaddr.cc.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cordon::base {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

// The compiler sees the loop (so tests can be static_asserts); the CPU sees one load and a byte swap.
template <std::unsigned_integral T>
constexpr T load_be(std::span<const std::byte, sizeof(T)> bytes) {
  T value{};
  if consteval {
    for (const std::byte b : bytes) value = static_cast<T>((value << 8U) | std::to_integer<T>(b));
  } else {
    std::memcpy(&value, bytes.data(), sizeof value);
    if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1) value = std::byteswap(value);
  }
  return value;
}

template <std::unsigned_integral T>
constexpr void store_be(std::span<std::byte, sizeof(T)> bytes, T value) {
  if consteval {
    for (std::size_t i = sizeof(T); i-- > 0; value = static_cast<T>(value >> 7U >> 1U))
      bytes[i] = static_cast<std::byte>(value & 0xffU);
  } else {
    if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1) value = std::byteswap(value);
    std::memcpy(bytes.data(), &value, sizeof value);
  }
}

inline Bytes as_bytes(const void* data, std::size_t size) {
  return {static_cast<const std::byte*>(data), size};
}
inline MutableBytes as_writable_bytes(void* data, std::size_t size) {
  return {static_cast<std::byte*>(data), size};
}

}  // namespace cordon::base
