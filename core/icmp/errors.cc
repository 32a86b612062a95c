#include "core/icmp/errors.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/wire/frame_builder.h"
#include "core/wire/icmp.h"
#include "core/wire/ipv4.h"
#include "core/wire/ipv6.h"
#include "core/wire/udp.h"

namespace cordon::icmp {
namespace {

using wire::IpProtocol;

constexpr std::size_t kIpv4QuoteLimit = 576 - 20 - 8;   // RFC 1812 section 4.3.2.3
constexpr std::size_t kIpv6QuoteLimit = 1280 - 40 - 8;  // RFC 4443 section 2.4 (c)
constexpr std::uint8_t kInternetworkControl = 0xc0;     // RFC 1812 section 4.3.2.5

struct WireError {
  std::uint8_t type;
  std::uint8_t code;
  std::uint32_t rest;
};

WireError to_wire_v4(const ErrorReport& report) {
  using namespace wire::icmp4_type;
  switch (report.kind) {
    case ErrorKind::kNetUnreachable: return {kUnreachable, 0, 0};
    case ErrorKind::kHostUnreachable: return {kUnreachable, 1, 0};
    case ErrorKind::kProtocolUnreachable: return {kUnreachable, 2, 0};
    case ErrorKind::kPortUnreachable: return {kUnreachable, 3, 0};
    case ErrorKind::kPacketTooBig: return {kUnreachable, 4, std::clamp<std::uint32_t>(report.mtu, 68, 65535)};
    case ErrorKind::kAdminProhibited: return {kUnreachable, 13, 0};
    case ErrorKind::kTimeExceeded: return {kTimeExceeded, 0, 0};
  }
  return {kUnreachable, 13, 0};
}

// `next_header_at`: where the packet's last next-header field lies (ICMPv6 4/1 points at it).
WireError to_wire_v6(const ErrorReport& report, std::uint32_t next_header_at) {
  using namespace wire::icmp6_type;
  switch (report.kind) {
    case ErrorKind::kNetUnreachable: return {kUnreachable, 0, 0};
    case ErrorKind::kHostUnreachable: return {kUnreachable, 3, 0};
    case ErrorKind::kProtocolUnreachable: return {kParameterProblem, 1, next_header_at};
    case ErrorKind::kPortUnreachable: return {kUnreachable, 4, 0};
    case ErrorKind::kPacketTooBig: return {kPacketTooBig, 0, std::max<std::uint32_t>(report.mtu, 1280)};
    case ErrorKind::kAdminProhibited: return {kUnreachable, 1, 0};
    case ErrorKind::kTimeExceeded: return {kTimeExceeded, 0, 0};
  }
  return {kUnreachable, 1, 0};
}

// The chain was walked by parse_packet(): it ends at l4 and every header in it has at least 8 bytes.
std::uint32_t last_next_header(const wire::Packet& packet) {
  std::size_t field = wire::ipv6_layout::NextHeader::kOffset;
  std::size_t at = wire::Ipv6View::kHeader;
  const std::size_t end = packet.ip.size() - packet.l4.size();
  while (at < end) {
    const IpProtocol kind{std::to_integer<std::uint8_t>(packet.ip[field])};
    field = at;
    at += kind == IpProtocol::kFragment ? 8 : (std::to_integer<std::size_t>(packet.ip[at + 1]) + 1) * 8;
  }
  return static_cast<std::uint32_t>(field);
}

// RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e).
bool is_icmp_error(const wire::Packet& packet) {
  if (packet.protocol != IpProtocol::kIcmp && packet.protocol != IpProtocol::kIcmpv6) return false;
  if (packet.l4.empty()) return true;  // cannot be told: be silent
  const auto type = wire::icmp_layout::Type::get(packet.l4);
  if (packet.protocol == IpProtocol::kIcmpv6) return type < 128 || type == wire::icmp6_type::kRedirect;
  using namespace wire::icmp4_type;
  return type == kUnreachable || type == kSourceQuench || type == kRedirect || type == kTimeExceeded ||
         type == kParameterProblem;
}

bool is_group(const net::IpAddress& address) {
  return net::is_multicast(address) || address == net::IpAddress{net::Ipv4Address{255, 255, 255, 255}};
}

std::expected<void, NoError> check_ends(const net::IpAddress& source, const net::IpAddress& destination,
                                        const net::IpAddress& reporter) {
  if (is_group(destination)) return std::unexpected(NoError::kAboutGroup);
  if (net::is_unspecified(source) || is_group(source)) return std::unexpected(NoError::kAboutUnspecified);
  if (reporter.family() != source.family()) return std::unexpected(NoError::kFamily);
  return {};
}

std::size_t write_error(const ErrorPath& path, const WireError& error, const net::IpAddress& guest,
                        base::Bytes quote, ErrorBuffer out) {
  const bool v4 = guest.is_v4();
  quote = quote.first(std::min(quote.size(), v4 ? kIpv4QuoteLimit : kIpv6QuoteLimit));
  const wire::FrameTemplate frame({path.our_mac, path.guest_mac, {path.reporter, {}}, {guest, {}}},
                                  v4 ? IpProtocol::kIcmp : IpProtocol::kIcmpv6, 64,
                                  v4 ? kInternetworkControl : 0);
  const std::array<iovec, 1> payload{wire::piece(quote)};
  const auto built =
      wire::build_icmp(frame, error.type, error.code, error.rest, payload, out.first<wire::kMaxHeaders>());
  std::memcpy(out.data() + built.length, quote.data(), quote.size());
  return built.length + quote.size();
}

// The guest's packet as it must have been: headers for `payload_length`, then what is known of the payload.
// Written from the Ethernet header on; returns the headers' length.
std::size_t rebuild(const ErrorPath& path, const flow::Tuple& tuple, base::Bytes payload,
                    std::size_t payload_length, std::uint32_t sequence, wire::HeaderBuffer out) {
  const bool v4 = tuple.guest.address.is_v4();
  const bool whole = payload.size() == payload_length;
  const std::array<iovec, 1> pieces{wire::piece(payload)};
  const wire::FrameTemplate::Ends ends{path.guest_mac, path.our_mac, tuple.guest, tuple.remote};
  const auto finish = [&](const wire::FrameTemplate& frame, const wire::BuiltHeaders& built) {
    const std::size_t header = std::size_t{built.length} - built.checksum_start;
    const std::size_t length = header + std::min(payload_length, frame.max_l4_length() - header);
    frame.put_network(out, length);
    const base::MutableBytes l4 = out.subspan(built.checksum_start);
    if (tuple.protocol == flow::Protocol::kUdp)
      wire::udp_layout::Length::put(l4, static_cast<std::uint16_t>(length));
    if (!whole) base::store_be<std::uint16_t>(l4.subspan(built.checksum_offset).first<2>(), 0);
    return std::size_t{built.length};
  };
  switch (tuple.protocol) {
    case flow::Protocol::kUdp: {
      const wire::FrameTemplate frame(ends, IpProtocol::kUdp);
      return finish(frame, wire::build_udp(frame, pieces, wire::ChecksumMode::kFull, out));
    }
    case flow::Protocol::kTcp: {
      const wire::FrameTemplate frame(ends, IpProtocol::kTcp);
      const wire::TcpFields fields{.seq = net::SeqNum{sequence}, .flags = {.ack = true}};
      return finish(frame, wire::build_tcp(frame, fields, pieces, wire::ChecksumMode::kFull, out));
    }
    case flow::Protocol::kIcmpEcho: break;
  }
  const wire::FrameTemplate frame(ends, v4 ? IpProtocol::kIcmp : IpProtocol::kIcmpv6);
  const std::uint8_t type = v4 ? wire::icmp4_type::kEchoRequest : wire::icmp6_type::kEchoRequest;
  const std::uint32_t rest = (std::uint32_t{tuple.guest.port.number()} << 16U) | (sequence & 0xffffU);
  return finish(frame, wire::build_icmp(frame, type, 0, rest, pieces, out));
}

}  // namespace

ErrorReport report_for(flow::RefuseHow how) {
  switch (how) {
    case flow::RefuseHow::kReject:
    case flow::RefuseHow::kDrop: return {ErrorKind::kAdminProhibited, 0};
    case flow::RefuseHow::kConnectionRefused: return {ErrorKind::kPortUnreachable, 0};
    case flow::RefuseHow::kHostUnreachable: return {ErrorKind::kHostUnreachable, 0};
    case flow::RefuseHow::kNetworkUnreachable: return {ErrorKind::kNetUnreachable, 0};
  }
  return {ErrorKind::kAdminProhibited, 0};
}

std::string_view name(NoError why) {
  switch (why) {
    case NoError::kAboutIcmpError: return "about_icmp_error";
    case NoError::kAboutGroup: return "about_group";
    case NoError::kAboutUnspecified: return "about_unspecified";
    case NoError::kAboutFragment: return "about_fragment";
    case NoError::kFamily: return "family";
  }
  return "unknown";
}

std::expected<std::size_t, NoError> build_error(const ErrorPath& path, const ErrorReport& report,
                                                const wire::Packet& offending, ErrorBuffer out) {
  if (offending.fragment_offset != 0) return std::unexpected(NoError::kAboutFragment);
  if (const auto ok = check_ends(offending.source, offending.destination, path.reporter); !ok)
    return std::unexpected(ok.error());
  if (is_icmp_error(offending)) return std::unexpected(NoError::kAboutIcmpError);
  const WireError error =
      offending.source.is_v4() ? to_wire_v4(report) : to_wire_v6(report, last_next_header(offending));
  return write_error(path, error, offending.source, offending.ip, out);
}

std::expected<std::size_t, NoError> build_flow_error(const ErrorPath& path, const ErrorReport& report,
                                                     const flow::Tuple& tuple, base::Bytes payload,
                                                     std::uint32_t payload_length, ErrorBuffer out,
                                                     std::uint32_t sequence) {
  if (tuple.guest.address.family() != tuple.remote.address.family()) return std::unexpected(NoError::kFamily);
  if (const auto ok = check_ends(tuple.guest.address, tuple.remote.address, path.reporter); !ok)
    return std::unexpected(ok.error());
  const bool v4 = tuple.guest.address.is_v4();
  // No quote is longer than this, so neither is the rebuilt packet's known part.
  std::array<std::byte, wire::kMaxHeaders + kIpv6QuoteLimit> original{};
  payload = payload.first(std::min({payload.size(), std::size_t{payload_length}, kIpv6QuoteLimit}));
  const std::size_t headers =
      rebuild(path, tuple, payload, payload_length, sequence, std::span{original}.first<wire::kMaxHeaders>());
  if (!payload.empty()) std::memcpy(original.data() + headers, payload.data(), payload.size());
  const base::Bytes quote = base::Bytes{original}.subspan(
      wire::EthernetView::kHeader, headers + payload.size() - wire::EthernetView::kHeader);
  const WireError error =
      v4 ? to_wire_v4(report) : to_wire_v6(report, wire::ipv6_layout::NextHeader::kOffset);
  return write_error(path, error, tuple.guest.address, quote, out);
}

}  // namespace cordon::icmp
