#include "core/wire/parse_error.h"

namespace cordon::wire {

std::string_view name(ParseError error) {
  switch (error) {
    case ParseError::kEthernetTruncated: return "ethernet_truncated";
    case ParseError::kEthernetLengthField: return "ethernet_length_field";
    case ParseError::kEthernetVlanTag: return "ethernet_vlan_tag";
    case ParseError::kEthernetUnknownType: return "ethernet_unknown_type";
    case ParseError::kArpTruncated: return "arp_truncated";
    case ParseError::kArpHardware: return "arp_hardware";
    case ParseError::kArpProtocol: return "arp_protocol";
    case ParseError::kArpOperation: return "arp_operation";
    case ParseError::kIpv4Truncated: return "ipv4_truncated";
    case ParseError::kIpv4Version: return "ipv4_version";
    case ParseError::kIpv4HeaderLength: return "ipv4_header_length";
    case ParseError::kIpv4Checksum: return "ipv4_checksum";
    case ParseError::kIpv4TotalLength: return "ipv4_total_length";
    case ParseError::kIpv4TotalLengthLong: return "ipv4_total_length_long";
    case ParseError::kIpv4OptionLength: return "ipv4_option_length";
    case ParseError::kIpv4OptionPointer: return "ipv4_option_pointer";
    case ParseError::kIpv4OptionRepeated: return "ipv4_option_repeated";
    case ParseError::kIpv4SourceRoute: return "ipv4_source_route";
    case ParseError::kIpv4ReservedFlag: return "ipv4_reserved_flag";
    case ParseError::kIpv4FragmentLength: return "ipv4_fragment_length";
    case ParseError::kIpv4FragmentOverflow: return "ipv4_fragment_overflow";
    case ParseError::kIpv6Truncated: return "ipv6_truncated";
    case ParseError::kIpv6Version: return "ipv6_version";
    case ParseError::kIpv6PayloadLength: return "ipv6_payload_length";
    case ParseError::kIpv6ExtensionTruncated: return "ipv6_extension_truncated";
    case ParseError::kIpv6ExtensionCount: return "ipv6_extension_count";
    case ParseError::kIpv6ExtensionBytes: return "ipv6_extension_bytes";
    case ParseError::kIpv6HopByHopNotFirst: return "ipv6_hop_by_hop_not_first";
    case ParseError::kIpv6OptionLength: return "ipv6_option_length";
    case ParseError::kIpv6OptionUnknown: return "ipv6_option_unknown";
    case ParseError::kIpv6RoutingHeader: return "ipv6_routing_header";
    case ParseError::kIpv6FragmentRepeated: return "ipv6_fragment_repeated";
    case ParseError::kIpv6FragmentLength: return "ipv6_fragment_length";
    case ParseError::kIpv6FragmentOverflow: return "ipv6_fragment_overflow";
    case ParseError::kIpv6NoNextHeader: return "ipv6_no_next_header";
    case ParseError::kHopLimitZero: return "hop_limit_zero";
    case ParseError::kUdpTruncated: return "udp_truncated";
    case ParseError::kUdpLength: return "udp_length";
    case ParseError::kUdpLengthLong: return "udp_length_long";
    case ParseError::kUdpPortZero: return "udp_port_zero";
    case ParseError::kUdpChecksum: return "udp_checksum";
    case ParseError::kUdpChecksumMissing: return "udp_checksum_missing";
    case ParseError::kTcpTruncated: return "tcp_truncated";
    case ParseError::kTcpDataOffset: return "tcp_data_offset";
    case ParseError::kTcpPortZero: return "tcp_port_zero";
    case ParseError::kTcpChecksum: return "tcp_checksum";
    case ParseError::kTcpOptionLength: return "tcp_option_length";
    case ParseError::kTcpOptionSize: return "tcp_option_size";
    case ParseError::kIcmpTruncated: return "icmp_truncated";
    case ParseError::kIcmpChecksum: return "icmp_checksum";
    case ParseError::kIcmpNotEcho: return "icmp_not_echo";
    case ParseError::kIcmpCode: return "icmp_code";
    case ParseError::kNdpTruncated: return "ndp_truncated";
    case ParseError::kNdpHopLimit: return "ndp_hop_limit";
    case ParseError::kNdpCode: return "ndp_code";
    case ParseError::kNdpType: return "ndp_type";
    case ParseError::kNdpTarget: return "ndp_target";
    case ParseError::kNdpSource: return "ndp_source";
    case ParseError::kNdpDestination: return "ndp_destination";
    case ParseError::kNdpOptionLength: return "ndp_option_length";
    case ParseError::kNdpOptionSize: return "ndp_option_size";
    case ParseError::kDhcpTruncated: return "dhcp_truncated";
    case ParseError::kDhcpHeader: return "dhcp_header";
    case ParseError::kDhcpCookie: return "dhcp_cookie";
    case ParseError::kDhcpOptionLength: return "dhcp_option_length";
    case ParseError::kDhcpOptionSize: return "dhcp_option_size";
    case ParseError::kDhcpOptionRepeated: return "dhcp_option_repeated";
    case ParseError::kDhcpNoEnd: return "dhcp_no_end";
    case ParseError::kDhcpOverload: return "dhcp_overload";
    case ParseError::kDhcpMessageType: return "dhcp_message_type";
    case ParseError::kDhcpState: return "dhcp_state";
    case ParseError::kDhcpv6Truncated: return "dhcpv6_truncated";
    case ParseError::kDhcpv6MessageType: return "dhcpv6_message_type";
    case ParseError::kDhcpv6OptionLength: return "dhcpv6_option_length";
    case ParseError::kDhcpv6OptionSize: return "dhcpv6_option_size";
    case ParseError::kDhcpv6OptionRepeated: return "dhcpv6_option_repeated";
    case ParseError::kDhcpv6TooManyOptions: return "dhcpv6_too_many_options";
    case ParseError::kDhcpv6Identifier: return "dhcpv6_identifier";
  }
  return "unknown";
}

}  // namespace cordon::wire
