// rtnetlink bytes to values. Pure; unknown attributes are skipped, a message that cannot be understood yields
// nothing.
#pragma once

#include <optional>

#include "netlink/event.h"
#include "netlink/fib.h"
#include "netlink/socket.h"

namespace cordon::netlink {

// RTM_NEW/DEL of LINK, ADDR, ROUTE; nullopt for everything else (and for cloned cache routes).
[[nodiscard]] std::optional<Event> parse_event(const Message& message);
// The RTM_NEWROUTE that answers an RTM_GETROUTE.
[[nodiscard]] std::optional<FibAnswer> parse_fib_answer(const Message& message);
// NLMSG_ERROR's errno (positive; 0: an acknowledgement); nullopt when it is not one.
[[nodiscard]] std::optional<int> parse_error(const Message& message);

}  // namespace cordon::netlink
