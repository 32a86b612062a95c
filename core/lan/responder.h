// Answers what a guest asks of its link: ARP, neighbour discovery, router solicitations, DHCP and DHCPv6.
//
// Pure: a frame's view and the time in, at most one reply frame in the caller's buffer. Its LanConfig is all
// it knows: replies go to the asking frame's source MAC, which the plane has already compared with the
// guest's. Replies are rationed by token buckets. ARP: RFC 826, probes RFC 5227. NDP: RFC 4861; duplicate
// address detection for one of our addresses is defended, one for the guest's own addresses gets no answer
// (RFC 4862 section 5.4.3). The servers have their theory in their own headers (dhcp_server.h,
// dhcpv6_server.h, router_advertiser.h).
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/time.h"
#include "core/base/token_bucket.h"
#include "core/lan/addresses.h"
#include "core/lan/answer.h"
#include "core/lan/dhcp_server.h"
#include "core/lan/dhcpv6_server.h"
#include "core/lan/router_advertiser.h"
#include "core/wire/ethernet.h"
#include "core/wire/packet.h"
#include "core/wire/udp.h"

namespace cordon::lan {

class Responder {
 public:
  // `seed`: any number; spreads the times of router advertisements.
  explicit Responder(const LanConfig& config, std::uint64_t seed = 0);
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  // It was not known before.
  void set_guest_mac(net::MacAddress mac) { config_.guest_mac = mac; }

  // An Ethernet frame of type ARP.
  Answer on_arp(const wire::EthernetView& frame, base::Instant now, ReplyBuffer out);
  // An IPv6 packet for which is_neighbour_discovery() holds; its ICMPv6 checksum is verified.
  Answer on_ndp(net::MacAddress source_mac, const wire::Packet& packet, base::Instant now, ReplyBuffer out);
  // A packet for which is_server_port() holds; nullopt: it is not for a server of ours and goes its way.
  std::optional<Answer> on_server(const wire::Packet& packet, base::Instant now, ReplyBuffer out);

  // Unasked advertisements: when on_timer() wants to be called, and the frame it has then (0: none).
  void start(base::Instant now) { advertiser_.start(now); }
  [[nodiscard]] base::Instant next_deadline() const { return advertiser_.next_deadline(); }
  std::size_t on_timer(base::Instant now, ReplyBuffer out) { return advertiser_.on_timer(now, out); }

 private:
  Answer on_solicitation(net::MacAddress source_mac, const wire::Packet& packet, net::Ipv6Address target,
                         base::Instant now, ReplyBuffer out);

  LanConfig config_;  // the servers refer to it
  std::optional<DhcpServer> dhcp_;
  std::optional<Dhcpv6Server> dhcpv6_;
  RouterAdvertiser advertiser_;
  base::TokenBucket replies_{1000, 200};
  base::TokenBucket leases_{20, 20};  // DHCP of both kinds
};

// ICMPv6 types 133 to 137 (RS, RA, NS, NA, redirect).
[[nodiscard]] bool is_neighbour_discovery(const wire::Packet& packet);

// UDP to port 67 or 547: perhaps for on_server(). Cheap, for every packet.
[[nodiscard]] bool is_server_port(const wire::Packet& packet);

}  // namespace cordon::lan
