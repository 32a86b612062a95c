// Any bytes as the guest's frame: every parser, describe(), the LAN responder and the ICMP error builder must
// end within bounds, and what they build must parse.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "core/icmp/echo.h"
#include "core/icmp/errors.h"
#include "core/icmp/guest_error.h"
#include "core/lan/responder.h"
#include "core/wire/checksum.h"
#include "core/wire/describe.h"
#include "core/wire/ethernet.h"
#include "core/wire/ipv4.h"
#include "core/wire/ndp.h"
#include "core/wire/packet.h"
#include "core/wire/reassembly.h"
#include "core/wire/tcp.h"
#include "core/wire/udp.h"

namespace {

using namespace cordon;

// Unlike assert(), always on.
void require(bool holds) {
  if (!holds) std::abort();
}

constexpr net::MacAddress kOurMac{{0x02, 0, 0, 0, 0, 1}};

lan::LanConfig make_config(net::MacAddress guest_mac) {
  lan::LanConfig config;
  config.guest_mac = guest_mac;  // whoever sends: the inner checks are what is fuzzed
  config.our_mac = kOurMac;
  config.v4 = lan::LanAddresses{net::Ipv4Address{10, 0, 2, 15},
                                net::Prefix::containing(net::Ipv4Address{10, 0, 2, 0}, 24),
                                net::Ipv4Address{10, 0, 2, 2}, net::Ipv4Address{10, 0, 2, 3}};
  const auto v6 = [](std::uint8_t last) {
    return net::Ipv6Address{{0xfd, 0, 0, 0xc0, 0, 0x2d, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}};
  };
  config.v6 = lan::LanAddresses{v6(0x15), net::Prefix::containing(v6(0), 64), v6(2), v6(3)};
  config.our_link_local = net::Ipv6Address{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
  return config;
}

// A span lies inside the frame.
void require_inside(base::Bytes outer, base::Bytes inner) {
  require(inner.empty() ||
          (inner.data() >= outer.data() && inner.data() + inner.size() <= outer.data() + outer.size()));
}

// What we say to the guest must itself be a clean frame.
void require_clean(base::Bytes frame) {
  const auto ethernet = wire::EthernetView::parse(frame);
  require(ethernet.has_value() && ethernet->source() == kOurMac);
  if (ethernet->type() == wire::EtherType::kArp) return;
  require(
      wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kVerifyL4).has_value());
}

void try_l4(const wire::Packet& packet) {
  if (const auto tcp = wire::TcpView::parse(packet.l4); tcp) {
    require_inside(packet.l4, tcp->payload());
    for (const bool syn : {true, false}) {
      const auto options = wire::parse_tcp_options(tcp->options(), syn);
      require(!options || (options->sack_count <= wire::TcpOptions::kMaxSackBlocks &&
                           options->window_scale.value_or(0) <= 14));
    }
  }
  if (const auto udp = wire::UdpView::parse(packet.l4); udp) require_inside(packet.l4, udp->payload());
  if (const auto echo = icmp::parse_echo(packet); echo) {
    require_inside(packet.l4, echo->payload);
    static_cast<void>(icmp::echo_tuple(packet, *echo));
  }
  static_cast<void>(icmp::parse_guest_error(packet));
  static_cast<void>(icmp::parse_host_echo(packet.source.family(), packet.l4));
  static_cast<void>(wire::NdpView::parse(packet));
}

void try_errors(const wire::Packet& packet) {
  std::array<std::byte, icmp::kMaxErrorFrame> out{};
  const bool v4 = packet.source.is_v4();
  const lan::LanConfig config = make_config({});
  const icmp::ErrorPath path{kOurMac, config.guest_mac, v4 ? config.v4->gateway : config.v6->gateway};
  for (unsigned kind = 0; kind <= static_cast<unsigned>(icmp::ErrorKind::kTimeExceeded); ++kind) {
    const icmp::ErrorReport report{static_cast<icmp::ErrorKind>(kind), 1400};
    if (const auto length = icmp::build_error(path, report, packet, out); length) {
      require(*length <= (v4 ? 14 + 576 : 14 + 1280));
      require_clean(base::Bytes{out}.first(*length));
    }
    const flow::Tuple tuple{
        flow::Protocol::kUdp, {packet.source, net::Port{1}}, {packet.destination, net::Port{2}}};
    const auto claimed = static_cast<std::uint32_t>(packet.ip.size());
    if (const auto length = icmp::build_flow_error(path, report, tuple, packet.l4, claimed, out); length)
      require_clean(base::Bytes{out}.first(*length));
  }
}

// The fragment, then the rest of its datagram as a benign guest would send it: all zeros.
void try_fragments(const wire::Packet& fragment) {
  if (!fragment.is_fragment) return;
  wire::Reassembler reassembler(1);
  wire::Packet other = fragment;
  static constexpr std::array<std::byte, 64> kZeros{};
  for (const bool first : {false, true}) {
    const auto result = reassembler.add(other, {});
    if (result.packet) {
      require(!result.packet->is_fragment && result.packet->source == fragment.source);
      try_l4(*result.packet);
      try_errors(*result.packet);
    }
    if (first || fragment.fragment_offset == 0) return;
    other.fragment_offset = 0;
    other.more_fragments = true;
    other.l4 = base::Bytes{kZeros}.first(std::min<std::size_t>(fragment.fragment_offset, kZeros.size()));
  }
}

void try_ip(const wire::EthernetView& frame, lan::Responder& responder) {
  const auto packet = wire::parse_packet(frame.payload(), frame.type(), wire::ChecksumPolicy::kSkipL4);
  if (!packet) {
    require(wire::name(packet.error()) != "unknown");
    return;
  }
  require_inside(frame.payload(), packet->ip);
  require_inside(packet->ip, packet->l4);
  require(wire::EthernetView::kHeader + packet->ip.size() == packet->l4_offset + packet->l4.size());
  static_cast<void>(wire::verify_l4_checksum(*packet));
  static_cast<void>(lan::check_source(make_config(frame.source()), frame.source(), *packet));
  try_l4(*packet);
  try_errors(*packet);
  try_fragments(*packet);
  if (!lan::is_neighbour_discovery(*packet)) return;
  std::array<std::byte, lan::kMaxReply> out{};
  const auto answer = responder.on_ndp(frame.source(), *packet, {}, out);
  if (answer.outcome == lan::Outcome::kReply) require_clean(base::Bytes{out}.first(answer.length));
}

void try_frame(base::Bytes bytes) {
  require(!wire::describe(bytes).empty());
  const auto frame = wire::EthernetView::parse(bytes);
  if (!frame) return;
  lan::Responder responder(make_config(frame->source()));
  if (frame->type() != wire::EtherType::kArp) return try_ip(*frame, responder);
  std::array<std::byte, lan::kMaxReply> out{};
  const auto answer = responder.on_arp(*frame, {}, out);
  if (answer.outcome == lan::Outcome::kReply) require_clean(base::Bytes{out}.first(answer.length));
}

// A mutated IPv4 header nearly never has a right checksum, and would hide everything behind it.
bool repair_checksum(std::vector<std::byte>& frame) {
  const auto view = wire::EthernetView::parse(frame);
  if (!view || view->type() != wire::EtherType::kIpv4 || view->payload().size() < wire::Ipv4View::kMinHeader)
    return false;
  const base::MutableBytes ip = base::MutableBytes{frame}.subspan(wire::EthernetView::kHeader);
  const std::size_t header = (wire::ipv4_layout::VersionAndLength::get(ip) & 0x0fU) * std::size_t{4};
  if (header < wire::Ipv4View::kMinHeader || header > ip.size()) return false;
  wire::ipv4_layout::Checksum::put(ip, 0);
  wire::ipv4_layout::Checksum::put(ip, wire::checksum(ip.first(header)));
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::Bytes bytes = base::as_bytes(data, size);
  try_frame(bytes);
  std::vector<std::byte> repaired(bytes.begin(), bytes.end());
  if (repair_checksum(repaired)) try_frame(repaired);
  return 0;
}
