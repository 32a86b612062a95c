// Builds the headers of frames for the guest: Ethernet, IP and TCP/UDP/ICMP, for a payload that lies
// elsewhere.
//
// A FrameTemplate is made once per flow: it holds the Ethernet and IP header bytes and the sums of what never
// changes. Per frame only the lengths, the IPv4 header checksum and the L4 header are written, and with a
// partial checksum the payload is never read. A frame may be a super-frame (payload up to 65535 minus
// headers); its IP and UDP length fields cover all of it, as virtio GSO wants.
//
// IPv4: identification 0 with DF set, for TCP and for UDP (RFC 6864: an atomic datagram needs no id). A UDP
// datagram above the guest's MTU therefore is not fragmented towards the guest: the link carries it whole or
// drops it.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/base/bytes.h"
#include "core/net/endpoint.h"
#include "core/net/mac_address.h"
#include "core/net/seq_num.h"
#include "core/wire/ip_protocol.h"
#include "core/wire/tcp.h"
#include "core/wire/tcp_options.h"

namespace cordon::wire {

inline constexpr std::size_t kMaxHeaders = 128;
using HeaderBuffer = std::span<std::byte, kMaxHeaders>;

enum class ChecksumMode : std::uint8_t {
  kFull,     // computed here over the payload pieces
  kPartial,  // the field holds the pseudo-header sum; the link completes it (Offload::needs_checksum)
};

// Length and offload facts of the headers that were written; offsets count from the start of the Ethernet
// header.
struct BuiltHeaders {
  std::uint16_t length = 0;           // = Offload::header_length
  std::uint16_t checksum_start = 0;   // = Offload::checksum_start
  std::uint16_t checksum_offset = 0;  // = Offload::checksum_offset
};

// A payload piece of bytes that are only read.
[[nodiscard]] iovec piece(base::Bytes bytes);

class FrameTemplate {
 public:
  struct Ends {
    net::MacAddress source_mac;       // ours
    net::MacAddress destination_mac;  // the guest's
    net::Endpoint source;             // the remote end as the guest sees it; ports unused for ICMP
    net::Endpoint destination;        // the guest
  };
  // Both addresses have one family (CHECKed).
  FrameTemplate(const Ends& ends, IpProtocol protocol, std::uint8_t hop_limit = 64,
                std::uint8_t traffic_class = 0);

  [[nodiscard]] bool is_v4() const { return network_length_ == 34; }
  [[nodiscard]] IpProtocol protocol() const { return protocol_; }
  // Bytes of L4 header and payload that fit one (super-)frame: 65515 for IPv4; for IPv6 65495 too, so that
  // the whole IP packet stays within 65535 bytes.
  [[nodiscard]] std::size_t max_l4_length() const { return is_v4() ? 65515 : 65495; }
  // The same for a packet that travels in fragments (RFC 8200 4.5: the header does not count for IPv6).
  [[nodiscard]] std::size_t max_fragmented_l4_length() const { return is_v4() ? 65515 : 65535; }

  // Ethernet and IP header for `l4_length` bytes behind them; returns where L4 starts. The rest of `out` is
  // untouched.
  std::size_t put_network(HeaderBuffer out, std::size_t l4_length) const;
  // From now on: of a guest whose MAC was not known when the flow began.
  void set_destination_mac(net::MacAddress mac);
  // From now on; the flow's packets keep what the far end's had.
  void set_marks(std::uint8_t hop_limit, std::uint8_t traffic_class);
  [[nodiscard]] std::uint8_t traffic_class() const;
  // Same, with this frame's own TTL / hop limit and traffic class (ping, UDP with TTL copied).
  std::size_t put_network(HeaderBuffer out, std::size_t l4_length, std::uint8_t hop_limit,
                          std::uint8_t traffic_class) const;
  // Folded pseudo-header sum for that length.
  [[nodiscard]] std::uint16_t pseudo_sum(std::size_t l4_length) const;

  [[nodiscard]] net::Port source_port() const { return source_port_; }
  [[nodiscard]] net::Port destination_port() const { return destination_port_; }

 private:
  std::array<std::byte, 54> network_{};
  std::uint8_t network_length_ = 0;  // 34 or 54
  IpProtocol protocol_;
  std::uint16_t ip_sum_ = 0;       // IPv4 header without total length, folded
  std::uint16_t address_sum_ = 0;  // pseudo header without length, folded
  net::Port source_port_;
  net::Port destination_port_;
};

struct TcpFields {
  net::SeqNum seq;
  net::SeqNum ack;
  TcpFlags flags;
  std::uint16_t window = 0;  // on the wire
  std::optional<std::uint16_t> mss;
  std::optional<std::uint8_t> window_scale;
  bool sack_permitted = false;
  std::array<SackBlock, 4> sack{};
  std::uint8_t sack_count =
      0;  // at most 4; 3 when other options are present (they must fit 40 bytes, CHECKed)
};

// `payload`: the pieces that will follow the headers; their sum must fit max_l4_length() (CHECKed).
BuiltHeaders build_tcp(const FrameTemplate& flow, const TcpFields& fields, std::span<const iovec> payload,
                       ChecksumMode mode, HeaderBuffer out);
BuiltHeaders build_udp(const FrameTemplate& flow, std::span<const iovec> payload, ChecksumMode mode,
                       HeaderBuffer out);
// ICMP or ICMPv6 by the template's protocol: type, code, and the 32 bits behind the checksum. Always a full
// checksum.
BuiltHeaders build_icmp(const FrameTemplate& flow, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                        std::span<const iovec> payload, HeaderBuffer out);

}  // namespace cordon::wire
