#include "core/net/mac_address.h"

#include <charconv>
#include <cstdio>

namespace cordon::net {

std::optional<MacAddress> parse_mac(std::string_view text) {
  std::array<std::uint8_t, 6> bytes{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) {
      if (at == end || *at != ':') return std::nullopt;
      ++at;
    }
    const auto [next, error] = std::from_chars(at, end, bytes[i], 16);
    if (error != std::errc{} || next - at > 2) return std::nullopt;
    at = next;
  }
  if (at != end) return std::nullopt;
  return MacAddress{bytes};
}

std::string to_string(MacAddress mac) {
  std::array<char, 18> text{};
  const auto& b = mac.bytes();
  std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
                b[5]);
  return text.data();
}

}  // namespace cordon::net
