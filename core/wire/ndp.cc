#include "core/wire/ndp.h"

#include "core/wire/checksum.h"

namespace cordon::wire {
namespace {

// Smallest message per type, options not counted; 0: no NDP type.
std::size_t fixed_size(std::uint8_t type) {
  switch (type) {
    case icmp6_type::kRouterSolicitation: return 8;
    case icmp6_type::kRouterAdvertisement: return 16;
    case icmp6_type::kNeighbourSolicitation:
    case icmp6_type::kNeighbourAdvertisement: return 24;
    case icmp6_type::kRedirect: return 40;
    default: return 0;
  }
}

}  // namespace

net::Ipv6Address solicited_node(net::Ipv6Address address) {
  const auto& tail = address.bytes();
  return net::Ipv6Address{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, tail[13], tail[14], tail[15]}};
}

std::expected<void, ParseError> NdpView::read_options(Bytes options) {
  while (!options.empty()) {
    if (options.size() < 8) return std::unexpected(ParseError::kNdpOptionLength);
    const auto kind = std::to_integer<std::uint8_t>(options[0]);
    const std::size_t length = std::to_integer<std::size_t>(options[1]) * 8;
    if (length == 0 || length > options.size()) return std::unexpected(ParseError::kNdpOptionLength);
    if (kind == ndp_layout::kSourceLinkLayer || kind == ndp_layout::kTargetLinkLayer) {
      if (length != 8) return std::unexpected(ParseError::kNdpOptionSize);
      auto& mac = kind == ndp_layout::kSourceLinkLayer ? source_mac_ : target_mac_;
      if (!mac) mac = ndp_layout::OptionMac::get(options);
    }
    options = options.subspan(length);
  }
  return {};
}

// RFC 4861 section 7.1.1 and 7.1.2.
std::expected<void, ParseError> NdpView::check_neighbour(const Packet& packet) const {
  if (net::is_multicast(target_)) return std::unexpected(ParseError::kNdpTarget);
  if (type_ == NdpType::kNeighbourSolicitation && net::is_unspecified(packet.source)) {
    if (packet.destination != net::IpAddress{solicited_node(target_)})
      return std::unexpected(ParseError::kNdpDestination);
    if (source_mac_) return std::unexpected(ParseError::kNdpSource);
  }
  return {};
}

std::expected<NdpView, ParseError> NdpView::parse(const Packet& packet) {
  if (packet.protocol != IpProtocol::kIcmpv6 || packet.is_fragment || packet.fragment_header ||
      packet.source.is_v4())
    return std::unexpected(ParseError::kNdpType);  // RFC 6980: never fragmented
  if (packet.l4.size() < IcmpView::kHeader) return std::unexpected(ParseError::kNdpTruncated);
  const std::uint8_t type = icmp_layout::Type::get(packet.l4);
  const std::size_t fixed = fixed_size(type);
  if (fixed == 0) return std::unexpected(ParseError::kNdpType);
  if (packet.l4.size() < fixed) return std::unexpected(ParseError::kNdpTruncated);
  if (packet.hop_limit != 255) return std::unexpected(ParseError::kNdpHopLimit);
  if (icmp_layout::Code::get(packet.l4) != 0) return std::unexpected(ParseError::kNdpCode);
  NdpView view{NdpType{type}};
  if (const auto ok = view.read_options(packet.l4.subspan(fixed)); !ok) return std::unexpected(ok.error());
  // RFC 4861 section 6.1.1
  if (view.type_ == NdpType::kRouterSolicitation && net::is_unspecified(packet.source) && view.source_mac_)
    return std::unexpected(ParseError::kNdpSource);
  if (view.type_ == NdpType::kNeighbourSolicitation || view.type_ == NdpType::kNeighbourAdvertisement) {
    view.target_ = ndp_layout::Target::get(packet.l4);
    if (const auto ok = view.check_neighbour(packet); !ok) return std::unexpected(ok.error());
  }
  return view;
}

namespace {

// Type, flags, target and one link-layer address option: both neighbour messages have this form.
void put_neighbour(MutableBytes message, net::Ipv6Address source, net::Ipv6Address destination,
                   std::uint8_t type, std::uint32_t flags, net::Ipv6Address target, std::uint8_t option_kind,
                   net::MacAddress mac) {
  icmp_layout::Type::put(message, type);
  icmp_layout::Code::put(message, 0);
  icmp_layout::Checksum::put(message, 0);
  icmp_layout::Rest::put(message, flags);
  ndp_layout::Target::put(message, target);
  const MutableBytes option = message.subspan(ndp_layout::kNeighbourSize);
  option[0] = std::byte{option_kind};
  option[1] = std::byte{1};  // in units of 8 bytes
  ndp_layout::OptionMac::put(option, mac);
  ChecksumSum sum;
  sum.add_pseudo_header(source, destination, static_cast<std::uint8_t>(IpProtocol::kIcmpv6),
                        static_cast<std::uint32_t>(message.size()));
  sum.add(message);
  icmp_layout::Checksum::put(message, sum.finish());
}

}  // namespace

void put_advertisement(MutableBytes out, net::Ipv6Address source, net::Ipv6Address destination,
                       const AdvertisementFields& fields) {
  const std::uint32_t flags = (fields.router ? 0x80000000U : 0U) | (fields.solicited ? 0x40000000U : 0U) |
                              (fields.override_cache ? 0x20000000U : 0U);
  put_neighbour(out.first(kAdvertisementSize), source, destination, icmp6_type::kNeighbourAdvertisement,
                flags, fields.target, ndp_layout::kTargetLinkLayer, fields.target_mac);
}

void put_solicitation(MutableBytes out, net::Ipv6Address source, net::Ipv6Address destination,
                      net::Ipv6Address target, net::MacAddress source_mac) {
  put_neighbour(out.first(kSolicitationSize), source, destination, icmp6_type::kNeighbourSolicitation, 0,
                target, ndp_layout::kSourceLinkLayer, source_mac);
}

}  // namespace cordon::wire
