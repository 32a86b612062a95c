// Ethernet II header. VLAN tags and 802.3 length frames are refused: the guest's link has neither.
#pragma once

#include <expected>

#include "core/wire/field.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

enum class EtherType : std::uint16_t { kIpv4 = 0x0800, kArp = 0x0806, kIpv6 = 0x86dd };

namespace ethernet_layout {
using Destination = Field<net::MacAddress, 0>;
using Source = Field<net::MacAddress, 6>;
using Type = Field<std::uint16_t, 12>;
}  // namespace ethernet_layout

class EthernetView {
 public:
  static constexpr std::size_t kHeader = ethernet_layout::Type::kEnd;

  static constexpr std::expected<EthernetView, ParseError> parse(Bytes frame) {
    if (frame.size() < kHeader) return std::unexpected(ParseError::kEthernetTruncated);
    const std::uint16_t type = ethernet_layout::Type::get(frame);
    if (type < 0x0600) return std::unexpected(ParseError::kEthernetLengthField);
    if (type == 0x8100 || type == 0x88a8 || type == 0x9100)
      return std::unexpected(ParseError::kEthernetVlanTag);
    return EthernetView{frame};
  }

  [[nodiscard]] constexpr net::MacAddress destination() const {
    return ethernet_layout::Destination::get(bytes_);
  }
  [[nodiscard]] constexpr net::MacAddress source() const { return ethernet_layout::Source::get(bytes_); }
  // May hold a value without an enumerator.
  [[nodiscard]] constexpr EtherType type() const { return EtherType{ethernet_layout::Type::get(bytes_)}; }
  [[nodiscard]] constexpr Bytes header() const { return bytes_.first(kHeader); }
  // May be followed by padding: the inner protocol's length decides.
  [[nodiscard]] constexpr Bytes payload() const { return bytes_.subspan(kHeader); }

 private:
  explicit constexpr EthernetView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

constexpr void put_ethernet(MutableBytes out, net::MacAddress destination, net::MacAddress source,
                            EtherType type) {
  ethernet_layout::Destination::put(out, destination);
  ethernet_layout::Source::put(out, source);
  ethernet_layout::Type::put(out, static_cast<std::uint16_t>(type));
}

}  // namespace cordon::wire
