// ARP for IPv4 over Ethernet (RFC 826).
#pragma once

#include <expected>

#include "core/wire/field.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

namespace arp_layout {
using Hardware = Field<std::uint16_t, 0>;
using Protocol = Field<std::uint16_t, 2>;
using HardwareLength = Field<std::uint8_t, 4>;
using ProtocolLength = Field<std::uint8_t, 5>;
using Operation = Field<std::uint16_t, 6>;
using SenderMac = Field<net::MacAddress, 8>;
using SenderIp = Field<net::Ipv4Address, 14>;
using TargetMac = Field<net::MacAddress, 18>;
using TargetIp = Field<net::Ipv4Address, 24>;
}  // namespace arp_layout

enum class ArpOperation : std::uint16_t { kRequest = 1, kReply = 2 };

class ArpView {
 public:
  static constexpr std::size_t kSize = arp_layout::TargetIp::kEnd;

  static constexpr std::expected<ArpView, ParseError> parse(Bytes bytes) {
    if (bytes.size() < kSize) return std::unexpected(ParseError::kArpTruncated);
    if (arp_layout::Hardware::get(bytes) != 1 || arp_layout::HardwareLength::get(bytes) != 6)
      return std::unexpected(ParseError::kArpHardware);
    if (arp_layout::Protocol::get(bytes) != 0x0800 || arp_layout::ProtocolLength::get(bytes) != 4)
      return std::unexpected(ParseError::kArpProtocol);
    const std::uint16_t operation = arp_layout::Operation::get(bytes);
    if (operation != 1 && operation != 2) return std::unexpected(ParseError::kArpOperation);
    return ArpView{bytes};
  }

  [[nodiscard]] constexpr ArpOperation operation() const {
    return ArpOperation{arp_layout::Operation::get(bytes_)};
  }
  [[nodiscard]] constexpr net::MacAddress sender_mac() const { return arp_layout::SenderMac::get(bytes_); }
  [[nodiscard]] constexpr net::Ipv4Address sender_ip() const { return arp_layout::SenderIp::get(bytes_); }
  [[nodiscard]] constexpr net::MacAddress target_mac() const { return arp_layout::TargetMac::get(bytes_); }
  [[nodiscard]] constexpr net::Ipv4Address target_ip() const { return arp_layout::TargetIp::get(bytes_); }

 private:
  explicit constexpr ArpView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

struct ArpFields {
  ArpOperation operation = ArpOperation::kReply;
  net::MacAddress sender_mac;
  net::Ipv4Address sender_ip;
  net::MacAddress target_mac;
  net::Ipv4Address target_ip;
};

// Writes ArpView::kSize bytes.
constexpr void put_arp(MutableBytes out, const ArpFields& fields) {
  arp_layout::Hardware::put(out, 1);
  arp_layout::Protocol::put(out, 0x0800);
  arp_layout::HardwareLength::put(out, 6);
  arp_layout::ProtocolLength::put(out, 4);
  arp_layout::Operation::put(out, static_cast<std::uint16_t>(fields.operation));
  arp_layout::SenderMac::put(out, fields.sender_mac);
  arp_layout::SenderIp::put(out, fields.sender_ip);
  arp_layout::TargetMac::put(out, fields.target_mac);
  arp_layout::TargetIp::put(out, fields.target_ip);
}

}  // namespace cordon::wire
