// Values inside options: each parser takes text and returns the value or what to do about it.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/options.h"
#include "core/net/ip_address.h"
#include "core/net/mac_address.h"
#include "core/net/prefix.h"

namespace cordon::app {

inline constexpr AddressAndLength kDefaultIpv4{net::Ipv4Address{10, 0, 2, 15}, 24};
inline constexpr AddressAndLength kDefaultIpv6{
    net::Ipv6Address{{0xfd, 0, 0, 0xc0, 0, 0x2d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x15}}, 64};
inline constexpr net::MacAddress kDefaultGuestMac{{0x52, 0xc0, 0x2d, 0, 0, 0x15}};
inline constexpr net::MacAddress kDefaultGatewayMac{{0x52, 0xc0, 0x2d, 0, 0, 0x02}};
inline constexpr std::uint16_t kDefaultMtu = 65520;
inline constexpr std::uint32_t kDefaultMaxFlows = 8192;

template <class T>
using Value = std::expected<T, std::string>;

[[nodiscard]] Value<AddressAndLength> parse_address_and_length(std::string_view text);
[[nodiscard]] Value<net::IpAddress> parse_plain_address(std::string_view text);
[[nodiscard]] Value<Features> parse_features(std::string_view text);  // "" = all
// Decimal digits only.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);
[[nodiscard]] bool is_guest_name(std::string_view text);
// Unicast, neither unspecified nor loopback nor link-local.
[[nodiscard]] bool is_usable_address(const net::IpAddress& address);
[[nodiscard]] std::string_view family_name(net::Family family);
// The word of `words` that is at most two edits away, "" if none is.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& words);

}  // namespace cordon::app
