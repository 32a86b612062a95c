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
};
inline constexpr std::size_t kParseErrorCount = static_cast<std::size_t>(ParseError::kNdpOptionSize) + 1;

// "ipv4_checksum": stable, used in metrics and tests.
[[nodiscard]] std::string_view name(ParseError error);

}  // namespace cordon::wire
