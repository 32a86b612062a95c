#include "core/icmp/guest_error.h"

#include <algorithm>

#include "core/wire/icmp.h"
#include "core/wire/ipv4.h"
#include "core/wire/ipv6.h"

namespace cordon::icmp {
namespace {

using wire::IpProtocol;

constexpr std::uint16_t kLeastMtu4 = 576;   // RFC 791: what every host takes; less would only serve attacks
constexpr std::uint16_t kLeastMtu6 = 1280;  // RFC 8201 section 4
constexpr std::size_t kQuoted = 8;          // of the quoted L4: what RFC 792 promises

struct Quote {
  net::IpAddress source, destination;
  IpProtocol protocol = IpProtocol::kTcp;
  base::Bytes l4;
};

// The quote is cut anywhere behind its L4 header's first 8 bytes, so the views, which want whole packets, do
// not serve. Our packets have neither options nor extension headers beside the fragment header.
std::optional<Quote> quote_v4(base::Bytes ip) {
  constexpr std::size_t kHeader = wire::Ipv4View::kMinHeader;
  if (ip.size() < kHeader + kQuoted || wire::ipv4_layout::VersionAndLength::get(ip) != 0x45)
    return std::nullopt;
  constexpr std::uint16_t kOffset = 0x1fff;
  if ((wire::ipv4_layout::FlagsAndOffset::get(ip) & kOffset) != 0) return std::nullopt;
  return Quote{wire::ipv4_layout::Source::get(ip), wire::ipv4_layout::Destination::get(ip),
               IpProtocol{wire::ipv4_layout::Protocol::get(ip)}, ip.subspan(kHeader)};
}

std::optional<Quote> quote_v6(base::Bytes ip) {
  constexpr std::size_t kHeader = wire::Ipv6View::kHeader;
  constexpr std::size_t kFragmentHeader = 8;
  if (ip.size() < kHeader + kQuoted || (std::to_integer<unsigned>(ip[0]) >> 4U) != 6) return std::nullopt;
  Quote quote{wire::ipv6_layout::Source::get(ip), wire::ipv6_layout::Destination::get(ip),
              IpProtocol{wire::ipv6_layout::NextHeader::get(ip)}, ip.subspan(kHeader)};
  if (quote.protocol != IpProtocol::kFragment) return quote;
  if (quote.l4.size() < kFragmentHeader + kQuoted) return std::nullopt;
  if ((base::load_be<std::uint16_t>(quote.l4.subspan<2, 2>()) & 0xfff8U) != 0) return std::nullopt;
  quote.protocol = IpProtocol{std::to_integer<std::uint8_t>(quote.l4[0])};
  quote.l4 = quote.l4.subspan(kFragmentHeader);
  return quote;
}

std::optional<GuestError::Kind> kind_of(const wire::IcmpView& view, bool v6) {
  using Kind = GuestError::Kind;
  if (v6) {
    if (view.type() == wire::icmp6_type::kPacketTooBig) return Kind::kTooBig;
    // RFC 4443 section 3.1: prohibited, port, policy, reject route.
    const bool hard = view.code() == 1 || (view.code() >= 4 && view.code() <= 6);
    if (view.type() == wire::icmp6_type::kUnreachable && hard) return Kind::kUnreachable;
    return std::nullopt;
  }
  if (view.type() != wire::icmp4_type::kUnreachable) return std::nullopt;
  switch (view.code()) {
    case 4: return Kind::kTooBig;
    case 2:  // protocol, port, and three ways to prohibit (RFC 1812 section 5.2.7.1)
    case 3:
    case 9:
    case 10:
    case 13: return Kind::kUnreachable;
    default: return std::nullopt;  // RFC 1122 section 4.2.3.9: the others may pass
  }
}

}  // namespace

std::optional<GuestError> parse_guest_error(const wire::Packet& packet) {
  const bool v6 = packet.source.is_v6();
  if (packet.protocol != (v6 ? IpProtocol::kIcmpv6 : IpProtocol::kIcmp)) return std::nullopt;
  const auto view = wire::IcmpView::parse(packet.l4);
  if (!view) return std::nullopt;
  const auto kind = kind_of(*view, v6);
  if (!kind) return std::nullopt;
  const auto quote = v6 ? quote_v6(view->payload()) : quote_v4(view->payload());
  if (!quote || (quote->protocol != IpProtocol::kTcp && quote->protocol != IpProtocol::kUdp))
    return std::nullopt;
  GuestError out;
  out.kind = *kind;
  const std::uint32_t mtu = v6 ? view->rest() : view->rest() & 0xffffU;
  out.mtu = static_cast<std::uint16_t>(std::clamp<std::uint32_t>(mtu, v6 ? kLeastMtu6 : kLeastMtu4, 65535));
  out.tuple.protocol = quote->protocol == IpProtocol::kTcp ? flow::Protocol::kTcp : flow::Protocol::kUdp;
  out.tuple.remote = {quote->source, net::Port{base::load_be<std::uint16_t>(quote->l4.subspan<0, 2>())}};
  out.tuple.guest = {quote->destination, net::Port{base::load_be<std::uint16_t>(quote->l4.subspan<2, 2>())}};
  out.sequence = base::load_be<std::uint32_t>(quote->l4.subspan<4, 4>());
  return out;
}

}  // namespace cordon::icmp
