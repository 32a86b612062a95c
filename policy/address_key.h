// An address as two integers, for searching and masking: the order of keys is that of addresses.
#pragma once

#include <compare>
#include <cstdint>

#include "core/net/ip_address.h"

namespace cordon::policy {

struct AddressKey {
  std::uint64_t high = 0;  // the first eight bytes; of IPv4 the first four, then zeros
  std::uint64_t low = 0;
  friend constexpr auto operator<=>(const AddressKey&, const AddressKey&) = default;
};

[[nodiscard]] constexpr AddressKey key_of(const net::IpAddress& address) {
  AddressKey key;
  const auto bytes = address.bytes();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::uint64_t& half = i < 8 ? key.high : key.low;
    half |= std::uint64_t{bytes[i]} << (56U - 8U * (i % 8U));
  }
  return key;
}

// The first `length` bits are the same.
[[nodiscard]] constexpr bool share_prefix(const AddressKey& a, const AddressKey& b, unsigned length) {
  const auto differ = [](std::uint64_t x, std::uint64_t y, unsigned bits) {
    return bits != 0 && ((x ^ y) >> (64U - bits)) != 0;
  };
  return !differ(a.high, b.high, length < 64 ? length : 64U) &&
         (length <= 64 || !differ(a.low, b.low, length - 64U));
}

}  // namespace cordon::policy
