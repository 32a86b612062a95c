// Ingress: the way of one frame of the guest from the link to the machine that handles it.
//
// Theory of operation. Order matters and is fixed: Ethernet; the guest's MAC, if it is learnt and this is the
// first frame; ARP to the LAN's responder; IP header; offload
// metadata against what was parsed; source check; neighbour discovery; DHCP and DHCPv6; destination;
// fragments (the whole datagram then starts again at the source check); hop limit (the gateway is hop 1);
// protocol. Each frame ends in exactly one outcome counter (counters.h).
#pragma once

#include <optional>

#include "core/lan/responder.h"
#include "core/lan/source_guard.h"
#include "core/plane/context.h"
#include "core/plane/datagram_driver.h"
#include "core/plane/tcp_driver.h"
#include "core/wire/reassembly.h"

namespace cordon::plane {

class Ingress {
 public:
  Ingress(Context& context, TcpDriver& tcp, DatagramDriver& datagrams)
      : context_(context),
        tcp_(tcp),
        datagrams_(datagrams),
        responder_(context.config.lan, seed_of(context.config.key)) {
    responder_.start(context.now);
  }

  void on_frame(const link::Frame& frame);
  // The link's own timer (router advertisements): when, and what to do then.
  [[nodiscard]] base::Instant next_deadline() const { return responder_.next_deadline(); }
  void on_timer();
  // Before each turn while the guest's MAC is not known: another worker may have learnt it, and who wants to
  // send to the guest has it asked for, at most once a second.
  void seek_guest();

 private:
  void learn_guest(net::MacAddress source);
  void know_guest(net::MacAddress mac);
  [[nodiscard]] std::optional<Counter> judge(const link::Frame& frame);
  [[nodiscard]] std::optional<Counter> judge_start(const wire::EthernetView& ethernet, link::Frame frame,
                                                   bool vouched);
  [[nodiscard]] Counter on_arp(const wire::EthernetView& ethernet);
  [[nodiscard]] Counter on_answer(net::MacAddress source, const lan::Answer& answer, lan::ReplyBuffer reply);
  [[nodiscard]] std::optional<Counter> on_packet(const wire::EthernetView& ethernet,
                                                 const wire::Packet& packet, const link::Offload& offload);
  [[nodiscard]] std::optional<Counter> sort(const wire::EthernetView& ethernet, const wire::Packet& packet,
                                            const link::Offload& offload);
  [[nodiscard]] std::optional<Counter> no_single_destination(const wire::EthernetView& ethernet,
                                                             const wire::Packet& packet) const;
  [[nodiscard]] std::optional<Counter> on_fragment(const wire::EthernetView& ethernet,
                                                   const wire::Packet& fragment);
  [[nodiscard]] Counter on_icmp(const wire::Packet& packet);
  [[nodiscard]] Counter on_guest_error(const wire::Packet& packet);
  [[nodiscard]] Counter answer_echo(const wire::Packet& packet, const icmp::Echo& echo);
  void report_packet(const flow::PacketReport& report);
  [[nodiscard]] static std::uint64_t seed_of(const base::SipKey& key);

  Context& context_;
  TcpDriver& tcp_;
  DatagramDriver& datagrams_;
  lan::Responder responder_;
  lan::SourceGuard sources_;
  wire::Reassembler reassembler_;
  base::TokenBucket queries_{1, 1};
  base::TokenBucket guest_errors_{10, 20};  // each may make a flow send again what it has in flight
};

}  // namespace cordon::plane
