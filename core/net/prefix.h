// A CIDR prefix: the length is in range and the host bits are zero by construction.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/net/ip_address.h"

namespace cordon::net {

class Prefix {
 public:
  // nullopt when `length` exceeds the family's bits or host bits are set.
  static std::optional<Prefix> make(IpAddress address, unsigned length);
  // Clears the host bits; `length` must be in range (CHECKed).
  static Prefix containing(IpAddress address, unsigned length);
  static Prefix single(IpAddress address) { return containing(address, address.bit_count()); }

  [[nodiscard]] const IpAddress& address() const { return address_; }
  [[nodiscard]] unsigned length() const { return length_; }
  [[nodiscard]] Family family() const { return address_.family(); }
  // False across families.
  [[nodiscard]] bool contains(const IpAddress& address) const;
  [[nodiscard]] bool contains(const Prefix& other) const {
    return other.length_ >= length_ && contains(other.address_);
  }
  friend auto operator<=>(const Prefix&, const Prefix&) = default;

 private:
  Prefix(IpAddress address, unsigned length) : address_(address), length_(length) {}
  IpAddress address_;
  unsigned length_;
};

enum class PrefixError : std::uint8_t { kBadAddress, kBadLength, kHostBitsSet };
// "ADDRESS" (full length) or "ADDRESS/LENGTH"; LENGTH is decimal without sign or leading zero.
[[nodiscard]] std::expected<Prefix, PrefixError> parse_prefix(std::string_view text);
[[nodiscard]] std::string to_string(const Prefix& prefix);

}  // namespace cordon::net
