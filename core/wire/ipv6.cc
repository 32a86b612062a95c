#include "core/wire/ipv6.h"

#include <algorithm>

namespace cordon::wire {
namespace {

bool is_extension(IpProtocol protocol) {
  return protocol == IpProtocol::kHopByHop || protocol == IpProtocol::kRouting ||
         protocol == IpProtocol::kFragment || protocol == IpProtocol::kDestinationOptions;
}

// Options of a hop-by-hop or destination options header (RFC 8200 section 4.2).
std::expected<void, ParseError> check_options(Bytes options) {
  constexpr std::uint8_t kPad1 = 0;
  constexpr std::uint8_t kPadN = 1;
  constexpr std::uint8_t kRouterAlert = 5;
  std::size_t at = 0;
  while (at < options.size()) {
    const auto kind = std::to_integer<std::uint8_t>(options[at]);
    if (kind == kPad1) {
      ++at;
      continue;
    }
    if (at + 1 >= options.size()) return std::unexpected(ParseError::kIpv6OptionLength);
    const std::size_t length = std::to_integer<std::size_t>(options[at + 1]) + 2;
    if (length > options.size() - at) return std::unexpected(ParseError::kIpv6OptionLength);
    if (kind == kRouterAlert && length != 4) return std::unexpected(ParseError::kIpv6OptionLength);
    // The two upper bits say what a node does that does not know the option: 00 skips it, the rest discards.
    if (kind != kPadN && kind >> 6U != 0) return std::unexpected(ParseError::kIpv6OptionUnknown);
    at += length;
  }
  return {};
}

}  // namespace

std::expected<std::size_t, ParseError> Ipv6View::read_fragment(Bytes rest, Chain& chain) {
  if (chain.fragment_seen) return std::unexpected(ParseError::kIpv6FragmentRepeated);
  chain.fragment_seen = true;
  const std::uint16_t word = ipv6_fragment_layout::OffsetAndMore::get(rest);
  chain.more_fragments = (word & 1U) != 0;
  chain.fragment_offset = static_cast<std::uint16_t>(word & 0xfff8U);
  chain.fragment_id = ipv6_fragment_layout::Identification::get(rest);
  const std::size_t payload = rest.size() - 8;
  const bool whole = !chain.more_fragments && chain.fragment_offset == 0;
  if (!whole && (payload == 0 || (chain.more_fragments && payload % 8 != 0)))
    return std::unexpected(ParseError::kIpv6FragmentLength);
  if (chain.fragment_offset + payload > 65535) return std::unexpected(ParseError::kIpv6FragmentOverflow);
  return 8;
}

// `rest`: from this extension header to the packet's end. Returns the header's length.
std::expected<std::size_t, ParseError> Ipv6View::read_extension(IpProtocol kind, Bytes rest, Chain& chain) {
  if (rest.size() < 8) return std::unexpected(ParseError::kIpv6ExtensionTruncated);
  if (kind == IpProtocol::kRouting) return std::unexpected(ParseError::kIpv6RoutingHeader);
  if (kind == IpProtocol::kFragment) return read_fragment(rest, chain);
  const std::size_t length = (std::to_integer<std::size_t>(rest[1]) + 1) * 8;
  if (length > rest.size()) return std::unexpected(ParseError::kIpv6ExtensionTruncated);
  if (chain.length + length > kMaxExtensionBytes) return std::unexpected(ParseError::kIpv6ExtensionBytes);
  if (const auto ok = check_options(rest.subspan(2, length - 2)); !ok) return std::unexpected(ok.error());
  return length;
}

std::expected<Ipv6View::Chain, ParseError> Ipv6View::walk(Bytes packet) {
  Chain chain;
  chain.protocol = IpProtocol{ipv6_layout::NextHeader::get(packet)};
  for (std::size_t count = 0; is_extension(chain.protocol); ++count) {
    if (count == kMaxExtensionHeaders) return std::unexpected(ParseError::kIpv6ExtensionCount);
    if (chain.protocol == IpProtocol::kHopByHop && count != 0)
      return std::unexpected(ParseError::kIpv6HopByHopNotFirst);
    const Bytes rest = packet.subspan(kHeader + chain.length);
    const auto length = read_extension(chain.protocol, rest, chain);
    if (!length) return std::unexpected(length.error());
    if (chain.length + *length > kMaxExtensionBytes) return std::unexpected(ParseError::kIpv6ExtensionBytes);
    chain.protocol = IpProtocol{std::to_integer<std::uint8_t>(rest[0])};
    chain.length += *length;
    // What follows in a fragment is complete only after reassembly.
    if (chain.more_fragments || chain.fragment_offset != 0) return chain;
  }
  if (chain.protocol == IpProtocol::kNoNextHeader) return std::unexpected(ParseError::kIpv6NoNextHeader);
  return chain;
}

std::expected<Ipv6View, ParseError> Ipv6View::parse(Bytes packet, std::size_t beyond) {
  if (packet.size() < kHeader) return std::unexpected(ParseError::kIpv6Truncated);
  if (ipv6_layout::VersionClassFlow::get(packet) >> 28U != 6)
    return std::unexpected(ParseError::kIpv6Version);
  const std::size_t payload = ipv6_layout::PayloadLength::get(packet);
  if (payload > packet.size() - kHeader + beyond) return std::unexpected(ParseError::kIpv6PayloadLength);
  if (ipv6_layout::HopLimit::get(packet) == 0) return std::unexpected(ParseError::kHopLimitZero);
  const Bytes trimmed = packet.first(std::min(kHeader + payload, packet.size()));
  const auto chain = walk(trimmed);
  if (!chain) return std::unexpected(chain.error());
  return Ipv6View{trimmed, *chain};
}

}  // namespace cordon::wire
