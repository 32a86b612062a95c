// Reads the kernel's tables by dump requests: links, addresses, the routes of all tables. The monitor folds
// what it reads into its state; read_network() keeps it as it is, for a snapshot.
#pragma once

#include <functional>
#include <vector>

#include "core/base/error.h"
#include "netlink/event.h"
#include "netlink/route_socket.h"

namespace cordon::netlink {

// Links, then addresses, then routes: what comes first explains what follows.
[[nodiscard]] std::vector<Request> dump_requests();
// One dump to its end. True: it is consistent; false: it must be repeated.
[[nodiscard]] base::Result<bool> dump_once(RouteSocket& socket, Request& request,
                                           const std::function<void(const nlmsghdr&)>& visit);

// Everything about a network namespace that a destination's class and route are derived from.
struct Network {
  std::vector<Link> links;
  std::vector<Address> addresses;
  std::vector<Route> routes;
  // Policy routing rules besides those every kernel starts with: the tables alone then do not say which of
  // them is asked.
  std::size_t more_rules_ipv4 = 0;
  std::size_t more_rules_ipv6 = 0;
  friend bool operator==(const Network&, const Network&) = default;
};
// As it was in one instant: read again while the kernel announces changes.
[[nodiscard]] base::Result<Network> read_network();

}  // namespace cordon::netlink
