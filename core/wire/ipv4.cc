#include "core/wire/ipv4.h"

#include <algorithm>

#include "core/wire/checksum.h"

namespace cordon::wire {
namespace {

// Option kinds: RFC 791 section 3.1, https://www.iana.org/assignments/ip-parameters
enum OptionKind : std::uint8_t {
  kEndOfList = 0,
  kNoOperation = 1,
  kRecordRoute = 7,
  kTimestamp = 68,
  kLooseSourceRoute = 131,
  kStrictSourceRoute = 137,
};

// Record route and timestamp carry a pointer, counted from 1 at the option's kind. Past the end means "full".
std::expected<void, ParseError> check_pointer(std::uint8_t kind, Bytes option) {
  const unsigned smallest = kind == kRecordRoute ? 4 : 5;
  if (option.size() < smallest - 1) return std::unexpected(ParseError::kIpv4OptionLength);
  const unsigned pointer = std::to_integer<unsigned>(option[2]);
  if (pointer < smallest || pointer > option.size() + 1)
    return std::unexpected(ParseError::kIpv4OptionPointer);
  return {};
}

std::expected<void, ParseError> check_options(Bytes options) {
  bool route_seen = false;
  bool time_seen = false;
  std::size_t at = 0;
  while (at < options.size()) {
    const auto kind = std::to_integer<std::uint8_t>(options[at]);
    if (kind == kEndOfList) return {};
    if (kind == kNoOperation) {
      ++at;
      continue;
    }
    if (at + 1 >= options.size()) return std::unexpected(ParseError::kIpv4OptionLength);
    const auto length = std::to_integer<std::size_t>(options[at + 1]);
    if (length < 2 || length > options.size() - at) return std::unexpected(ParseError::kIpv4OptionLength);
    if (kind == kLooseSourceRoute || kind == kStrictSourceRoute)
      return std::unexpected(ParseError::kIpv4SourceRoute);
    if (kind == kRecordRoute || kind == kTimestamp) {
      bool& seen = kind == kRecordRoute ? route_seen : time_seen;
      if (seen) return std::unexpected(ParseError::kIpv4OptionRepeated);
      seen = true;
      if (const auto ok = check_pointer(kind, options.subspan(at, length)); !ok) return ok;
    }
    at += length;
  }
  return {};
}

std::expected<void, ParseError> check_fragment(std::uint16_t flags, std::size_t payload) {
  if ((flags & ipv4_layout::kReservedFlag) != 0) return std::unexpected(ParseError::kIpv4ReservedFlag);
  const bool more = (flags & ipv4_layout::kMoreFragments) != 0;
  const std::size_t offset = (flags & ipv4_layout::kOffsetMask) * std::size_t{8};
  if (!more && offset == 0) return {};
  if (payload == 0 || (more && payload % 8 != 0)) return std::unexpected(ParseError::kIpv4FragmentLength);
  // The reassembled datagram must fit its own total length field (RFC 791: ping of death).
  if (offset + payload > 65535 - Ipv4View::kMinHeader)
    return std::unexpected(ParseError::kIpv4FragmentOverflow);
  return {};
}

}  // namespace

std::expected<Ipv4View, ParseError> Ipv4View::parse(Bytes packet, std::size_t beyond) {
  if (packet.size() < kMinHeader) return std::unexpected(ParseError::kIpv4Truncated);
  const std::uint8_t first = ipv4_layout::VersionAndLength::get(packet);
  if (first >> 4U != 4) return std::unexpected(ParseError::kIpv4Version);
  const std::size_t header = (first & 0x0fU) * std::size_t{4};
  if (header < kMinHeader) return std::unexpected(ParseError::kIpv4HeaderLength);
  if (header > packet.size()) return std::unexpected(ParseError::kIpv4Truncated);
  if (checksum(packet.first(header)) != 0) return std::unexpected(ParseError::kIpv4Checksum);
  const std::size_t total = ipv4_layout::TotalLength::get(packet);
  if (total < header) return std::unexpected(ParseError::kIpv4TotalLength);
  if (total > packet.size() + beyond) return std::unexpected(ParseError::kIpv4TotalLengthLong);
  if (header > kMinHeader) {
    if (const auto ok = check_options(packet.subspan(kMinHeader, header - kMinHeader)); !ok)
      return std::unexpected(ok.error());
  }
  if (const auto ok = check_fragment(ipv4_layout::FlagsAndOffset::get(packet), total - header); !ok)
    return std::unexpected(ok.error());
  if (ipv4_layout::Ttl::get(packet) == 0) return std::unexpected(ParseError::kHopLimitZero);
  return Ipv4View{packet.first(std::min(total, packet.size())), header};
}

}  // namespace cordon::wire
