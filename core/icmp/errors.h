// ICMP and ICMPv6 errors for the guest (RFC 792, RFC 1812 4.3.2, RFC 4443 section 2.4).
//
// Two sources: a packet of the guest that we refuse (it is quoted as it came), and an error the host's socket
// reported about a flow (the original is gone: its headers are rebuilt from the flow's tuple). Both give one
// frame in the caller's buffer. An error is never sent about an ICMP error, a group or unspecified address,
// or a fragment beyond the first. The caller asks `ErrorLimiter` first.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/token_bucket.h"
#include "core/flow/types.h"
#include "core/net/ip_address.h"
#include "core/net/mac_address.h"
#include "core/wire/packet.h"

namespace cordon::icmp {

// Family-neutral; the wire's type and code follow from the guest's family.
enum class ErrorKind : std::uint8_t {
  kNetUnreachable,       // 3/0, ICMPv6 1/0 (no route)
  kHostUnreachable,      // 3/1, ICMPv6 1/3 (address unreachable)
  kProtocolUnreachable,  // 3/2, ICMPv6 4/1 (unrecognized next header; the pointer is the next header field)
  kPortUnreachable,      // 3/3, ICMPv6 1/4
  kPacketTooBig,         // 3/4, ICMPv6 2/0: `mtu`
  kAdminProhibited,      // 3/13, ICMPv6 1/1
  kTimeExceeded,         // 11/0, ICMPv6 3/0
};

struct ErrorReport {
  ErrorKind kind = ErrorKind::kAdminProhibited;
  std::uint32_t mtu = 0;  // kPacketTooBig: clamped to at least 68 (IPv4) or 1280 (IPv6)
  friend constexpr bool operator==(const ErrorReport&, const ErrorReport&) = default;
};

[[nodiscard]] ErrorReport report_for(
    flow::RefuseHow how);  // kReject, kConnectionRefused, kHost..., kNetwork...

// Who sends the error on the link, and to whom.
struct ErrorPath {
  net::MacAddress our_mac;
  net::MacAddress guest_mac;
  // Our gateway, or the router that reported (traceroute). Must have the packet's family, else nothing is
  // built.
  net::IpAddress reporter;
};

enum class NoError : std::uint8_t {
  kAboutIcmpError,
  kAboutGroup,        // multicast or broadcast destination
  kAboutUnspecified,  // or a multicast source
  kAboutFragment,     // beyond the first
  kFamily,            // reporter and packet differ
};
[[nodiscard]] std::string_view name(NoError why);

// Ethernet header and an IP packet of at most 576 (IPv4) or 1280 (IPv6) bytes.
inline constexpr std::size_t kMaxErrorFrame = 14 + 1280;
using ErrorBuffer = std::span<std::byte, kMaxErrorFrame>;

// About a packet of the guest. Returns the frame's length.
[[nodiscard]] std::expected<std::size_t, NoError> build_error(const ErrorPath& path,
                                                              const ErrorReport& report,
                                                              const wire::Packet& offending, ErrorBuffer out);

// About a packet of a flow that is gone. `payload`: as much of its first L4 payload bytes as is known;
// `payload_length`: how long it was (for the rebuilt length fields). `sequence`: the TCP sequence number, or
// the echo sequence. The rebuilt L4 checksum is right when the whole payload is known, else 0.
[[nodiscard]] std::expected<std::size_t, NoError> build_flow_error(
    const ErrorPath& path, const ErrorReport& report, const flow::Tuple& tuple, base::Bytes payload,
    std::uint32_t payload_length, ErrorBuffer out, std::uint32_t sequence = 0);

// RFC 4443 2.4 (f): errors are rationed.
class ErrorLimiter {
 public:
  [[nodiscard]] bool allow(base::Instant now) { return bucket_.take(now); }

 private:
  base::TokenBucket bucket_{1000, 100};
};

}  // namespace cordon::icmp
