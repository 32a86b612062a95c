// The special-purpose address registries as data: one table for packets, rules and the reference page.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/net/ip_address.h"

namespace cordon::policy {

enum class AddressKind : std::uint8_t {
  kGlobal,         // in no row: ordinary unicast
  kPrivate,        // the word `private`
  kDocumentation,  // documentation and benchmarks: opened by an explicit address or CIDR only
  kMetadata,       // the word `metadata`
  kFloor,          // opened by nothing
};

struct SpecialPrefix {
  net::IpAddress address;
  std::uint8_t length;
  AddressKind kind;
  std::string_view what;
  std::string_view source;  // the RFC, or the vendor for metadata endpoints
};

// Rows of both families; the longest match decides.
[[nodiscard]] std::span<const SpecialPrefix> special_prefixes();

// The row that decides; null: none.
[[nodiscard]] const SpecialPrefix* special_prefix_of(const net::IpAddress& address);
// `address` after normalise(); IPv6 outside 2000::/3 and in no row is kFloor (not assigned as unicast).
[[nodiscard]] AddressKind kind_of(const net::IpAddress& address);

}  // namespace cordon::policy
