#include "policy/special_purpose.h"

#include <array>

#include "policy/address_key.h"

namespace cordon::policy {
namespace {

using net::Ipv4Address;
using net::Ipv6Address;
using enum AddressKind;

// Eight groups, as the registry writes them.
consteval Ipv6Address v6(std::array<std::uint16_t, 8> groups) {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[2 * i] = static_cast<std::uint8_t>(groups[i] >> 8U);
    bytes[2 * i + 1] = static_cast<std::uint8_t>(groups[i] & 0xffU);
  }
  return Ipv6Address{bytes};
}

// IANA "IPv4 Special-Purpose Address Registry" and "IPv6 Special-Purpose Address Registry", plus the
// multicast blocks and the instance-metadata endpoints. Rows the registries call globally reachable (AS112,
// AMT, ORCHIDv2, drone remote id) are ordinary addresses for us, so they are absent or kGlobal inside a wider
// row.
constexpr std::array kRows = std::to_array<SpecialPrefix>({
    {Ipv4Address{0, 0, 0, 0}, 8, kFloor, "this network", "RFC 791"},
    {Ipv4Address{10, 0, 0, 0}, 8, kPrivate, "private use", "RFC 1918"},
    {Ipv4Address{100, 64, 0, 0}, 10, kPrivate, "shared address space", "RFC 6598"},
    {Ipv4Address{127, 0, 0, 0}, 8, kFloor, "loopback", "RFC 1122"},
    {Ipv4Address{169, 254, 0, 0}, 16, kFloor, "link local", "RFC 3927"},
    {Ipv4Address{172, 16, 0, 0}, 12, kPrivate, "private use", "RFC 1918"},
    {Ipv4Address{192, 0, 0, 0}, 24, kFloor, "IETF protocol assignments", "RFC 6890"},
    {Ipv4Address{192, 0, 0, 9}, 32, kGlobal, "port control protocol anycast", "RFC 7723"},
    {Ipv4Address{192, 0, 0, 10}, 32, kGlobal, "TURN anycast", "RFC 8155"},
    {Ipv4Address{192, 0, 2, 0}, 24, kDocumentation, "documentation (TEST-NET-1)", "RFC 5737"},
    {Ipv4Address{192, 88, 99, 0}, 24, kFloor, "6to4 relay anycast", "RFC 7526"},
    {Ipv4Address{192, 168, 0, 0}, 16, kPrivate, "private use", "RFC 1918"},
    {Ipv4Address{198, 18, 0, 0}, 15, kDocumentation, "benchmarking", "RFC 2544"},
    {Ipv4Address{198, 51, 100, 0}, 24, kDocumentation, "documentation (TEST-NET-2)", "RFC 5737"},
    {Ipv4Address{203, 0, 113, 0}, 24, kDocumentation, "documentation (TEST-NET-3)", "RFC 5737"},
    {Ipv4Address{224, 0, 0, 0}, 4, kFloor, "multicast", "RFC 5771"},
    {Ipv4Address{240, 0, 0, 0}, 4, kFloor, "reserved, limited broadcast", "RFC 1112, RFC 8190"},

    {v6({0, 0, 0, 0, 0, 0, 0, 0}), 128, kFloor, "unspecified", "RFC 4291"},
    {v6({0, 0, 0, 0, 0, 0, 0, 1}), 128, kFloor, "loopback", "RFC 4291"},
    {v6({0x100, 0, 0, 0, 0, 0, 0, 0}), 64, kFloor, "discard only", "RFC 6666"},
    {v6({0x100, 0, 0, 1, 0, 0, 0, 0}), 64, kFloor, "dummy prefix", "RFC 9780"},
    {v6({0x2001, 0, 0, 0, 0, 0, 0, 0}), 23, kFloor, "IETF protocol assignments", "RFC 2928"},
    {v6({0x2001, 1, 0, 0, 0, 0, 0, 1}), 128, kGlobal, "port control protocol anycast", "RFC 7723"},
    {v6({0x2001, 1, 0, 0, 0, 0, 0, 2}), 128, kGlobal, "TURN anycast", "RFC 8155"},
    {v6({0x2001, 2, 0, 0, 0, 0, 0, 0}), 48, kDocumentation, "benchmarking", "RFC 5180"},
    {v6({0x2001, 3, 0, 0, 0, 0, 0, 0}), 32, kGlobal, "automatic multicast tunneling", "RFC 7450"},
    {v6({0x2001, 4, 0x112, 0, 0, 0, 0, 0}), 48, kGlobal, "AS112", "RFC 7535"},
    {v6({0x2001, 0x20, 0, 0, 0, 0, 0, 0}), 28, kGlobal, "ORCHIDv2", "RFC 7343"},
    {v6({0x2001, 0x30, 0, 0, 0, 0, 0, 0}), 28, kGlobal, "drone remote id", "RFC 9374"},
    {v6({0x2001, 0xdb8, 0, 0, 0, 0, 0, 0}), 32, kDocumentation, "documentation", "RFC 3849"},
    {v6({0x3fff, 0, 0, 0, 0, 0, 0, 0}), 20, kDocumentation, "documentation", "RFC 9637"},
    {v6({0x5f00, 0, 0, 0, 0, 0, 0, 0}), 16, kFloor, "segment routing SIDs", "RFC 9602"},
    {v6({0xfc00, 0, 0, 0, 0, 0, 0, 0}), 7, kPrivate, "unique local", "RFC 4193"},
    {v6({0xfe80, 0, 0, 0, 0, 0, 0, 0}), 10, kFloor, "link local", "RFC 4291"},
    {v6({0xff00, 0, 0, 0, 0, 0, 0, 0}), 8, kFloor, "multicast", "RFC 4291"},

    {Ipv4Address{169, 254, 169, 254}, 32, kMetadata, "instance metadata", "most clouds"},
    {Ipv4Address{169, 254, 170, 2}, 32, kMetadata, "container credentials", "AWS ECS"},
    {Ipv4Address{169, 254, 170, 23}, 32, kMetadata, "pod identity", "AWS EKS"},
    {Ipv4Address{100, 100, 100, 200}, 32, kMetadata, "instance metadata", "Alibaba Cloud"},
    {Ipv4Address{168, 63, 129, 16}, 32, kMetadata, "platform agent; a public address", "Azure"},
    {Ipv4Address{192, 0, 0, 192}, 32, kMetadata, "instance metadata", "Oracle Cloud classic"},
    {v6({0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254}), 128, kMetadata, "instance metadata", "AWS EC2"},
    {v6({0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23}), 128, kMetadata, "pod identity", "AWS EKS"},
    {v6({0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254}), 128, kMetadata, "instance metadata", "Google Cloud"},
});

// For each decision anew, so the rows' keys are kept beside them.
constexpr auto kKeys = [] {
  std::array<AddressKey, kRows.size()> keys{};
  for (std::size_t i = 0; i < kRows.size(); ++i) keys[i] = key_of(kRows[i].address);
  return keys;
}();

}  // namespace

std::span<const SpecialPrefix> special_prefixes() { return kRows; }

const SpecialPrefix* special_prefix_of(const net::IpAddress& address) {
  const SpecialPrefix* best = nullptr;
  const AddressKey key = key_of(address);
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    const SpecialPrefix& row = kRows[i];
    if (share_prefix(kKeys[i], key, row.length) && row.address.family() == address.family() &&
        (best == nullptr || row.length > best->length))
      best = &row;
  }
  return best;
}

AddressKind kind_of(const net::IpAddress& address) {
  if (const SpecialPrefix* row = special_prefix_of(address)) return row->kind;
  const bool global_unicast = address.is_v4() || (address.bytes()[0] & 0xe0U) == 0x20;
  return global_unicast ? kGlobal : kFloor;
}

}  // namespace cordon::policy
