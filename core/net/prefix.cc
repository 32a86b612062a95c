#include "core/net/prefix.h"

#include <algorithm>
#include <charconv>

#include "core/base/check.h"

namespace cordon::net {
namespace {

IpAddress mask_host_bits(const IpAddress& address, unsigned length) {
  std::array<std::uint8_t, 16> bytes{};
  const auto in = address.bytes();
  for (std::size_t i = 0; i < in.size(); ++i) {
    const unsigned start = static_cast<unsigned>(i) * 8;
    if (length >= start + 8)
      bytes[i] = in[i];
    else if (length > start)
      bytes[i] = static_cast<std::uint8_t>(in[i] & (0xff00U >> (length - start)));
  }
  if (address.is_v4()) return Ipv4Address{bytes[0], bytes[1], bytes[2], bytes[3]};
  return Ipv6Address{bytes};
}

}  // namespace

std::optional<Prefix> Prefix::make(IpAddress address, unsigned length) {
  if (length > address.bit_count() || mask_host_bits(address, length) != address) return std::nullopt;
  return Prefix{address, length};
}

Prefix Prefix::containing(IpAddress address, unsigned length) {
  CORDON_CHECK(length <= address.bit_count());
  return Prefix{mask_host_bits(address, length), length};
}

bool Prefix::contains(const IpAddress& address) const {
  if (address.family() != family()) return false;
  const auto mine = address_.bytes();
  const auto other = address.bytes();
  const std::size_t whole = length_ / 8;
  if (!std::ranges::equal(mine.first(whole), other.first(whole))) return false;
  return length_ % 8 == 0 || ((mine[whole] ^ other[whole]) >> (8 - length_ % 8)) == 0;
}

std::expected<Prefix, PrefixError> parse_prefix(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = parse_ip(text.substr(0, slash));
  if (!address) return std::unexpected(PrefixError::kBadAddress);
  unsigned length = address->bit_count();
  if (slash != std::string_view::npos) {
    const auto digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (error != std::errc{} || end != digits.data() + digits.size() || length > address->bit_count() ||
        (digits.size() > 1 && digits.front() == '0'))
      return std::unexpected(PrefixError::kBadLength);
  }
  const auto prefix = Prefix::make(*address, length);
  if (!prefix) return std::unexpected(PrefixError::kHostBitsSet);
  return *prefix;
}

std::string to_string(const Prefix& prefix) {
  return to_string(prefix.address()) + "/" + std::to_string(prefix.length());
}

}  // namespace cordon::net
