// DHCPv6 messages (RFC 8415) of a client. Dhcpv6View keeps what the server looks at; every option's length is
// checked against what holds it, nested ones too, and against its definition. The number of options, of
// identity associations and of addresses in one is bounded: more makes the message malformed.
#pragma once

#include <array>
#include <expected>
#include <optional>
#include <span>

#include "core/wire/field.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

enum class Dhcpv6Type : std::uint8_t {
  kSolicit = 1,
  kAdvertise = 2,
  kRequest = 3,
  kConfirm = 4,
  kRenew = 5,
  kRebind = 6,
  kReply = 7,
  kRelease = 8,
  kDecline = 9,
  kReconfigure = 10,
  kInformationRequest = 11,
  kRelayForward = 12,
  kRelayReply = 13,
};

namespace dhcpv6_option {
inline constexpr std::uint16_t kClientId = 1;
inline constexpr std::uint16_t kServerId = 2;
inline constexpr std::uint16_t kIaNa = 3;
inline constexpr std::uint16_t kIaTa = 4;
inline constexpr std::uint16_t kIaAddress = 5;
inline constexpr std::uint16_t kOptionRequest = 6;
inline constexpr std::uint16_t kPreference = 7;
inline constexpr std::uint16_t kElapsedTime = 8;
inline constexpr std::uint16_t kStatusCode = 13;
inline constexpr std::uint16_t kRapidCommit = 14;
inline constexpr std::uint16_t kDnsServers = 23;  // RFC 3646
inline constexpr std::uint16_t kDomainList = 24;  // RFC 3646
inline constexpr std::uint16_t kIaPd = 25;
inline constexpr std::uint16_t kIaPrefix = 26;
inline constexpr std::uint16_t kInformationRefresh = 32;
inline constexpr std::uint16_t kFqdn = 39;  // RFC 4704
}  // namespace dhcpv6_option

enum class Dhcpv6Status : std::uint16_t {
  kSuccess = 0,
  kNoAddrsAvail = 2,
  kNoBinding = 3,
  kNotOnLink = 4,
  kUseMulticast = 5,
  kNoPrefixAvail = 6,
};

class Dhcpv6View {
 public:
  static constexpr std::size_t kMostAssociations = 8;
  static constexpr std::size_t kMostAddresses = 8;  // in one association
  static constexpr std::size_t kMostOptions = 128;  // all together
  static constexpr std::size_t kLongestDuid = 130;  // RFC 8415 section 11.1

  struct Association {
    std::uint16_t option = 0;  // kIaNa, kIaTa or kIaPd
    std::uint32_t id = 0;
    std::array<net::Ipv6Address, kMostAddresses> addresses{};  // of IA Address options
    std::size_t address_count = 0;
    [[nodiscard]] std::span<const net::Ipv6Address> listed() const {
      return std::span(addresses).first(address_count);
    }
  };

  // `payload`: of the UDP datagram to port 547. Types 1 to 13; a relay's message is not read beyond its type.
  [[nodiscard]] static std::expected<Dhcpv6View, ParseError> parse(Bytes payload);

  [[nodiscard]] Dhcpv6Type type() const { return type_; }
  [[nodiscard]] std::uint32_t transaction() const { return transaction_; }  // 24 bits
  [[nodiscard]] Bytes client_id() const { return client_id_; }              // empty: none
  [[nodiscard]] Bytes server_id() const { return server_id_; }              // empty: none
  [[nodiscard]] bool rapid_commit() const { return rapid_commit_; }
  [[nodiscard]] std::optional<std::uint8_t> fqdn_flags() const { return fqdn_flags_; }
  [[nodiscard]] bool has_option_request() const { return has_requests_; }
  [[nodiscard]] bool requests(std::uint16_t option) const {
    return option < 64 && (requests_ >> option & 1U) != 0;
  }
  [[nodiscard]] std::span<const Association> associations() const {
    return std::span(associations_).first(association_count_);
  }

 private:
  Dhcpv6View() = default;
  std::expected<void, ParseError> read_option(std::uint16_t code, Bytes value);
  std::expected<void, ParseError> read_association(std::uint16_t code, Bytes value);
  std::expected<void, ParseError> read_requests(Bytes value);

  Dhcpv6Type type_ = Dhcpv6Type::kSolicit;
  std::uint32_t transaction_ = 0;
  Bytes client_id_;
  Bytes server_id_;
  std::optional<std::uint8_t> fqdn_flags_;
  bool rapid_commit_ = false;
  bool has_requests_ = false;
  std::uint64_t requests_ = 0;  // the options we know have small numbers
  std::array<Association, kMostAssociations> associations_{};
  std::size_t association_count_ = 0;
  std::size_t option_count_ = 0;
};

}  // namespace cordon::wire
