// UDP header (RFC 768).
#pragma once

#include <expected>

#include "core/net/port.h"
#include "core/wire/field.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

namespace udp_layout {
using SourcePort = Field<std::uint16_t, 0>;
using DestinationPort = Field<std::uint16_t, 2>;
using Length = Field<std::uint16_t, 4>;
using Checksum = Field<std::uint16_t, 6>;
}  // namespace udp_layout

class UdpView {
 public:
  static constexpr std::size_t kHeader = udp_layout::Checksum::kEnd;

  // `l4`: Packet::l4. What lies behind the length field's end is ignored. Port 0 on either side is refused.
  static constexpr std::expected<UdpView, ParseError> parse(Bytes l4) {
    if (l4.size() < kHeader) return std::unexpected(ParseError::kUdpTruncated);
    const std::size_t length = udp_layout::Length::get(l4);
    if (length < kHeader) return std::unexpected(ParseError::kUdpLength);
    if (length > l4.size()) return std::unexpected(ParseError::kUdpLengthLong);
    if (udp_layout::SourcePort::get(l4) == 0 || udp_layout::DestinationPort::get(l4) == 0)
      return std::unexpected(ParseError::kUdpPortZero);
    return UdpView{l4.first(length)};
  }

  [[nodiscard]] constexpr net::Port source_port() const {
    return net::Port{udp_layout::SourcePort::get(bytes_)};
  }
  [[nodiscard]] constexpr net::Port destination_port() const {
    return net::Port{udp_layout::DestinationPort::get(bytes_)};
  }
  [[nodiscard]] constexpr std::uint16_t checksum() const { return udp_layout::Checksum::get(bytes_); }
  [[nodiscard]] constexpr Bytes payload() const { return bytes_.subspan(kHeader); }

 private:
  explicit constexpr UdpView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

}  // namespace cordon::wire
