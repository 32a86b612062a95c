// Address value types. IpAddress is one type for both families so that everything above has one code path;
// an IPv4 address and its v4-mapped IPv6 form are different values (un-mapping is an explicit step).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace cordon::net {

enum class Family : std::uint8_t { kIpv4 = 4, kIpv6 = 6 };

class Ipv4Address {
 public:
  static constexpr std::size_t kSize = 4;
  constexpr Ipv4Address() = default;
  constexpr Ipv4Address(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d)
      : bytes_{a, b, c, d} {}
  explicit constexpr Ipv4Address(std::array<std::uint8_t, 4> bytes) : bytes_(bytes) {}
  // `bytes`: network order.
  static constexpr Ipv4Address from_bytes(std::span<const std::byte, 4> bytes) {
    Ipv4Address out;
    for (std::size_t i = 0; i < 4; ++i) out.bytes_[i] = std::to_integer<std::uint8_t>(bytes[i]);
    return out;
  }
  static constexpr Ipv4Address from_u32(std::uint32_t v) {
    return {static_cast<std::uint8_t>(v >> 24U), static_cast<std::uint8_t>(v >> 16U),
            static_cast<std::uint8_t>(v >> 8U), static_cast<std::uint8_t>(v)};
  }
  // Host-order integer whose most significant byte is the first octet.
  [[nodiscard]] constexpr std::uint32_t to_u32() const {
    return (std::uint32_t{bytes_[0]} << 24U) | (std::uint32_t{bytes_[1]} << 16U) |
           (std::uint32_t{bytes_[2]} << 8U) | bytes_[3];
  }
  [[nodiscard]] constexpr const std::array<std::uint8_t, 4>& bytes() const { return bytes_; }
  friend constexpr auto operator<=>(const Ipv4Address&, const Ipv4Address&) = default;

 private:
  std::array<std::uint8_t, 4> bytes_{};
};

class Ipv6Address {
 public:
  static constexpr std::size_t kSize = 16;
  constexpr Ipv6Address() = default;
  explicit constexpr Ipv6Address(std::array<std::uint8_t, 16> bytes) : bytes_(bytes) {}
  static constexpr Ipv6Address from_bytes(std::span<const std::byte, 16> bytes) {
    Ipv6Address out;
    for (std::size_t i = 0; i < 16; ++i) out.bytes_[i] = std::to_integer<std::uint8_t>(bytes[i]);
    return out;
  }
  [[nodiscard]] constexpr const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
  friend constexpr auto operator<=>(const Ipv6Address&, const Ipv6Address&) = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

// 17 bytes, trivially copyable; unused bytes of an IPv4 value are always zero, so it compares and hashes as
// bytes.
class IpAddress {
 public:
  constexpr IpAddress() = default;  // 0.0.0.0; absence is std::optional, never this value
  constexpr IpAddress(Ipv4Address v4) : family_(Family::kIpv4) {  // NOLINT(google-explicit-constructor)
    for (std::size_t i = 0; i < 4; ++i) bytes_[i] = v4.bytes()[i];
  }
  constexpr IpAddress(Ipv6Address v6)
      : family_(Family::kIpv6), bytes_(v6.bytes()) {}  // NOLINT(google-explicit-constructor)
  [[nodiscard]] constexpr Family family() const { return family_; }
  [[nodiscard]] constexpr bool is_v4() const { return family_ == Family::kIpv4; }
  [[nodiscard]] constexpr bool is_v6() const { return family_ == Family::kIpv6; }
  // Only valid for the matching family (CHECKed).
  [[nodiscard]] Ipv4Address v4() const;
  [[nodiscard]] Ipv6Address v6() const;
  // 32 or 128.
  [[nodiscard]] constexpr unsigned bit_count() const { return is_v4() ? 32 : 128; }
  // Network order; 4 or 16 significant bytes.
  [[nodiscard]] constexpr std::span<const std::uint8_t> bytes() const {
    return std::span{bytes_}.first(is_v4() ? 4 : 16);
  }
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  Family family_ = Family::kIpv4;
  std::array<std::uint8_t, 16> bytes_{};
};

// Strict text forms (inet_pton's, no zone, no shorthand, no octal) and canonical output (RFC 5952 for IPv6).
[[nodiscard]] std::optional<Ipv4Address> parse_ipv4(std::string_view text);
[[nodiscard]] std::optional<Ipv6Address> parse_ipv6(std::string_view text);
[[nodiscard]] std::optional<IpAddress> parse_ip(std::string_view text);
[[nodiscard]] std::string to_string(Ipv4Address address);
[[nodiscard]] std::string to_string(Ipv6Address address);
[[nodiscard]] std::string to_string(IpAddress address);

[[nodiscard]] constexpr bool is_unspecified(const IpAddress& a) {
  for (const auto b : a.bytes())
    if (b != 0) return false;
  return true;
}
[[nodiscard]] constexpr bool is_loopback(const IpAddress& a) {
  if (a.is_v4()) return a.bytes()[0] == 127;
  for (std::size_t i = 0; i < 15; ++i)
    if (a.bytes()[i] != 0) return false;
  return a.bytes()[15] == 1;
}
[[nodiscard]] constexpr bool is_multicast(const IpAddress& a) {
  return a.is_v4() ? (a.bytes()[0] & 0xf0U) == 0xe0U : a.bytes()[0] == 0xff;
}
[[nodiscard]] constexpr bool is_link_local(const IpAddress& a) {
  return a.is_v4() ? a.bytes()[0] == 169 && a.bytes()[1] == 254
                   : a.bytes()[0] == 0xfe && (a.bytes()[1] & 0xc0U) == 0x80U;
}

}  // namespace cordon::net
