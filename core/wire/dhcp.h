// DHCP messages (RFC 2131, options RFC 2132) as the guest sends them, and the fixed part of a reply.
//
// DhcpView keeps what the server looks at. Nothing of the message is believed: the option area is walked once
// with every length checked, also through `file` and `sname` when option 52 says so; an option that occurs
// twice, has a length its definition forbids, or runs past its area makes the message malformed.
#pragma once

#include <array>
#include <bitset>
#include <expected>
#include <optional>

#include "core/wire/field.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

namespace dhcp_layout {
using Operation = Field<std::uint8_t, 0>;
using HardwareType = Field<std::uint8_t, 1>;
using HardwareLength = Field<std::uint8_t, 2>;
using Hops = Field<std::uint8_t, 3>;
using Transaction = Field<std::uint32_t, 4>;
using Seconds = Field<std::uint16_t, 8>;
using Flags = Field<std::uint16_t, 10>;
using ClientAddress = Field<net::Ipv4Address, 12>;
using YourAddress = Field<net::Ipv4Address, 16>;
using ServerAddress = Field<net::Ipv4Address, 20>;
using RelayAddress = Field<net::Ipv4Address, 24>;
using ClientMac = Field<net::MacAddress, 28>;  // the first 6 of 16 bytes
inline constexpr std::size_t kServerName = 44;
inline constexpr std::size_t kServerNameSize = 64;
inline constexpr std::size_t kFile = 108;
inline constexpr std::size_t kFileSize = 128;
using Cookie = Field<std::uint32_t, 236>;
inline constexpr std::size_t kFixed = Cookie::kEnd;
inline constexpr std::uint32_t kCookie = 0x63825363;
inline constexpr std::uint16_t kBroadcast = 0x8000;
inline constexpr std::size_t kSmallest =
    300;  // replies are padded to it (RFC 951's size, some clients insist)
}  // namespace dhcp_layout

namespace dhcp_option {
inline constexpr std::uint8_t kPad = 0;
inline constexpr std::uint8_t kSubnetMask = 1;
inline constexpr std::uint8_t kRouter = 3;
inline constexpr std::uint8_t kDns = 6;
inline constexpr std::uint8_t kHostName = 12;
inline constexpr std::uint8_t kDomainName = 15;
inline constexpr std::uint8_t kInterfaceMtu = 26;
inline constexpr std::uint8_t kBroadcastAddress = 28;
inline constexpr std::uint8_t kRequestedAddress = 50;
inline constexpr std::uint8_t kLeaseTime = 51;
inline constexpr std::uint8_t kOverload = 52;
inline constexpr std::uint8_t kMessageType = 53;
inline constexpr std::uint8_t kServerId = 54;
inline constexpr std::uint8_t kParameterList = 55;
inline constexpr std::uint8_t kMaxSize = 57;
inline constexpr std::uint8_t kRenewalTime = 58;
inline constexpr std::uint8_t kRebindingTime = 59;
inline constexpr std::uint8_t kClientId = 61;
inline constexpr std::uint8_t kRapidCommit = 80;       // RFC 4039
inline constexpr std::uint8_t kFqdn = 81;              // RFC 4702
inline constexpr std::uint8_t kDomainSearch = 119;     // RFC 3397
inline constexpr std::uint8_t kClasslessRoutes = 121;  // RFC 3442
inline constexpr std::uint8_t kEnd = 255;
}  // namespace dhcp_option

enum class DhcpType : std::uint8_t {
  kDiscover = 1,
  kOffer = 2,
  kRequest = 3,
  kDecline = 4,
  kAck = 5,
  kNak = 6,
  kRelease = 7,
  kInform = 8,
};

class DhcpView {
 public:
  // `payload`: of the UDP datagram to port 67. Only requests of Ethernet clients of the eight basic types.
  [[nodiscard]] static std::expected<DhcpView, ParseError> parse(Bytes payload);

  [[nodiscard]] DhcpType type() const { return type_; }
  [[nodiscard]] std::uint32_t transaction() const { return dhcp_layout::Transaction::get(bytes_); }
  [[nodiscard]] bool wants_broadcast() const {
    return (dhcp_layout::Flags::get(bytes_) & dhcp_layout::kBroadcast) != 0;
  }
  [[nodiscard]] net::Ipv4Address client_address() const { return dhcp_layout::ClientAddress::get(bytes_); }
  [[nodiscard]] net::Ipv4Address relay_address() const { return dhcp_layout::RelayAddress::get(bytes_); }
  [[nodiscard]] net::MacAddress client_mac() const { return dhcp_layout::ClientMac::get(bytes_); }

  [[nodiscard]] std::optional<net::Ipv4Address> requested() const { return requested_; }
  [[nodiscard]] std::optional<net::Ipv4Address> server() const { return server_; }
  [[nodiscard]] std::optional<std::uint16_t> max_size() const { return max_size_; }  // at least 576
  [[nodiscard]] Bytes client_id() const { return client_id_; }                       // empty: none
  [[nodiscard]] bool rapid_commit() const { return rapid_commit_; }
  // Flags byte of the client's FQDN option.
  [[nodiscard]] std::optional<std::uint8_t> fqdn_flags() const { return fqdn_flags_; }
  [[nodiscard]] bool has_parameter_list() const { return has_parameters_; }
  [[nodiscard]] bool requests(std::uint8_t option) const { return parameters_[option]; }

 private:
  explicit DhcpView(Bytes bytes) : bytes_(bytes) {}
  std::expected<void, ParseError> read_area(Bytes area);
  std::expected<void, ParseError> read_option(std::uint8_t code, Bytes value);

  Bytes bytes_;
  DhcpType type_ = DhcpType::kDiscover;
  std::optional<net::Ipv4Address> requested_;
  std::optional<net::Ipv4Address> server_;
  std::optional<std::uint16_t> max_size_;
  Bytes client_id_;
  std::optional<std::uint8_t> fqdn_flags_;
  bool rapid_commit_ = false;
  bool has_parameters_ = false;
  std::uint8_t overload_ = 0;
  std::bitset<256> seen_;
  std::bitset<256> parameters_;
};

}  // namespace cordon::wire
