#include "core/wire/describe.h"

#include <string_view>

#include "core/net/endpoint.h"
#include "core/wire/arp.h"
#include "core/wire/ethernet.h"
#include "core/wire/icmp.h"
#include "core/wire/ndp.h"
#include "core/wire/packet.h"
#include "core/wire/tcp.h"
#include "core/wire/udp.h"

namespace cordon::wire {
namespace {

std::string number(std::string_view label, std::uint64_t value) {
  return " " + std::string{label} + " " + std::to_string(value);
}

std::string refused(ParseError error) { return "refused: " + std::string{name(error)}; }

std::string ends(const Packet& packet, net::Port source, net::Port destination) {
  return to_string(net::Endpoint{packet.source, source}) + " > " +
         to_string(net::Endpoint{packet.destination, destination});
}

std::string addresses(const Packet& packet) {
  return to_string(packet.source) + " > " + to_string(packet.destination);
}

std::string flag_letters(TcpFlags flags) {
  std::string out;
  const auto put = [&out](bool set, char letter) {
    if (set) out += letter;
  };
  put(flags.fin, 'F');
  put(flags.syn, 'S');
  put(flags.rst, 'R');
  put(flags.psh, 'P');
  put(flags.ack, 'A');
  put(flags.urg, 'U');
  put(flags.ece, 'E');
  put(flags.cwr, 'C');
  return out.empty() ? "-" : out;
}

std::string tcp_line(const Packet& packet) {
  const auto tcp = TcpView::parse(packet.l4);
  if (!tcp) return addresses(packet) + " tcp " + refused(tcp.error());
  std::string out = ends(packet, tcp->source_port(), tcp->destination_port()) + " tcp " +
                    flag_letters(tcp->flags()) + number("seq", tcp->seq().raw()) +
                    number("ack", tcp->ack().raw()) + number("win", tcp->window()) +
                    number("len", tcp->payload().size());
  const auto options = parse_tcp_options(tcp->options(), tcp->flags().syn);
  if (!options) return out + " options " + refused(options.error());
  if (options->mss) out += number("mss", *options->mss);
  if (options->window_scale) out += number("wscale", *options->window_scale);
  if (options->sack_permitted) out += " sackOK";
  if (options->sack_count != 0) out += number("sack", options->sack_count);
  return out;
}

std::string udp_line(const Packet& packet) {
  const auto udp = UdpView::parse(packet.l4);
  if (!udp) return addresses(packet) + " udp " + refused(udp.error());
  return ends(packet, udp->source_port(), udp->destination_port()) + " udp" +
         number("len", udp->payload().size());
}

std::string icmp_line(const Packet& packet) {
  const std::string head = addresses(packet) + (packet.protocol == IpProtocol::kIcmp ? " icmp" : " icmp6");
  const auto icmp = IcmpView::parse(packet.l4);
  if (!icmp) return head + " " + refused(icmp.error());
  std::string out = head + number("type", icmp->type()) + number("code", icmp->code());
  const bool echo = packet.protocol == IpProtocol::kIcmp ? icmp->type() == 8 || icmp->type() == 0
                                                         : icmp->type() == 128 || icmp->type() == 129;
  if (echo) out += number("id", icmp->identifier()) + number("seq", icmp->sequence());
  if (const auto ndp = NdpView::parse(packet); ndp) {
    out += " ndp target " + to_string(ndp->target());
  } else if (packet.protocol == IpProtocol::kIcmpv6 && icmp->type() >= 133 && icmp->type() <= 137) {
    out += " ndp " + refused(ndp.error());
  }
  return out + number("len", icmp->payload().size());
}

std::string ip_line(const EthernetView& frame) {
  const auto packet = parse_packet(frame.payload(), frame.type(), ChecksumPolicy::kSkipL4);
  if (!packet) return "ip " + refused(packet.error());
  if (packet->is_fragment)
    return addresses(*packet) + " fragment" + number("of", packet->fragment_id) +
           number("at", packet->fragment_offset) + number("len", packet->l4.size()) +
           (packet->more_fragments ? "+" : "");
  std::string out;
  switch (packet->protocol) {
    case IpProtocol::kTcp: out = tcp_line(*packet); break;
    case IpProtocol::kUdp: out = udp_line(*packet); break;
    case IpProtocol::kIcmp:
    case IpProtocol::kIcmpv6: out = icmp_line(*packet); break;
    case IpProtocol::kHopByHop:
    case IpProtocol::kRouting:
    case IpProtocol::kFragment:
    case IpProtocol::kNoNextHeader:
    case IpProtocol::kDestinationOptions:
    default:
      out = addresses(*packet) + number("protocol", static_cast<std::uint8_t>(packet->protocol)) +
            number("len", packet->l4.size());
  }
  if (const auto ok = verify_l4_checksum(*packet); !ok) out += " (" + std::string{name(ok.error())} + ")";
  return out;
}

}  // namespace

std::string describe(base::Bytes frame) {
  const auto ethernet = EthernetView::parse(frame);
  if (!ethernet) return refused(ethernet.error());
  switch (ethernet->type()) {
    case EtherType::kIpv4:
    case EtherType::kIpv6: return ip_line(*ethernet);
    case EtherType::kArp: {
      const auto arp = ArpView::parse(ethernet->payload());
      if (!arp) return "arp " + refused(arp.error());
      return std::string{"arp "} + (arp->operation() == ArpOperation::kRequest ? "who-has " : "reply ") +
             to_string(arp->target_ip()) + " tell " + to_string(arp->sender_ip()) + " " +
             to_string(arp->sender_mac());
    }
  }
  return "ethertype " + std::to_string(static_cast<unsigned>(ethernet->type()));
}

}  // namespace cordon::wire
