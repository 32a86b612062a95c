#include "core/wire/frame_builder.h"

#include <algorithm>
#include <cstring>

#include "core/base/check.h"
#include "core/wire/checksum.h"
#include "core/wire/ethernet.h"
#include "core/wire/icmp.h"
#include "core/wire/ipv4.h"
#include "core/wire/ipv6.h"
#include "core/wire/udp.h"

namespace cordon::wire {
namespace {

constexpr std::size_t kEthernet = EthernetView::kHeader;

// One's complement addition of folded sums.
constexpr std::uint16_t add_sums(std::uint32_t a, std::uint32_t b) {
  const std::uint32_t sum = a + b;
  return static_cast<std::uint16_t>((sum & 0xffffU) + (sum >> 16U));
}

std::size_t total_length(std::span<const iovec> payload) {
  std::size_t length = 0;
  for (const iovec& piece : payload) length += piece.iov_len;
  return length;
}

// The checksum field's value; the header's own field must hold zero.
std::uint16_t l4_checksum(std::uint16_t pseudo_sum, base::Bytes header, std::span<const iovec> payload) {
  ChecksumSum sum;
  sum.add_word(pseudo_sum);
  sum.add(header);
  sum.add(payload);
  return sum.finish();
}

void put_byte(base::MutableBytes out, std::size_t at, std::uint8_t value) { out[at] = std::byte{value}; }

// SYN options first, then SACK; each group is padded in front with NOPs to a multiple of four, as it is
// customary.
std::size_t put_options(const TcpFields& fields, base::MutableBytes out) {
  std::size_t at = 0;
  const auto put = [&](std::initializer_list<unsigned> bytes) {
    for (const unsigned b : bytes) put_byte(out, at++, static_cast<std::uint8_t>(b));
  };
  if (fields.mss) put({2, 4, *fields.mss / 256U, *fields.mss % 256U});
  if (fields.sack_permitted) put({1, 1, 4, 2});
  if (fields.window_scale) put({1, 3, 3, *fields.window_scale});
  if (fields.sack_count != 0) {
    const std::size_t count = std::min<std::size_t>(fields.sack_count, fields.sack.size());
    CORDON_CHECK(at + 4 + count * 8 <= 40);
    put({1, 1, 5, static_cast<unsigned>(2 + count * 8)});
    for (std::size_t i = 0; i < count; ++i, at += 8) {
      base::store_be<std::uint32_t>(out.subspan(at).first<4>(), fields.sack[i].left.raw());
      base::store_be<std::uint32_t>(out.subspan(at + 4).first<4>(), fields.sack[i].right.raw());
    }
  }
  return at;
}

}  // namespace

// writev()'s type has no const form.
iovec piece(base::Bytes bytes) { return {const_cast<std::byte*>(bytes.data()), bytes.size()}; }

FrameTemplate::FrameTemplate(const Ends& ends, IpProtocol protocol, std::uint8_t hop_limit,
                             std::uint8_t traffic_class)
    : protocol_(protocol), source_port_(ends.source.port), destination_port_(ends.destination.port) {
  const net::IpAddress& source = ends.source.address;
  const net::IpAddress& destination = ends.destination.address;
  CORDON_CHECK(source.family() == destination.family());
  const base::MutableBytes out{network_};
  put_ethernet(out, ends.destination_mac, ends.source_mac,
               source.is_v4() ? EtherType::kIpv4 : EtherType::kIpv6);
  const base::MutableBytes ip = out.subspan(kEthernet);
  const auto number = static_cast<std::uint8_t>(protocol);
  if (source.is_v4()) {
    network_length_ = kEthernet + Ipv4View::kMinHeader;
    ipv4_layout::VersionAndLength::put(ip, 0x45);
    ipv4_layout::FlagsAndOffset::put(ip, ipv4_layout::kDontFragment);
    ipv4_layout::Protocol::put(ip, number);
    ipv4_layout::Source::put(ip, source.v4());
    ipv4_layout::Destination::put(ip, destination.v4());
  } else {
    network_length_ = kEthernet + Ipv6View::kHeader;
    ipv6_layout::NextHeader::put(ip, number);
    ipv6_layout::Source::put(ip, source.v6());
    ipv6_layout::Destination::put(ip, destination.v6());
  }
  set_marks(hop_limit, traffic_class);
  ChecksumSum addresses;
  addresses.add_pseudo_header(source, destination, number, 0);
  address_sum_ = addresses.folded();
}

void FrameTemplate::set_destination_mac(net::MacAddress mac) {
  std::ranges::transform(mac.bytes(), network_.begin(), [](std::uint8_t byte) { return std::byte{byte}; });
}

void FrameTemplate::set_marks(std::uint8_t hop_limit, std::uint8_t traffic_class) {
  const base::MutableBytes ip = base::MutableBytes{network_}.subspan(kEthernet);
  if (is_v4()) {
    ipv4_layout::TrafficClass::put(ip, traffic_class);
    ipv4_layout::Ttl::put(ip, hop_limit);
    ChecksumSum header;
    header.add(ip.first(Ipv4View::kMinHeader));
    ip_sum_ = header.folded();
  } else {
    ipv6_layout::VersionClassFlow::put(ip, 0x60000000U | (std::uint32_t{traffic_class} << 20U));
    ipv6_layout::HopLimit::put(ip, hop_limit);
  }
}

std::uint8_t FrameTemplate::traffic_class() const {
  const base::Bytes ip = base::Bytes{network_}.subspan(kEthernet);
  if (is_v4()) return ipv4_layout::TrafficClass::get(ip);
  return static_cast<std::uint8_t>(ipv6_layout::VersionClassFlow::get(ip) >> 20U);
}

std::uint16_t FrameTemplate::pseudo_sum(std::size_t l4_length) const {
  return add_sums(address_sum_, static_cast<std::uint32_t>(l4_length));
}

std::size_t FrameTemplate::put_network(HeaderBuffer out, std::size_t l4_length) const {
  CORDON_CHECK(l4_length <= max_fragmented_l4_length());
  std::memcpy(out.data(), network_.data(), network_length_);
  const base::MutableBytes ip = out.subspan(kEthernet);
  if (is_v4()) {
    const auto total = static_cast<std::uint16_t>(Ipv4View::kMinHeader + l4_length);
    ipv4_layout::TotalLength::put(ip, total);
    ipv4_layout::Checksum::put(ip, static_cast<std::uint16_t>(~add_sums(ip_sum_, total)));
  } else {
    ipv6_layout::PayloadLength::put(ip, static_cast<std::uint16_t>(l4_length));
  }
  return network_length_;
}

std::size_t FrameTemplate::put_network(HeaderBuffer out, std::size_t l4_length, std::uint8_t hop_limit,
                                       std::uint8_t traffic_class) const {
  const std::size_t length = put_network(out, l4_length);
  const base::MutableBytes ip = out.subspan(kEthernet);
  if (is_v4()) {
    ipv4_layout::TrafficClass::put(ip, traffic_class);
    ipv4_layout::Ttl::put(ip, hop_limit);
    ipv4_layout::Checksum::put(ip, 0);
    ipv4_layout::Checksum::put(ip, checksum(ip.first(Ipv4View::kMinHeader)));
  } else {
    ipv6_layout::VersionClassFlow::put(ip, 0x60000000U | (std::uint32_t{traffic_class} << 20U));
    ipv6_layout::HopLimit::put(ip, hop_limit);
  }
  return length;
}

BuiltHeaders build_tcp(const FrameTemplate& flow, const TcpFields& fields, std::span<const iovec> payload,
                       ChecksumMode mode, HeaderBuffer out) {
  std::array<std::byte, 40> options{};
  const std::size_t option_length = put_options(fields, options);
  const std::size_t header = TcpView::kMinHeader + option_length;
  const std::size_t l4_length = header + total_length(payload);
  const std::size_t start = flow.put_network(out, l4_length);
  const base::MutableBytes tcp = out.subspan(start, header);
  tcp_layout::SourcePort::put(tcp, flow.source_port().number());
  tcp_layout::DestinationPort::put(tcp, flow.destination_port().number());
  tcp_layout::Seq::put(tcp, fields.seq.raw());
  tcp_layout::Ack::put(tcp, fields.ack.raw());
  tcp_layout::DataOffset::put(tcp, static_cast<std::uint8_t>(header / 4 << 4U));
  tcp_layout::Flags::put(tcp, fields.flags.bits());
  tcp_layout::Window::put(tcp, fields.window);
  tcp_layout::Checksum::put(tcp, 0);
  tcp_layout::Urgent::put(tcp, 0);
  std::memcpy(tcp.data() + TcpView::kMinHeader, options.data(), option_length);
  const std::uint16_t pseudo = flow.pseudo_sum(l4_length);
  tcp_layout::Checksum::put(tcp, mode == ChecksumMode::kPartial ? pseudo : l4_checksum(pseudo, tcp, payload));
  return {static_cast<std::uint16_t>(start + header), static_cast<std::uint16_t>(start),
          tcp_layout::Checksum::kOffset};
}

BuiltHeaders build_udp(const FrameTemplate& flow, std::span<const iovec> payload, ChecksumMode mode,
                       HeaderBuffer out) {
  const std::size_t l4_length = UdpView::kHeader + total_length(payload);
  const std::size_t start = flow.put_network(out, l4_length);
  const base::MutableBytes udp = out.subspan(start, UdpView::kHeader);
  udp_layout::SourcePort::put(udp, flow.source_port().number());
  udp_layout::DestinationPort::put(udp, flow.destination_port().number());
  udp_layout::Length::put(udp, static_cast<std::uint16_t>(l4_length));
  udp_layout::Checksum::put(udp, 0);
  const std::uint16_t pseudo = flow.pseudo_sum(l4_length);
  if (mode == ChecksumMode::kPartial) {
    udp_layout::Checksum::put(udp, pseudo);
  } else {
    const std::uint16_t sum = l4_checksum(pseudo, udp, payload);
    udp_layout::Checksum::put(udp, sum == 0 ? 0xffff : sum);  // RFC 768: zero means "none"
  }
  return {static_cast<std::uint16_t>(start + UdpView::kHeader), static_cast<std::uint16_t>(start),
          udp_layout::Checksum::kOffset};
}

BuiltHeaders build_icmp(const FrameTemplate& flow, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                        std::span<const iovec> payload, HeaderBuffer out) {
  const std::size_t l4_length = IcmpView::kHeader + total_length(payload);
  const std::size_t start = flow.put_network(out, l4_length);
  const base::MutableBytes icmp = out.subspan(start, IcmpView::kHeader);
  icmp_layout::Type::put(icmp, type);
  icmp_layout::Code::put(icmp, code);
  icmp_layout::Checksum::put(icmp, 0);
  icmp_layout::Rest::put(icmp, rest);
  const std::uint16_t pseudo = flow.protocol() == IpProtocol::kIcmpv6 ? flow.pseudo_sum(l4_length) : 0;
  icmp_layout::Checksum::put(icmp, l4_checksum(pseudo, icmp, payload));
  return {static_cast<std::uint16_t>(start + IcmpView::kHeader), static_cast<std::uint16_t>(start),
          icmp_layout::Checksum::kOffset};
}

}  // namespace cordon::wire
