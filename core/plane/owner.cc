#include "core/plane/owner.h"

#include <cstring>

#include "core/base/check.h"
#include "core/wire/ethernet.h"
#include "core/wire/icmp.h"
#include "core/wire/ipv4.h"
#include "core/wire/ipv6.h"

namespace cordon::plane {
namespace {

constexpr std::uint8_t kTcp = static_cast<std::uint8_t>(flow::Protocol::kTcp);
constexpr std::uint8_t kUdp = static_cast<std::uint8_t>(flow::Protocol::kUdp);
constexpr std::uint8_t kEcho = static_cast<std::uint8_t>(flow::Protocol::kIcmpEcho);
constexpr std::uint8_t kIcmp6 = static_cast<std::uint8_t>(wire::IpProtocol::kIcmpv6);
constexpr std::uint16_t kDhcp = 67;
constexpr std::uint16_t kDhcp6 = 547;

std::uint16_t port_at(base::Bytes l4, std::size_t at) {
  return base::load_be<std::uint16_t>(l4.subspan(at).first<2>());
}

bool is_group(base::Bytes address) {
  if (address.size() == 16) return address[0] == std::byte{0xff};
  return (address[0] & std::byte{0xf0}) == std::byte{0xe0} || address[0] == std::byte{0xff};
}

// Of an ICMP (`v6` false) or ICMPv6 message.
enum class Kind : std::uint8_t { kPing, kError, kLink };
Kind kind_of(std::uint8_t type, bool v6) {
  if (v6) {
    if (type == wire::icmp6_type::kEchoRequest || type == wire::icmp6_type::kEchoReply) return Kind::kPing;
    return type < 128 ? Kind::kError : Kind::kLink;
  }
  if (type == wire::icmp4_type::kEchoRequest || type == wire::icmp4_type::kEchoReply) return Kind::kPing;
  const bool error = type == wire::icmp4_type::kUnreachable || type == wire::icmp4_type::kSourceQuench ||
                     type == wire::icmp4_type::kTimeExceeded || type == wire::icmp4_type::kParameterProblem;
  return error ? Kind::kError : Kind::kLink;
}

}  // namespace

// Another key than the flow table's: its buckets would be left half empty by a hash that also chose the
// worker.
Owners::Owners(const base::SipKey& key, std::uint32_t workers)
    : key_{key.k0 ^ 0x6f776e6572206f66ULL, key.k1 ^ 0x206120666c6f7721ULL}, workers_(workers) {
  CORDON_CHECK(workers > 0);
}

std::uint32_t Owners::pick(base::Bytes words) const {
  const std::uint64_t hash = base::siphash24(key_, words);
  return static_cast<std::uint32_t>(((hash >> 32U) * workers_) >> 32U);
}

std::uint32_t Owners::of_flow(std::uint8_t protocol, base::Bytes guest, std::uint16_t guest_port,
                              base::Bytes remote, std::uint16_t remote_port) const {
  if (protocol == kUdp && (remote_port == kDhcp || remote_port == kDhcp6)) return kLinkOwner;
  std::array<std::byte, 40> words{};
  std::size_t n = 0;
  const auto put = [&](const void* from, std::size_t size) {
    std::memcpy(words.data() + n, from, size);
    n += size;
  };
  put(guest.data(), guest.size());
  put(remote.data(), remote.size());
  put(&guest_port, sizeof guest_port);
  put(&remote_port, sizeof remote_port);
  put(&protocol, sizeof protocol);
  return pick(std::span(words).first(n));
}

std::uint32_t Owners::of_fragment(base::Bytes source, base::Bytes destination, std::uint32_t id) const {
  if (is_group(destination)) return kLinkOwner;
  std::array<std::byte, 36> words{};
  std::memcpy(words.data(), source.data(), source.size());
  std::memcpy(words.data() + source.size(), destination.data(), destination.size());
  std::memcpy(words.data() + 2 * source.size(), &id, sizeof id);
  return pick(std::span(words).first(2 * source.size() + sizeof id));
}

std::uint32_t Owners::of(const flow::Tuple& tuple) const {
  const auto& guest = tuple.guest.address.bytes();
  const auto& remote = tuple.remote.address.bytes();
  return of_flow(static_cast<std::uint8_t>(tuple.protocol), base::as_bytes(guest.data(), guest.size()),
                 tuple.guest.port.number(), base::as_bytes(remote.data(), remote.size()),
                 tuple.remote.port.number());
}

std::optional<std::uint32_t> Owners::of(base::Bytes frame) const {
  const auto ethernet = wire::EthernetView::parse(frame);
  if (!ethernet) return std::nullopt;
  switch (ethernet->type()) {
    case wire::EtherType::kArp: return kLinkOwner;
    case wire::EtherType::kIpv4: return of_v4(ethernet->payload());
    case wire::EtherType::kIpv6: return of_v6(ethernet->payload());
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Owners::of_v4(base::Bytes ip) const {
  if (ip.size() < wire::Ipv4View::kMinHeader) return std::nullopt;
  const std::size_t header = (wire::ipv4_layout::VersionAndLength::get(ip) & 0x0fU) * std::size_t{4};
  if (header < wire::Ipv4View::kMinHeader || ip.size() < header) return std::nullopt;
  const base::Bytes source = ip.subspan(12, 4);
  const base::Bytes destination = ip.subspan(16, 4);
  constexpr std::uint16_t kFragment = wire::ipv4_layout::kMoreFragments | wire::ipv4_layout::kOffsetMask;
  if ((wire::ipv4_layout::FlagsAndOffset::get(ip) & kFragment) != 0)
    return of_fragment(source, destination, wire::ipv4_layout::Identification::get(ip));
  const std::uint8_t protocol = wire::ipv4_layout::Protocol::get(ip);
  if (protocol == kIcmp6) return std::nullopt;
  return of_packet(protocol, source, destination, ip.subspan(header));
}

std::optional<std::uint32_t> Owners::of_v6(base::Bytes ip) const {
  if (ip.size() < wire::Ipv6View::kHeader) return std::nullopt;
  const base::Bytes source = ip.subspan(8, 16);
  const base::Bytes destination = ip.subspan(24, 16);
  const std::uint8_t next = wire::ipv6_layout::NextHeader::get(ip);
  if (next == kTcp || next == kUdp || next == kIcmp6)
    return of_packet(next == kIcmp6 ? kEcho : next, source, destination, ip.subspan(wire::Ipv6View::kHeader));
  const auto view = wire::Ipv6View::parse(ip);  // walks the extension headers
  if (!view) return std::nullopt;
  if (view->is_fragment()) return of_fragment(source, destination, view->fragment_id());
  const auto protocol = static_cast<std::uint8_t>(view->protocol());
  if (protocol == kEcho) return std::nullopt;  // ICMPv4 inside IPv6
  return of_packet(protocol == kIcmp6 ? kEcho : protocol, source, destination, view->payload());
}

// `protocol`: TCP, UDP, or kEcho for ICMP of either family.
std::optional<std::uint32_t> Owners::of_packet(std::uint8_t protocol, base::Bytes source,
                                               base::Bytes destination, base::Bytes l4) const {
  if (is_group(destination)) return kLinkOwner;
  if (l4.size() < 8) return std::nullopt;  // shorter than any of the three
  if (protocol == kTcp || protocol == kUdp)
    return of_flow(protocol, source, port_at(l4, 0), destination, port_at(l4, 2));
  if (protocol != kEcho) return std::nullopt;
  switch (kind_of(wire::icmp_layout::Type::get(l4), source.size() == 16)) {
    case Kind::kPing: return of_flow(kEcho, source, wire::icmp_layout::Identifier::get(l4), destination, 0);
    case Kind::kError: return of_quoted(l4.subspan(wire::IcmpView::kHeader));
    case Kind::kLink: return kLinkOwner;
  }
  return std::nullopt;
}

// The guest quotes what we sent it: its own address and port are the destination's there. The quotation may
// be cut off behind the first eight bytes of the payload (RFC 792), so lengths prove nothing.
std::optional<std::uint32_t> Owners::of_quoted(base::Bytes ip) const {
  if (ip.empty()) return std::nullopt;
  const bool v6 = (ip[0] >> 4U) == std::byte{6};
  if (ip.size() < (v6 ? wire::Ipv6View::kHeader : wire::Ipv4View::kMinHeader)) return std::nullopt;
  const std::size_t header =
      v6 ? wire::Ipv6View::kHeader : (wire::ipv4_layout::VersionAndLength::get(ip) & 0x0fU) * std::size_t{4};
  if (header < wire::Ipv4View::kMinHeader || ip.size() < header + 8) return std::nullopt;
  const base::Bytes remote = v6 ? ip.subspan(8, 16) : ip.subspan(12, 4);
  const base::Bytes guest = v6 ? ip.subspan(24, 16) : ip.subspan(16, 4);
  const std::uint8_t protocol =
      v6 ? wire::ipv6_layout::NextHeader::get(ip) : wire::ipv4_layout::Protocol::get(ip);
  const base::Bytes l4 = ip.subspan(header);
  if (protocol == kTcp || protocol == kUdp)
    return of_flow(protocol, guest, port_at(l4, 2), remote, port_at(l4, 0));
  if (protocol == (v6 ? kIcmp6 : kEcho))
    return of_flow(kEcho, guest, wire::icmp_layout::Identifier::get(l4), remote, 0);
  return std::nullopt;
}

}  // namespace cordon::plane
