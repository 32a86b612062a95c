#include "netlink/default_interface.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <functional>
#include <limits>

#include "core/net/prefix.h"
#include "netlink/parse.h"
#include "netlink/route_socket.h"

namespace cordon::netlink {
namespace {

constexpr int kPackets = 4096;  // of a dump; a machine with more routes than fit is refused

base::Result<void> dump(RouteSocket& socket, Request& request,
                        const std::function<void(const nlmsghdr&)>& visit) {
  const auto sequence = CORDON_TRY(socket.send(request));
  for (int i = 0; i < kPackets; ++i) {
    bool done = false;
    int error = 0;
    const auto result = socket.receive([&](const nlmsghdr& message) {
      if (message.nlmsg_seq != sequence) return;
      if (message.nlmsg_type == NLMSG_DONE)
        done = true;
      else if (const auto failed = parse_error(message))
        done = true, error = *failed;
      else
        visit(message);
    });
    if (result != ReceiveResult::kMessages) return base::fail("netlink dump", "interrupted");
    if (error != 0) return std::unexpected(base::Error{"netlink dump", error, {}});
    if (done) return {};
  }
  return base::fail("netlink dump", "too long");
}

unsigned char number_of(net::Family family) { return family == net::Family::kIpv4 ? AF_INET : AF_INET6; }

struct DefaultRoute {
  std::uint32_t interface = 0;
  std::optional<net::IpAddress> gateway;
  std::uint32_t metric = std::numeric_limits<std::uint32_t>::max();
};

base::Result<std::optional<DefaultRoute>> best_default(RouteSocket& socket, net::Family family,
                                                       std::uint32_t only) {
  rtmsg want{};
  want.rtm_family = number_of(family);
  Request request{RTM_GETROUTE, NLM_F_DUMP, want};
  std::optional<DefaultRoute> best;
  CORDON_TRY(dump(socket, request, [&](const nlmsghdr& message) {
    const auto event = parse_event(message);
    const auto* change = event ? std::get_if<Change<Route>>(&*event) : nullptr;
    if (change == nullptr) return;
    const Route& route = change->value;
    if (route.destination.length() != 0 || route.destination.family() != family ||
        route.type != RouteType::kUnicast || route.table != RT_TABLE_MAIN || route.interface == 0 ||
        (only != 0 && route.interface != only))
      return;
    DefaultRoute found{route.interface, route.gateway, 0};
    constexpr int kFixed = sizeof(rtmsg);
    if (const nlattr* metric =
            ::nla_find(::nlmsg_attrdata(&message, kFixed), ::nlmsg_attrlen(&message, kFixed), RTA_PRIORITY);
        metric != nullptr && ::nla_len(metric) >= 4)
      found.metric = ::nla_get_u32(metric);
    if (!best || found.metric < best->metric) best = found;
  }));
  return best;
}

// Of several addresses: the one in the gateway's subnet, then one with a subnet at all, then the first.
int fitness(const DefaultInterface& candidate) {
  const auto subnet = net::Prefix::containing(candidate.address, candidate.prefix_length);
  const bool beside_gateway = candidate.gateway && subnet.contains(*candidate.gateway);
  return beside_gateway ? 2 : candidate.prefix_length < candidate.address.bit_count() ? 1 : 0;
}

}  // namespace

base::Result<std::optional<DefaultInterface>> find_default_interface(net::Family family, std::uint32_t only) {
  RouteSocket socket = CORDON_TRY(RouteSocket::open());
  auto route = CORDON_TRY(best_default(socket, family, only));
  if (!route && only != 0) route = DefaultRoute{.interface = only, .gateway = {}};
  if (!route) return std::nullopt;
  ifaddrmsg want{};
  want.ifa_family = number_of(family);
  Request request{RTM_GETADDR, NLM_F_DUMP, want};
  std::optional<DefaultInterface> found;
  CORDON_TRY(dump(socket, request, [&](const nlmsghdr& message) {
    const auto event = parse_event(message);
    const auto* change = event ? std::get_if<Change<Address>>(&*event) : nullptr;
    if (change == nullptr) return;
    const Address& own = change->value;
    const auto* header = static_cast<const ifaddrmsg*>(::nlmsg_data(&message));
    // IFA_F_TEMPORARY and IFA_F_SECONDARY are one bit.
    constexpr unsigned kNotNow = IFA_F_SECONDARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED;
    if (own.interface != route->interface || own.address.family() != family ||
        header->ifa_scope != RT_SCOPE_UNIVERSE || (header->ifa_flags & kNotNow) != 0)
      return;
    const DefaultInterface candidate{own.interface, own.address, own.prefix_length, route->gateway};
    if (!found || fitness(candidate) > fitness(*found)) found = candidate;
  }));
  return found;
}

}  // namespace cordon::netlink
