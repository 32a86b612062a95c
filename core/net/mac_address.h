#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cordon::net {

class MacAddress {
 public:
  static constexpr std::size_t kSize = 6;
  constexpr MacAddress() = default;
  explicit constexpr MacAddress(std::array<std::uint8_t, 6> bytes) : bytes_(bytes) {}
  static constexpr MacAddress broadcast() { return MacAddress{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
  [[nodiscard]] constexpr const std::array<std::uint8_t, 6>& bytes() const { return bytes_; }
  [[nodiscard]] constexpr bool is_group() const { return (bytes_[0] & 1U) != 0; }  // multicast or broadcast
  [[nodiscard]] constexpr bool is_broadcast() const { return *this == broadcast(); }
  friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) = default;

 private:
  std::array<std::uint8_t, 6> bytes_{};
};

// "52:54:00:12:34:56"; each octet one or two hexadecimal digits.
[[nodiscard]] std::optional<MacAddress> parse_mac(std::string_view text);
[[nodiscard]] std::string to_string(MacAddress mac);

}  // namespace cordon::net
