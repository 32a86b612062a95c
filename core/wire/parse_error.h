// Why a frame of the guest was refused. One reason per value, each one a drop counter of the plane; name() is
// the counter's label.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cordon::wire {

enum class ParseError : std::uint8_t {
  // Ethernet
  kEthernetTruncated,
  kEthernetLengthField,  // 802.3 with LLC: STP, LLDP's old forms ...
  kEthernetVlanTag,
  kEthernetUnknownType,
  // ARP
  kArpTruncated,
  kArpHardware,
  kArpProtocol,
  kArpOperation,
  // IPv4
  kIpv4Truncated,
  kIpv4Version,
  kIpv4HeaderLength,
  kIpv4Checksum,
  kIpv4TotalLength,      // shorter than the header
  kIpv4TotalLengthLong,  // longer than the frame
  kIpv4OptionLength,
  kIpv4OptionPointer,
  kIpv4OptionRepeated,
  kIpv4SourceRoute,
  kIpv4ReservedFlag,
  kIpv4FragmentLength,
  kIpv4FragmentOverflow,
  // IPv6
  kIpv6Truncated,
  kIpv6Version,
  kIpv6PayloadLength,  // longer than the frame
  kIpv6ExtensionTruncated,
  kIpv6ExtensionCount,
  kIpv6ExtensionBytes,
  kIpv6HopByHopNotFirst,
  kIpv6OptionLength,
  kIpv6OptionUnknown,  // its action bits say discard
  kIpv6RoutingHeader,
  kIpv6FragmentRepeated,
  kIpv6FragmentLength,
  kIpv6FragmentOverflow,
  kIpv6NoNextHeader,
  // both families
  kHopLimitZero,
  // UDP
  kUdpTruncated,
  kUdpLength,      // shorter than the header
  kUdpLengthLong,  // longer than the packet
  kUdpPortZero,
  kUdpChecksum,
  kUdpChecksumMissing,  // IPv6 with 0
  // TCP
  kTcpTruncated,
  kTcpDataOffset,
  kTcpPortZero,
  kTcpChecksum,
  kTcpOptionLength,
  kTcpOptionSize,
  // ICMP and ICMPv6
  kIcmpTruncated,
  kIcmpChecksum,
  kIcmpNotEcho,
  kIcmpCode,
  // NDP
  kNdpTruncated,
  kNdpHopLimit,
  kNdpCode,
  kNdpType,
  kNdpTarget,
  kNdpSource,
  kNdpDestination,
  kNdpOptionLength,
  kNdpOptionSize,
  // DHCP
  kDhcpTruncated,
  kDhcpHeader,  // not a request of an Ethernet client
  kDhcpCookie,
  kDhcpOptionLength,  // runs past its area
  kDhcpOptionSize,    // not what its definition allows
  kDhcpOptionRepeated,
  kDhcpNoEnd,
  kDhcpOverload,
  kDhcpMessageType,  // missing (BOOTP), unknown, or a server's
  kDhcpState,        // the fields fit no state of a client (RFC 2131 section 4.3.2)
  // DHCPv6
  kDhcpv6Truncated,
  kDhcpv6MessageType,
  kDhcpv6OptionLength,  // runs past what holds it
  kDhcpv6OptionSize,    // not what its definition allows
  kDhcpv6OptionRepeated,
  kDhcpv6TooManyOptions,
  kDhcpv6Identifier,  // client or server identifier missing or present where RFC 8415 section 16 forbids
};
inline constexpr std::size_t kParseErrorCount = static_cast<std::size_t>(ParseError::kDhcpv6Identifier) + 1;

// "ipv4_checksum": stable, used in metrics and tests.
[[nodiscard]] std::string_view name(ParseError error);

}  // namespace cordon::wire
