// Field<T, Offset>: one declaration per header field, used for reading and for writing, so that the two
// cannot drift apart. T is an unsigned integer (big-endian on the wire) or an address type.
//
// Bounds: get() and put() need a span that reaches kEnd. Views establish that once, in parse(); the span's
// own assertion stands behind it.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/bytes.h"
#include "core/net/ip_address.h"
#include "core/net/mac_address.h"

namespace cordon::wire {

using base::Bytes;
using base::MutableBytes;

template <class T>
concept AddressType = std::same_as<T, net::Ipv4Address> || std::same_as<T, net::Ipv6Address> ||
                      std::same_as<T, net::MacAddress>;

template <class T>
constexpr std::size_t wire_size() {
  if constexpr (AddressType<T>) {
    return T::kSize;
  } else {
    return sizeof(T);
  }
}

template <class T, std::size_t Offset>
  requires(std::unsigned_integral<T> || AddressType<T>)
struct Field {
  static constexpr std::size_t kOffset = Offset;
  static constexpr std::size_t kSize = wire_size<T>();
  static constexpr std::size_t kEnd = Offset + kSize;

  static constexpr T get(Bytes bytes) {
    const auto field = bytes.subspan<Offset, kSize>();
    if constexpr (AddressType<T>) {
      std::array<std::uint8_t, kSize> raw{};
      for (std::size_t i = 0; i < kSize; ++i) raw[i] = std::to_integer<std::uint8_t>(field[i]);
      return T{raw};
    } else {
      return base::load_be<T>(field);
    }
  }
  static constexpr void put(MutableBytes bytes, T value) {
    const auto field = bytes.subspan<Offset, kSize>();
    if constexpr (AddressType<T>) {
      for (std::size_t i = 0; i < kSize; ++i) field[i] = std::byte{value.bytes()[i]};
    } else {
      base::store_be<T>(field, value);
    }
  }
};

}  // namespace cordon::wire
