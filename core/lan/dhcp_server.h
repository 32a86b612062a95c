// The DHCPv4 server of the guest's link (RFC 2131, 2132; rapid commit RFC 4039; client identifier RFC 6842).
//
// Theory of operation. There is one guest, one lease, and it comes from the plan, so the server has no state:
// the answer to a message is a function of the message. A client in any state is told the plan's first
// address; one that insists on another address gets a NAK and starts over. RELEASE and DECLINE change
// nothing. The lease is bound to the guest's MAC: `chaddr` must be the MAC the frame came from. Messages that
// came by a relay, or were meant for another server, get no answer.
//
// What is sent: mask, router, DNS, domain, host name, MTU, broadcast address, search list and classless
// routes go out when the parameter request list asks for them (all but the routes when there is no list);
// identifiers and times always. An option that does not fit the client's maximum size is left out as a whole.
#pragma once

#include "core/lan/addresses.h"
#include "core/lan/answer.h"
#include "core/wire/dhcp.h"
#include "core/wire/option_writer.h"
#include "core/wire/packet.h"

namespace cordon::lan {

class DhcpServer {
 public:
  // `config.v4` is set.
  explicit DhcpServer(const LanConfig& config);

  // `payload`: of the UDP datagram from port 68 to port 67 that `packet` carries.
  Answer on_message(const wire::Packet& packet, base::Bytes payload, ReplyBuffer out) const;

 private:
  struct Reply;
  [[nodiscard]] Answer answer_request(const wire::DhcpView& request, ReplyBuffer out) const;
  [[nodiscard]] Answer answer_inform(const wire::Packet& packet, const wire::DhcpView& request,
                                     ReplyBuffer out) const;
  [[nodiscard]] Answer send(const wire::DhcpView& request, const Reply& reply, ReplyBuffer out) const;
  void put_settings(const wire::DhcpView& request, wire::OptionWriter& options) const;
  void put_names(const wire::DhcpView& request, wire::OptionWriter& options) const;
  void put_fqdn(const wire::DhcpView& request, wire::OptionWriter& options) const;
  void put_routes(wire::OptionWriter& options) const;
  [[nodiscard]] net::Ipv4Address lease() const { return config_.v4->guest.v4(); }
  [[nodiscard]] net::Ipv4Address server() const { return config_.v4->gateway.v4(); }

  const LanConfig& config_;
};

}  // namespace cordon::lan
