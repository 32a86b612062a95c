#include "netlink/dump.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <optional>

#include "netlink/parse.h"

namespace cordon::netlink {
namespace {

constexpr int kAttempts = 8;
constexpr int kLateAnnouncements = 4096;
constexpr std::array<int, 7> kGroups = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                        RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
                                        RTNLGRP_IPV6_RULE};

Request rules_request(unsigned char family) {
  fib_rule_hdr header{};
  header.family = family;
  return Request{RTM_GETRULE, NLM_F_DUMP, header};
}

void keep(const nlmsghdr& message, Network& into) {
  if (const auto rule = parse_rule(message)) {
    if (!rule->own) ++(rule->family == net::Family::kIpv4 ? into.more_rules_ipv4 : into.more_rules_ipv6);
    return;
  }
  const auto event = parse_event(message);
  if (!event) return;
  if (const auto* link = std::get_if<Change<Link>>(&*event)) into.links.push_back(link->value);
  if (const auto* address = std::get_if<Change<Address>>(&*event)) into.addresses.push_back(address->value);
  if (const auto* route = std::get_if<Change<Route>>(&*event)) into.routes.push_back(route->value);
}

// nullopt: the kernel's tables changed under way.
base::Result<std::optional<Network>> read_once(RouteSocket& socket) {
  Network network;
  std::vector<Request> requests = dump_requests();
  requests.push_back(rules_request(AF_INET));
  requests.push_back(rules_request(AF_INET6));
  for (Request& request : requests)
    if (!CORDON_TRY(dump_once(socket, request, [&](const nlmsghdr& message) { keep(message, network); })))
      return std::nullopt;
  return network;
}

// True: nothing was announced since the last call.
bool is_quiet(RouteSocket& announcements) {
  for (int i = 0; i < kLateAnnouncements; ++i) {
    const auto result = announcements.receive([](const nlmsghdr&) {});
    if (result == ReceiveResult::kEmpty) return i == 0;
    if (result == ReceiveResult::kFailed) return false;
  }
  return false;
}

}  // namespace

std::vector<Request> dump_requests() {
  const auto routes = [](unsigned char family) {
    rtmsg message{};
    message.rtm_family = family;
    return Request{RTM_GETROUTE, NLM_F_DUMP, message};
  };
  std::vector<Request> requests;
  requests.emplace_back(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  requests.front().number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  requests.emplace_back(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{});
  requests.push_back(routes(AF_INET));
  requests.push_back(routes(AF_INET6));
  return requests;
}

base::Result<bool> dump_once(RouteSocket& socket, Request& request,
                             const std::function<void(const nlmsghdr&)>& visit) {
  const auto sequence = CORDON_TRY(socket.send(request));
  bool done = false;
  bool interrupted = false;
  int error = 0;
  while (!done) {
    const auto result = socket.receive([&](const nlmsghdr& message) {
      if (message.nlmsg_seq != sequence) return;
      interrupted |= (message.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (message.nlmsg_type == NLMSG_DONE) {
        done = true;
      } else if (const auto failed = parse_error(message)) {
        error = *failed;
        done = true;
      } else {
        visit(message);
      }
    });
    if (result != ReceiveResult::kMessages) return base::fail("netlink dump", "interrupted");
  }
  // EOPNOTSUPP, EAFNOSUPPORT: a kernel without IPv6, or without policy routing, has nothing to tell.
  if (error != 0 && error != EOPNOTSUPP && error != EAFNOSUPPORT)
    return std::unexpected(base::Error{"netlink dump", error, {}});
  return !interrupted;
}

base::Result<Network> read_network() {
  auto announcements = CORDON_TRY(RouteSocket::open(kGroups));
  auto dumps = CORDON_TRY(RouteSocket::open());
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto network = CORDON_TRY(read_once(dumps));
    if (is_quiet(announcements) && network) return std::move(*network);
  }
  return base::fail("netlink dump", "the network changes faster than it can be read");
}

}  // namespace cordon::netlink
