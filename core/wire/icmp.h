// The eight bytes that ICMP (RFC 792) and ICMPv6 (RFC 4443) messages have in common.
#pragma once

#include <expected>

#include "core/wire/field.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

namespace icmp_layout {
using Type = Field<std::uint8_t, 0>;
using Code = Field<std::uint8_t, 1>;
using Checksum = Field<std::uint16_t, 2>;
using Rest = Field<std::uint32_t, 4>;
using Identifier = Field<std::uint16_t, 4>;  // echo
using Sequence = Field<std::uint16_t, 6>;    // echo
}  // namespace icmp_layout

namespace icmp4_type {
inline constexpr std::uint8_t kEchoReply = 0;
inline constexpr std::uint8_t kUnreachable = 3;
inline constexpr std::uint8_t kSourceQuench = 4;
inline constexpr std::uint8_t kRedirect = 5;
inline constexpr std::uint8_t kEchoRequest = 8;
inline constexpr std::uint8_t kTimeExceeded = 11;
inline constexpr std::uint8_t kParameterProblem = 12;
}  // namespace icmp4_type

namespace icmp6_type {
inline constexpr std::uint8_t kUnreachable = 1;
inline constexpr std::uint8_t kPacketTooBig = 2;
inline constexpr std::uint8_t kTimeExceeded = 3;
inline constexpr std::uint8_t kParameterProblem = 4;
inline constexpr std::uint8_t kEchoRequest = 128;
inline constexpr std::uint8_t kEchoReply = 129;
inline constexpr std::uint8_t kRouterSolicitation = 133;
inline constexpr std::uint8_t kRouterAdvertisement = 134;
inline constexpr std::uint8_t kNeighbourSolicitation = 135;
inline constexpr std::uint8_t kNeighbourAdvertisement = 136;
inline constexpr std::uint8_t kRedirect = 137;
}  // namespace icmp6_type

class IcmpView {
 public:
  static constexpr std::size_t kHeader = icmp_layout::Rest::kEnd;

  static constexpr std::expected<IcmpView, ParseError> parse(Bytes l4) {
    if (l4.size() < kHeader) return std::unexpected(ParseError::kIcmpTruncated);
    return IcmpView{l4};
  }

  [[nodiscard]] constexpr std::uint8_t type() const { return icmp_layout::Type::get(bytes_); }
  [[nodiscard]] constexpr std::uint8_t code() const { return icmp_layout::Code::get(bytes_); }
  [[nodiscard]] constexpr std::uint32_t rest() const { return icmp_layout::Rest::get(bytes_); }
  [[nodiscard]] constexpr std::uint16_t identifier() const { return icmp_layout::Identifier::get(bytes_); }
  [[nodiscard]] constexpr std::uint16_t sequence() const { return icmp_layout::Sequence::get(bytes_); }
  [[nodiscard]] constexpr Bytes payload() const { return bytes_.subspan(kHeader); }

 private:
  explicit constexpr IcmpView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

}  // namespace cordon::wire
