// The plane's one entry point for IP packets of the guest: a value that no longer cares about the family.
//
// parse_packet() checks everything up to the L4 header: lengths, the IPv4 header checksum, options, extension
// headers. What the L4 bytes hold is for TcpView, UdpView, Icmp... to judge. Borrowed spans: valid as long as
// the frame.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include "core/base/bytes.h"
#include "core/net/ip_address.h"
#include "core/wire/ethernet.h"
#include "core/wire/ip_protocol.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

struct Packet {
  net::IpAddress source;
  net::IpAddress destination;
  IpProtocol protocol = IpProtocol::kTcp;  // behind extension headers; any number is possible
  std::uint8_t hop_limit = 0;              // TTL; never 0
  std::uint8_t traffic_class = 0;          // DSCP and ECN byte
  bool dont_fragment = false;              // always true for IPv6
  // Part of a datagram. An IPv6 atomic fragment (RFC 6946) is whole and does not count.
  bool is_fragment = false;
  bool more_fragments = false;
  bool fragment_header = false;       // IPv6: there is one, also of a datagram that is whole
  std::uint16_t fragment_offset = 0;  // bytes
  std::uint32_t fragment_id = 0;
  std::uint16_t l4_offset = 0;  // from the start of the Ethernet header
  base::Bytes ip;               // the IP packet without padding
  base::Bytes l4;               // behind IP options / extension headers, without padding
  // What follows `ip` and `l4` of a packet that is only partly in memory of ours; others may write there.
  std::span<const iovec> tail;
  std::size_t tail_size = 0;
};

enum class ChecksumPolicy : std::uint8_t {
  kVerifyL4,  // TCP, UDP, ICMP and ICMPv6 of whole packets
  kSkipL4,    // the link vouches (needs_checksum or checksum_valid)
};

// `ip`: the bytes behind the Ethernet header (EthernetView::payload()). The IPv4 header checksum is always
// verified: no virtio or tap feature leaves it out.
[[nodiscard]] std::expected<Packet, ParseError> parse_packet(base::Bytes ip, EtherType type,
                                                             ChecksumPolicy policy);

// A whole TCP segment that the link vouches for, of which `ip` is the beginning and `tail` (`tail_size`
// bytes) all the rest. nullopt: it is anything else, or broken, or its headers are not all in `ip`; then only
// all of it can tell.
[[nodiscard]] std::optional<Packet> parse_tcp_start(base::Bytes ip, EtherType type,
                                                    std::span<const iovec> tail, std::size_t tail_size);

// TCP, UDP, ICMP, ICMPv6; other protocols and fragments have nothing to verify and pass.
[[nodiscard]] std::expected<void, ParseError> verify_l4_checksum(const Packet& packet);

}  // namespace cordon::wire
