#include "core/plane/ingress.h"

#include <array>

#include "core/lan/neighbour_query.h"
#include "core/wire/arp.h"
#include "core/wire/udp.h"

namespace cordon::plane {
namespace {

// What the guest's kernel says about a frame must agree with the frame. The checksum and GSO fields are used
// later as offsets and sizes, so contradictions end here.
bool offload_agrees(const link::Offload& offload, const wire::Packet& packet) {
  const bool tcp = packet.protocol == wire::IpProtocol::kTcp;
  const bool udp = packet.protocol == wire::IpProtocol::kUdp;
  if (offload.needs_checksum) {
    if (offload.checksum_start != packet.l4_offset || packet.is_fragment) return false;
    if (tcp && offload.checksum_offset != 16) return false;
    if (udp && offload.checksum_offset != 6) return false;
    if (std::size_t{offload.checksum_offset} + 2 > packet.l4.size()) return false;
  }
  switch (offload.gso) {
    case link::Gso::kNone: return true;
    case link::Gso::kTcp4: return tcp && packet.source.is_v4();
    case link::Gso::kTcp6: return tcp && packet.source.is_v6();
    case link::Gso::kUdp: return udp;
  }
  return false;
}

// 0 when it cannot be read; for reports only.
flow::Tuple describe(const wire::Packet& packet) {
  flow::Tuple tuple;
  tuple.guest.address = packet.source;
  tuple.remote.address = packet.destination;
  const bool udp = packet.protocol == wire::IpProtocol::kUdp;
  if (packet.protocol == wire::IpProtocol::kTcp || udp) {
    tuple.protocol = udp ? flow::Protocol::kUdp : flow::Protocol::kTcp;
    if (packet.l4.size() >= 4 && packet.fragment_offset == 0) {
      tuple.guest.port = net::Port{base::load_be<std::uint16_t>(packet.l4.subspan<0, 2>())};
      tuple.remote.port = net::Port{base::load_be<std::uint16_t>(packet.l4.subspan<2, 2>())};
    }
  } else {
    tuple.protocol = flow::Protocol::kIcmpEcho;
  }
  return tuple;
}

// The subnet's own broadcast address; RFC 3021: a /31 has none.
bool is_directed_broadcast(const std::optional<lan::LanAddresses>& lan, const net::IpAddress& address) {
  if (!lan || address.is_v6() || lan->on_link.length() > 30 || !lan->on_link.contains(address)) return false;
  const std::uint32_t host_bits = UINT32_MAX >> lan->on_link.length();
  return (base::load_be<std::uint32_t>(std::as_bytes(address.bytes()).first<4>()) & host_bits) == host_bits;
}

// RFC 3376 (IGMP); RFC 2710 and 3810 (MLD).
bool is_group_membership(const wire::Packet& packet) {
  constexpr wire::IpProtocol kIgmp{2};
  if (packet.source.is_v4()) return packet.protocol == kIgmp;
  if (packet.protocol != wire::IpProtocol::kIcmpv6 || packet.l4.empty()) return false;
  const auto type = std::to_integer<std::uint8_t>(packet.l4[0]);
  return (type >= 130 && type <= 132) || type == 143;
}

// A message of the link itself that claims somebody else's address.
flow::Tuple claim(const net::IpAddress& address) {
  flow::Tuple tuple{.protocol = flow::Protocol::kIcmpEcho, .guest = {address, {}}, .remote = {}};
  if (address.is_v6()) tuple.remote.address = net::IpAddress{net::Ipv6Address{}};
  return tuple;
}

bool is_limited_broadcast(const net::IpAddress& address) {
  return address.is_v4() && address == net::IpAddress(net::Ipv4Address(255, 255, 255, 255));
}

}  // namespace

void Ingress::on_frame(const link::Frame& frame) {
  context_.counters.add(Counter::kFramesFromGuest);
  if (const auto outcome = judge(frame)) context_.counters.add(*outcome);
}

std::optional<Counter> Ingress::judge(const link::Frame& frame) {
  const auto ethernet = wire::EthernetView::parse(frame.bytes);
  if (!ethernet) return Counter::kDropMalformed;
  // Whatever it carries: what is not the guest's MAC is refused below.
  if (!context_.knows_guest()) learn_guest(ethernet->source());
  const wire::EtherType type = ethernet->type();
  if (type == wire::EtherType::kArp) return on_arp(*ethernet);
  if (type != wire::EtherType::kIpv4 && type != wire::EtherType::kIpv6) return Counter::kDropEtherType;
  const bool vouched = frame.offload.needs_checksum || frame.offload.checksum_valid;
  if (frame.tail.size != 0) return judge_start(*ethernet, frame, vouched);
  const auto packet = wire::parse_packet(
      ethernet->payload(), type, vouched ? wire::ChecksumPolicy::kSkipL4 : wire::ChecksumPolicy::kVerifyL4);
  if (!packet) return Counter::kDropMalformed;
  return on_packet(*ethernet, *packet, frame.offload);
}

// TCP's payload may stay where it is until the kernel copies it; everything else is put together first. So
// is what may have to be quoted in an ICMP error.
std::optional<Counter> Ingress::judge_start(const wire::EthernetView& ethernet, link::Frame frame,
                                            bool vouched) {
  if (vouched) {
    const auto packet =
        wire::parse_tcp_start(ethernet.payload(), ethernet.type(), frame.tail.pieces, frame.tail.size);
    if (packet && packet->hop_limit > 1) return on_packet(ethernet, *packet, frame.offload);
  }
  link::complete(frame);
  return context_.link.intact() ? judge(frame) : Counter::kDropMalformed;
}

std::optional<Counter> Ingress::on_packet(const wire::EthernetView& ethernet, const wire::Packet& packet,
                                          const link::Offload& offload) {
  const auto outcome = sort(ethernet, packet, offload);
  // Spoofs are reported where it is known who is claimed to be the sender.
  const auto why = outcome ? denial_of(*outcome) : std::nullopt;
  if (!why || *why == flow::PacketDenial::kSource) return outcome;
  const bool foreign = *why == flow::PacketDenial::kProtocol;
  report_packet({.why = *why,
                 .source_mac = ethernet.source(),
                 .tuple = describe(packet),
                 .ip_protocol = foreign ? static_cast<std::uint8_t>(packet.protocol) : std::uint8_t{0}});
  return outcome;
}

std::optional<Counter> Ingress::sort(const wire::EthernetView& ethernet, const wire::Packet& packet,
                                     const link::Offload& offload) {
  if (!offload_agrees(offload, packet)) return Counter::kDropOffload;
  if (sources_.check(context_.config.lan, ethernet.source(), packet, context_.now) !=
      lan::SourceCheck::kAssigned) {
    report_packet({.source_mac = ethernet.source(), .tuple = describe(packet)});
    return Counter::kDropSpoofed;
  }
  if (lan::is_neighbour_discovery(packet)) {
    std::array<std::byte, lan::kMaxReply> reply;
    const auto answer = responder_.on_ndp(ethernet.source(), packet, context_.now, reply);
    return on_answer(ethernet.source(), answer, reply);
  }
  if (!lan::is_for_us(context_.config.lan, ethernet.destination())) return Counter::kDropLocal;
  if (lan::is_server_port(packet)) {
    std::array<std::byte, lan::kMaxReply> reply;
    if (const auto answer = responder_.on_server(packet, context_.now, reply))
      return on_answer(ethernet.source(), *answer, reply);
  }
  if (const auto reason = no_single_destination(ethernet, packet)) return reason;
  if (packet.is_fragment) return on_fragment(ethernet, packet);
  if (packet.hop_limit <= 1 && !lan::is_local(context_.config.lan, packet.destination)) {
    context_.send_error(packet, {icmp::ErrorKind::kTimeExceeded});
    return Counter::kDropHopLimit;
  }

  flow::Tuple tuple{.guest = {packet.source, {}}, .remote = {packet.destination, {}}};
  if (packet.protocol == wire::IpProtocol::kTcp) {
    const auto view = wire::TcpView::parse(packet.l4);
    if (!view) return Counter::kDropMalformed;
    tuple.protocol = flow::Protocol::kTcp;
    tuple.guest.port = view->source_port();
    tuple.remote.port = view->destination_port();
    return tcp_.on_segment(tuple, packet);
  }
  if (packet.protocol == wire::IpProtocol::kUdp) {
    const auto view = wire::UdpView::parse(packet.l4);
    if (!view) return Counter::kDropMalformed;
    tuple.protocol = flow::Protocol::kUdp;
    tuple.guest.port = view->source_port();
    tuple.remote.port = view->destination_port();
    return datagrams_.on_udp(tuple, packet, view->payload(),
                             offload.gso == link::Gso::kUdp ? offload.gso_size : std::uint16_t{0});
  }
  if (packet.protocol == wire::IpProtocol::kIcmp || packet.protocol == wire::IpProtocol::kIcmpv6)
    return on_icmp(packet);
  // RFC 1122 section 3.2.2.1, RFC 4443 section 3.4: the guest learns that this protocol leads nowhere.
  if (packet.protocol != wire::IpProtocol::kNoNextHeader)
    context_.send_error(packet, {icmp::ErrorKind::kProtocolUnreachable});
  return Counter::kDropProtocol;
}

// Groups are not forwarded, and RFC 1122 section 3.2.2 forbids an error about them.
std::optional<Counter> Ingress::no_single_destination(const wire::EthernetView& ethernet,
                                                      const wire::Packet& packet) const {
  if (is_group_membership(packet)) return Counter::kIgnoredGroups;
  if (net::is_multicast(packet.destination)) return Counter::kDropMulticast;
  // Nobody's address: for IPv4 an old form of the broadcast (RFC 1122 section 3.3.6), and nothing can be
  // answered in its name.
  if (net::is_unspecified(packet.destination) || is_limited_broadcast(packet.destination) ||
      is_directed_broadcast(context_.config.lan.v4, packet.destination))
    return Counter::kDropBroadcast;
  // A single destination in a frame for everybody (RFC 1122 section 3.3.6).
  if (ethernet.destination().is_group()) return Counter::kDropBroadcast;
  if (net::is_unspecified(packet.source)) return Counter::kDropLocal;
  return std::nullopt;
}

std::optional<Counter> Ingress::on_fragment(const wire::EthernetView& ethernet,
                                            const wire::Packet& fragment) {
  const auto result = reassembler_.add(fragment, context_.now);
  if (result.outcome == wire::FragmentOutcome::kHeld) return Counter::kFragmentHeld;
  // Neighbour discovery is never fragmented (RFC 6980).
  if (!result.packet || lan::is_neighbour_discovery(*result.packet)) return Counter::kDropFragment;
  // The owner of the flow counts the datagram as a frame of its own.
  if (context_.link.pass_on(ethernet.header(), result.packet->ip)) return Counter::kFragmentHeld;
  wire::Packet whole = *result.packet;
  whole.dont_fragment = false;                     // its sender fragmented it
  const auto outcome = sort(ethernet, whole, {});  // its caller reports
  // The whole lies in the reassembler's buffer, which the next fragment may reuse: nothing may stay gathered.
  datagrams_.end_batch();
  tcp_.end_batch();
  return outcome;
}

Counter Ingress::on_arp(const wire::EthernetView& ethernet) {
  if (!lan::is_guest_mac(context_.config.lan, ethernet.source())) {
    const auto arp = wire::ArpView::parse(ethernet.payload());
    report_packet({.source_mac = ethernet.source(),
                   .tuple = claim(arp ? net::IpAddress{arp->sender_ip()} : net::IpAddress{})});
    return Counter::kDropSpoofed;
  }
  std::array<std::byte, lan::kMaxReply> reply;
  return on_answer(ethernet.source(), responder_.on_arp(ethernet, context_.now, reply), reply);
}

Counter Ingress::on_answer(net::MacAddress source, const lan::Answer& answer, lan::ReplyBuffer reply) {
  switch (answer.outcome) {
    case lan::Outcome::kReply:
      context_.send_frame(reply.first(answer.length));
      return Counter::kAnsweredLocally;
    case lan::Outcome::kMalformed: return Counter::kDropLanBroken;
    case lan::Outcome::kForeignSender:
    case lan::Outcome::kRouterMessage:
      if (answer.claimed) report_packet({.source_mac = source, .tuple = claim(*answer.claimed)});
      return Counter::kDropSpoofed;
    case lan::Outcome::kRelayed: return Counter::kDropLanRelayed;
    case lan::Outcome::kRateLimited: return Counter::kDropLanRate;
    case lan::Outcome::kNotForUs:
    case lan::Outcome::kNothingToSay: return Counter::kDropLocal;
  }
  return Counter::kDropLocal;
}

Counter Ingress::on_icmp(const wire::Packet& packet) {
  const auto echo = icmp::parse_echo(packet);
  if (!echo)
    return echo.error() == wire::ParseError::kIcmpNotEcho ? on_guest_error(packet) : Counter::kDropMalformed;
  if (!echo->request) return Counter::kDropProtocol;
  if (lan::is_local(context_.config.lan, packet.destination)) return answer_echo(packet, *echo);
  return datagrams_.on_echo(packet, *echo);
}

Counter Ingress::on_guest_error(const wire::Packet& packet) {
  const auto error = icmp::parse_guest_error(packet);
  if (!error) return Counter::kDropProtocol;
  const auto slot = context_.table.find(error->tuple);
  if (!slot || !context_.open(*slot) || !guest_errors_.take(context_.now)) return Counter::kDropProtocol;
  if (error->tuple.protocol == flow::Protocol::kTcp)
    tcp_.on_guest_error(*slot, *error);
  else
    datagrams_.on_guest_error(*slot, *error);
  return Counter::kGuestErrors;
}

// The gateway answers a ping itself: nothing leaves.
Counter Ingress::answer_echo(const wire::Packet& packet, const icmp::Echo& echo) {
  const net::Family family = packet.source.family();
  const auto frame = context_.frame_template(icmp::echo_tuple(packet, echo), icmp::echo_protocol(family));
  if (echo.payload.size() + 8 > frame.max_l4_length()) return Counter::kDropMalformed;
  datagrams_.send_echo_reply(frame, context_.config.lan.mtu, echo.identifier, echo);
  return Counter::kAnsweredLocally;
}

void Ingress::report_packet(const flow::PacketReport& report) {
  if (!context_.packet_reports.at(static_cast<std::size_t>(report.why)).take(context_.now)) return;
  context_.counters.add(Counter::kPacketReports);
  context_.gate.report_packet(report);
}

void Ingress::on_timer() {
  if (context_.now < next_deadline()) return;
  std::array<std::byte, lan::kMaxReply> frame;
  if (const std::size_t length = responder_.on_timer(context_.now, frame); length != 0)
    context_.send_frame(std::span(frame).first(length));
}

void Ingress::learn_guest(net::MacAddress source) {
  if (context_.config.guest_mac == nullptr) return;
  if (const auto mac = context_.config.guest_mac->learn(source, context_.config.lan.our_mac))
    know_guest(*mac);
}

void Ingress::know_guest(net::MacAddress mac) {
  context_.config.lan.guest_mac = mac;
  context_.guest_wanted = false;
  responder_.set_guest_mac(mac);
  tcp_.on_guest_known();
  datagrams_.on_guest_known();
}

void Ingress::seek_guest() {
  if (context_.config.guest_mac == nullptr) return;
  if (const auto mac = context_.config.guest_mac->known()) return know_guest(*mac);
  if (!context_.guest_wanted || !queries_.take(context_.now)) return;
  context_.guest_wanted = false;
  for (const auto family : {net::Family::kIpv4, net::Family::kIpv6}) {
    std::array<std::byte, lan::kMaxReply> frame;
    const std::size_t length = lan::put_neighbour_query(context_.config.lan, family, frame);
    if (length != 0) context_.send_frame(std::span(frame).first(length));
  }
}

// The key's hash, not the key: what it seeds can be watched from outside.
std::uint64_t Ingress::seed_of(const base::SipKey& key) { return base::siphash24(key, {}); }

}  // namespace cordon::plane
