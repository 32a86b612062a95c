// TCP header (RFC 9293 section 3.1).
#pragma once

#include <expected>

#include "core/net/port.h"
#include "core/net/seq_num.h"
#include "core/wire/field.h"
#include "core/wire/parse_error.h"
#include "core/wire/tcp_options.h"

namespace cordon::wire {

namespace tcp_layout {
using SourcePort = Field<std::uint16_t, 0>;
using DestinationPort = Field<std::uint16_t, 2>;
using Seq = Field<std::uint32_t, 4>;
using Ack = Field<std::uint32_t, 8>;
using DataOffset = Field<std::uint8_t, 12>;  // upper four bits, in words
using Flags = Field<std::uint8_t, 13>;
using Window = Field<std::uint16_t, 14>;
using Checksum = Field<std::uint16_t, 16>;
using Urgent = Field<std::uint16_t, 18>;
}  // namespace tcp_layout

struct TcpFlags {
  bool fin = false, syn = false, rst = false, psh = false, ack = false, urg = false, ece = false, cwr = false;

  static constexpr TcpFlags from_bits(std::uint8_t bits) {
    const auto bit = [bits](unsigned n) { return ((unsigned{bits} >> n) & 1U) != 0; };
    return {bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6), bit(7)};
  }
  [[nodiscard]] constexpr std::uint8_t bits() const {
    return static_cast<std::uint8_t>((fin ? 1U : 0U) | (syn ? 2U : 0U) | (rst ? 4U : 0U) | (psh ? 8U : 0U) |
                                     (ack ? 16U : 0U) | (urg ? 32U : 0U) | (ece ? 64U : 0U) |
                                     (cwr ? 128U : 0U));
  }
  friend constexpr bool operator==(const TcpFlags&, const TcpFlags&) = default;
};

// Bytes known to hold a whole TCP header. Flag combinations are the machine's to judge.
class TcpView {
 public:
  static constexpr std::size_t kMinHeader = tcp_layout::Urgent::kEnd;

  // `l4`: Packet::l4. Port 0 on either side is refused.
  static constexpr std::expected<TcpView, ParseError> parse(Bytes l4) {
    if (l4.size() < kMinHeader) return std::unexpected(ParseError::kTcpTruncated);
    const std::size_t header = (tcp_layout::DataOffset::get(l4) >> 4U) * std::size_t{4};
    if (header < kMinHeader) return std::unexpected(ParseError::kTcpDataOffset);
    if (header > l4.size()) return std::unexpected(ParseError::kTcpTruncated);
    if (tcp_layout::SourcePort::get(l4) == 0 || tcp_layout::DestinationPort::get(l4) == 0)
      return std::unexpected(ParseError::kTcpPortZero);
    return TcpView{l4, header};
  }

  [[nodiscard]] constexpr net::Port source_port() const {
    return net::Port{tcp_layout::SourcePort::get(bytes_)};
  }
  [[nodiscard]] constexpr net::Port destination_port() const {
    return net::Port{tcp_layout::DestinationPort::get(bytes_)};
  }
  [[nodiscard]] constexpr net::SeqNum seq() const { return net::SeqNum{tcp_layout::Seq::get(bytes_)}; }
  [[nodiscard]] constexpr net::SeqNum ack() const { return net::SeqNum{tcp_layout::Ack::get(bytes_)}; }
  [[nodiscard]] constexpr TcpFlags flags() const {
    return TcpFlags::from_bits(tcp_layout::Flags::get(bytes_));
  }
  [[nodiscard]] constexpr std::uint16_t window() const { return tcp_layout::Window::get(bytes_); }
  [[nodiscard]] constexpr std::uint16_t checksum() const { return tcp_layout::Checksum::get(bytes_); }
  [[nodiscard]] constexpr std::size_t header_length() const { return header_; }
  [[nodiscard]] constexpr Bytes options() const { return bytes_.subspan(kMinHeader, header_ - kMinHeader); }
  [[nodiscard]] constexpr Bytes payload() const { return bytes_.subspan(header_); }

 private:
  constexpr TcpView(Bytes bytes, std::size_t header) : bytes_(bytes), header_(header) {}
  Bytes bytes_;
  std::size_t header_;
};

}  // namespace cordon::wire
