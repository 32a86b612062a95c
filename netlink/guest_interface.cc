#include "netlink/guest_interface.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <optional>

#include "core/net/prefix.h"
#include "netlink/parse.h"
#include "netlink/route_socket.h"

namespace cordon::netlink {
namespace {

unsigned char family_of(const net::IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

constexpr std::uint16_t kChange = NLM_F_ACK;
constexpr std::uint16_t kAdd = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

// One request and its acknowledgement.
base::Result<void> perform(RouteSocket& socket, Request& request, std::string_view op,
                           const std::string& object) {
  const std::uint32_t sequence = CORDON_TRY(socket.send(request));
  std::optional<int> result;
  // The kernel has queued its answer by the time the request is sent, and nothing else is subscribed.
  for (int packets = 0; packets < 16 && !result; ++packets) {
    const auto received = socket.receive([&](const nlmsghdr& message) {
      if (message.nlmsg_seq == sequence && !result) result = parse_error(message);
    });
    if (received != ReceiveResult::kMessages) break;
  }
  if (!result) return base::fail(op, object + ": no answer from the kernel");
  if (*result != 0) return std::unexpected(base::Error{op, *result, object});
  return {};
}

base::Result<void> bring_up(RouteSocket& socket, unsigned index, const std::string& name) {
  ifinfomsg message{};
  message.ifi_index = static_cast<int>(index);
  message.ifi_flags = IFF_UP;
  message.ifi_change = IFF_UP;
  Request request{RTM_NEWLINK, kChange, message};
  return perform(socket, request, "bring up interface", name);
}

base::Result<unsigned> index_of(const std::string& name) {
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) return base::fail_errno("find interface", name);
  return index;
}

base::Result<void> set_up_link(RouteSocket& socket, const GuestInterface& interface, unsigned index) {
  ifinfomsg change{};
  change.ifi_index = static_cast<int>(index);
  Request shape{RTM_NEWLINK, kChange, change};
  shape.attribute(IFLA_ADDRESS, interface.mac.bytes())
      .number(IFLA_MTU, interface.mtu)
      .number(IFLA_TXQLEN, interface.transmit_queue);
  CORDON_TRY(perform(socket, shape, "configure interface", interface.name));
  return bring_up(socket, index, interface.name);
}

base::Result<void> add_address(RouteSocket& socket, unsigned index, const InterfaceAddress& own) {
  ifaddrmsg message{};
  message.ifa_family = family_of(own.address);
  message.ifa_prefixlen = static_cast<unsigned char>(own.prefix_length);
  // Without this an IPv6 address is tentative for a second and the command's first connection fails.
  message.ifa_flags = own.address.is_v6() ? IFA_F_NODAD : 0;
  message.ifa_index = index;
  Request request{RTM_NEWADDR, kAdd, message};
  request.address(IFA_LOCAL, own.address).address(IFA_ADDRESS, own.address);
  return perform(socket, request, "add address",
                 net::to_string(own.address) + "/" + std::to_string(own.prefix_length));
}

base::Result<void> add_default_route(RouteSocket& socket, unsigned index, const net::IpAddress& gateway,
                                     bool in_subnet) {
  rtmsg message{};
  message.rtm_family = family_of(gateway);
  message.rtm_table = RT_TABLE_MAIN;
  message.rtm_protocol = RTPROT_BOOT;
  message.rtm_scope = RT_SCOPE_UNIVERSE;
  message.rtm_type = RTN_UNICAST;
  message.rtm_flags = in_subnet ? 0 : RTNH_F_ONLINK;
  Request request{RTM_NEWROUTE, kAdd, message};
  request.address(RTA_GATEWAY, gateway).number(RTA_OIF, index);
  auto added = perform(socket, request, "add default route", net::to_string(gateway));
  if (!added && added.error().sys_errno == EEXIST)
    return base::fail("add default route", net::to_string(gateway) +
                                               ": the namespace has one already; remove that first, or leave "
                                               "the family out with --no-ipv4 or --no-ipv6");
  return added;
}

base::Result<void> add_neighbour(RouteSocket& socket, unsigned index, const net::IpAddress& address,
                                 net::MacAddress mac) {
  ndmsg message{};
  message.ndm_family = family_of(address);
  message.ndm_ifindex = static_cast<int>(index);
  message.ndm_state = NUD_PERMANENT;
  Request request{RTM_NEWNEIGH, kAdd, message};
  request.address(NDA_DST, address).attribute(NDA_LLADDR, mac.bytes());
  return perform(socket, request, "add neighbour", net::to_string(address));
}

}  // namespace

base::Result<void> move_to_namespace(const std::string& name, int network_namespace) {
  RouteSocket socket = CORDON_TRY(RouteSocket::open());
  ifinfomsg message{};
  message.ifi_index = static_cast<int>(CORDON_TRY(index_of(name)));
  Request request{RTM_NEWLINK, kChange, message};
  request.number(IFLA_NET_NS_FD, static_cast<std::uint32_t>(network_namespace));
  return perform(socket, request, "move interface", name);
}

base::Result<void> configure(const GuestInterface& interface) {
  RouteSocket socket = CORDON_TRY(RouteSocket::open());
  const unsigned loopback = CORDON_TRY(index_of("lo"));
  CORDON_TRY(bring_up(socket, loopback, "lo"));
  const unsigned index = CORDON_TRY(index_of(interface.name));
  CORDON_TRY(set_up_link(socket, interface, index));
  for (const auto& address : interface.addresses) CORDON_TRY(add_address(socket, index, address));
  for (const auto& neighbour : interface.neighbours)
    CORDON_TRY(add_neighbour(socket, index, neighbour, interface.neighbour_mac));
  for (const auto& gateway : interface.gateways) {
    const bool in_subnet = std::ranges::any_of(interface.addresses, [&](const InterfaceAddress& own) {
      return net::Prefix::containing(own.address, own.prefix_length).contains(gateway);
    });
    CORDON_TRY(add_default_route(socket, index, gateway, in_subnet || net::is_link_local(gateway)));
  }
  return {};
}

}  // namespace cordon::netlink
