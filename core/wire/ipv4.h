// IPv4 header (RFC 791). Options that are well-formed are accepted and skipped; source routes are refused,
// because a packet must go where policy looked. Fragments are reported, not reassembled here.
#pragma once

#include <expected>

#include "core/wire/field.h"
#include "core/wire/ip_protocol.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

namespace ipv4_layout {
using VersionAndLength = Field<std::uint8_t, 0>;
using TrafficClass = Field<std::uint8_t, 1>;
using TotalLength = Field<std::uint16_t, 2>;
using Identification = Field<std::uint16_t, 4>;
using FlagsAndOffset = Field<std::uint16_t, 6>;
using Ttl = Field<std::uint8_t, 8>;
using Protocol = Field<std::uint8_t, 9>;
using Checksum = Field<std::uint16_t, 10>;
using Source = Field<net::Ipv4Address, 12>;
using Destination = Field<net::Ipv4Address, 16>;

inline constexpr std::uint16_t kReservedFlag = 0x8000;
inline constexpr std::uint16_t kDontFragment = 0x4000;
inline constexpr std::uint16_t kMoreFragments = 0x2000;
inline constexpr std::uint16_t kOffsetMask = 0x1fff;  // units of 8 bytes
}  // namespace ipv4_layout

class Ipv4View {
 public:
  static constexpr std::size_t kMinHeader = ipv4_layout::Destination::kEnd;

  // `packet`: from the IP header on; bytes behind the total length (Ethernet padding) are cut off.
  // `beyond`: bytes that follow `packet` and cannot be seen.
  [[nodiscard]] static std::expected<Ipv4View, ParseError> parse(Bytes packet, std::size_t beyond = 0);

  [[nodiscard]] net::Ipv4Address source() const { return ipv4_layout::Source::get(bytes_); }
  [[nodiscard]] net::Ipv4Address destination() const { return ipv4_layout::Destination::get(bytes_); }
  [[nodiscard]] IpProtocol protocol() const { return IpProtocol{ipv4_layout::Protocol::get(bytes_)}; }
  [[nodiscard]] std::uint8_t ttl() const { return ipv4_layout::Ttl::get(bytes_); }
  [[nodiscard]] std::uint8_t traffic_class() const { return ipv4_layout::TrafficClass::get(bytes_); }
  [[nodiscard]] std::uint16_t identification() const { return ipv4_layout::Identification::get(bytes_); }
  [[nodiscard]] bool dont_fragment() const { return (flags() & ipv4_layout::kDontFragment) != 0; }
  [[nodiscard]] bool more_fragments() const { return (flags() & ipv4_layout::kMoreFragments) != 0; }
  [[nodiscard]] std::uint16_t fragment_offset() const {
    return static_cast<std::uint16_t>((flags() & ipv4_layout::kOffsetMask) * 8U);
  }
  [[nodiscard]] bool is_fragment() const { return more_fragments() || fragment_offset() != 0; }
  [[nodiscard]] std::size_t header_length() const { return header_; }
  [[nodiscard]] Bytes options() const { return bytes_.subspan(kMinHeader, header_ - kMinHeader); }
  [[nodiscard]] Bytes packet() const { return bytes_; }
  [[nodiscard]] Bytes payload() const { return bytes_.subspan(header_); }

 private:
  Ipv4View(Bytes bytes, std::size_t header) : bytes_(bytes), header_(header) {}
  [[nodiscard]] std::uint16_t flags() const { return ipv4_layout::FlagsAndOffset::get(bytes_); }
  Bytes bytes_;
  std::size_t header_;
};

}  // namespace cordon::wire
