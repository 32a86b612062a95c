// rtnetlink messages to values. Pure; unknown attributes are skipped, a message that cannot be understood
// yields nothing. A message is read up to its nlmsg_len, which the caller has checked against what it
// received.
#pragma once

#include <linux/netlink.h>

#include <optional>

#include "netlink/event.h"
#include "netlink/fib.h"

namespace cordon::netlink {

// RTM_NEW/DEL of LINK, ADDR, ROUTE; nullopt for everything else (and for cloned cache routes).
[[nodiscard]] std::optional<Event> parse_event(const nlmsghdr& message);
// A policy routing rule (ip-rule(8)).
struct Rule {
  net::Family family = net::Family::kIpv4;
  bool own = false;  // one of those that every kernel starts with
};
[[nodiscard]] std::optional<Rule> parse_rule(const nlmsghdr& message);
// The RTM_NEWROUTE that answers an RTM_GETROUTE.
[[nodiscard]] std::optional<FibAnswer> parse_fib_answer(const nlmsghdr& message);
// NLMSG_ERROR's errno (positive; 0: an acknowledgement); nullopt when it is not one.
[[nodiscard]] std::optional<int> parse_error(const nlmsghdr& message);

}  // namespace cordon::netlink
