#include "core/lan/guest_mac.h"

namespace cordon::lan {
namespace {

std::uint64_t pack(net::MacAddress mac) {
  std::uint64_t bits = 0;
  for (const std::uint8_t byte : mac.bytes()) bits = bits << 8U | byte;
  return bits;
}

std::optional<net::MacAddress> unpack(std::uint64_t bits) {
  if (bits == 0) return std::nullopt;
  std::array<std::uint8_t, net::MacAddress::kSize> bytes{};
  for (std::size_t i = bytes.size(); i-- > 0; bits >>= 8U) bytes[i] = static_cast<std::uint8_t>(bits);
  return net::MacAddress{bytes};
}

}  // namespace

std::optional<net::MacAddress> GuestMac::known() const { return unpack(bits_.load()); }

std::optional<net::MacAddress> GuestMac::learn(net::MacAddress candidate, net::MacAddress ours) {
  if (candidate.is_group() || candidate == net::MacAddress{} || candidate == ours) return known();
  std::uint64_t first = 0;
  const std::uint64_t bits = pack(candidate);
  return bits_.compare_exchange_strong(first, bits) ? candidate : unpack(first);
}

}  // namespace cordon::lan
