// IPv6 header and its chain of extension headers (RFC 8200), walked within fixed limits: at most 8 headers
// and 512 bytes. Routing headers are refused (a packet must go where policy looked), hop-by-hop only stands
// first, options whose action bits demand a discard are obeyed. The walk ends at the first header that is no
// extension header we know; AH, ESP and the like are thus an upper protocol which nobody serves.
#pragma once

#include <expected>

#include "core/wire/field.h"
#include "core/wire/ip_protocol.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

namespace ipv6_layout {
using VersionClassFlow = Field<std::uint32_t, 0>;
using PayloadLength = Field<std::uint16_t, 4>;
using NextHeader = Field<std::uint8_t, 6>;
using HopLimit = Field<std::uint8_t, 7>;
using Source = Field<net::Ipv6Address, 8>;
using Destination = Field<net::Ipv6Address, 24>;
}  // namespace ipv6_layout

namespace ipv6_fragment_layout {  // RFC 8200 section 4.5
using NextHeader = Field<std::uint8_t, 0>;
using OffsetAndMore = Field<std::uint16_t, 2>;
using Identification = Field<std::uint32_t, 4>;
}  // namespace ipv6_fragment_layout

class Ipv6View {
 public:
  static constexpr std::size_t kHeader = ipv6_layout::Destination::kEnd;
  static constexpr std::size_t kMaxExtensionHeaders = 8;
  static constexpr std::size_t kMaxExtensionBytes = 512;

  // `packet`: from the IP header on; bytes behind the payload length are cut off. No jumbograms.
  // `beyond`: bytes that follow `packet` and cannot be seen. Extension headers end before them.
  [[nodiscard]] static std::expected<Ipv6View, ParseError> parse(Bytes packet, std::size_t beyond = 0);

  [[nodiscard]] net::Ipv6Address source() const { return ipv6_layout::Source::get(bytes_); }
  [[nodiscard]] net::Ipv6Address destination() const { return ipv6_layout::Destination::get(bytes_); }
  [[nodiscard]] std::uint8_t hop_limit() const { return ipv6_layout::HopLimit::get(bytes_); }
  [[nodiscard]] std::uint8_t traffic_class() const {
    return static_cast<std::uint8_t>(ipv6_layout::VersionClassFlow::get(bytes_) >> 20U);
  }
  // Behind the extension headers.
  [[nodiscard]] IpProtocol protocol() const { return chain_.protocol; }
  [[nodiscard]] std::size_t payload_offset() const { return kHeader + chain_.length; }
  [[nodiscard]] Bytes packet() const { return bytes_; }
  [[nodiscard]] Bytes payload() const { return bytes_.subspan(payload_offset()); }
  [[nodiscard]] bool has_fragment_header() const { return chain_.fragment_seen; }
  // False for an atomic fragment.
  [[nodiscard]] bool is_fragment() const { return chain_.more_fragments || chain_.fragment_offset != 0; }
  [[nodiscard]] bool more_fragments() const { return chain_.more_fragments; }
  [[nodiscard]] std::uint16_t fragment_offset() const { return chain_.fragment_offset; }
  [[nodiscard]] std::uint32_t fragment_id() const { return chain_.fragment_id; }

 private:
  struct Chain {
    IpProtocol protocol = IpProtocol::kNoNextHeader;
    std::size_t length = 0;  // of all extension headers
    bool fragment_seen = false;
    bool more_fragments = false;
    std::uint16_t fragment_offset = 0;
    std::uint32_t fragment_id = 0;
  };
  Ipv6View(Bytes bytes, const Chain& chain) : bytes_(bytes), chain_(chain) {}
  static std::expected<Chain, ParseError> walk(Bytes packet);
  static std::expected<std::size_t, ParseError> read_extension(IpProtocol kind, Bytes rest, Chain& chain);
  static std::expected<std::size_t, ParseError> read_fragment(Bytes rest, Chain& chain);
  Bytes bytes_;
  Chain chain_;
};

}  // namespace cordon::wire
