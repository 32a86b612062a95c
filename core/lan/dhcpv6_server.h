// The DHCPv6 server of the guest's link (RFC 8415; DNS RFC 3646, FQDN RFC 4704).
//
// Theory of operation. As in DHCPv4 there is one guest and the plan is the lease, so no state: each identity
// association for addresses (IA_NA) gets the plan's addresses one by one. An association that lists addresses
// of the plan keeps them, so that any number of associations renews in any order; the others take what is
// left, and NoAddrsAvail when nothing is. Temporary addresses and prefixes are never given. The client
// identifier is echoed, not compared: what binds a lease to the guest is the MAC, which every frame has to
// have. The server identifier is a DUID-LL of our MAC, the same after every restart.
//
// Confirm is answered for leased addresses only, although RFC 8415 18.3.3 asks about the link: an address of
// the right prefix that is not assigned would be dropped as spoofed. The Server Unicast option is never sent,
// and a message that comes by unicast is answered UseMulticast or not at all (section 18.4).
#pragma once

#include <array>

#include "core/lan/addresses.h"
#include "core/lan/answer.h"
#include "core/wire/dhcpv6.h"
#include "core/wire/option_writer.h"
#include "core/wire/packet.h"

namespace cordon::lan {

class Dhcpv6Server {
 public:
  // `config.v6` is set.
  explicit Dhcpv6Server(const LanConfig& config);

  // `payload`: of the UDP datagram from port 546 to port 547 that `packet` carries.
  Answer on_message(const wire::Packet& packet, base::Bytes payload, ReplyBuffer out) const;

 private:
  static constexpr std::size_t kDuidSize = 10;
  struct Lease;

  [[nodiscard]] Answer by_unicast(const wire::Packet& packet, const wire::Dhcpv6View& request,
                                  ReplyBuffer out) const;
  // False: no answer is due.
  [[nodiscard]] bool put_body(const wire::Dhcpv6View& request, wire::OptionWriter& out) const;
  [[nodiscard]] bool put_confirmation(const wire::Dhcpv6View& request, wire::OptionWriter& out) const;
  void put_release(const wire::Dhcpv6View& request, wire::OptionWriter& out) const;
  [[nodiscard]] std::optional<wire::Dhcpv6Status> put_addresses(
      const wire::Dhcpv6View& request, const wire::Dhcpv6View::Association& association, Lease& lease,
      wire::OptionWriter& out) const;
  void put_association(const wire::Dhcpv6View& request, const wire::Dhcpv6View::Association& association,
                       Lease& lease, wire::OptionWriter& out) const;
  void put_settings(const wire::Dhcpv6View& request, wire::OptionWriter& out) const;
  void put_identifiers(const wire::Dhcpv6View& request, wire::OptionWriter& out) const;
  [[nodiscard]] Answer finish(const wire::Packet& packet, std::size_t length, ReplyBuffer out) const;

  const LanConfig& config_;
  std::array<std::byte, kDuidSize> duid_{};
};

}  // namespace cordon::lan
