#include "netlink/monitor.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>

#include "netlink/parse.h"

namespace cordon::netlink {
namespace {

constexpr std::array<int, 5> kGroups = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                        RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
constexpr int kDumpAttempts = 8;  // restarts of a dump that changed under way
constexpr int kDrainPackets = 4096;

}  // namespace

base::Result<Monitor> Monitor::open(base::Instant now) {
  Monitor monitor{CORDON_TRY(RouteSocket::open(kGroups)), CORDON_TRY(RouteSocket::open()),
                  CORDON_TRY(Fib::open())};
  CORDON_TRY(monitor.dump(now));
  return monitor;
}

// One dump request to its end. True: it is consistent; false: it must be repeated.
base::Result<bool> Monitor::dump_one(Request& request, base::Instant now) {
  const auto sequence = CORDON_TRY(dumps_.send(request));
  bool done = false;
  bool interrupted = false;
  int error = 0;
  while (!done) {
    const auto result = dumps_.receive([&](const nlmsghdr& message) {
      if (message.nlmsg_seq != sequence) return;
      interrupted |= (message.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (message.nlmsg_type == NLMSG_DONE) {
        done = true;
      } else if (const auto failed = parse_error(message)) {
        error = *failed;
        done = true;
      } else if (const auto event = parse_event(message)) {
        dump_effect_.add(state_.apply(*event, now));
      }
    });
    if (result != ReceiveResult::kMessages) return base::fail("netlink dump", "interrupted");
  }
  // EOPNOTSUPP, EAFNOSUPPORT: a kernel without IPv6 has nothing to tell.
  if (error != 0 && error != EOPNOTSUPP && error != EAFNOSUPPORT)
    return std::unexpected(base::Error{"netlink dump", error, {}});
  return !interrupted;
}

base::Result<void> Monitor::dump(base::Instant now) {
  const auto routes = [](unsigned char family) {
    rtmsg message{};
    message.rtm_family = family;
    return Request{RTM_GETROUTE, NLM_F_DUMP, message};
  };
  std::array<Request, 4> requests = {Request{RTM_GETLINK, NLM_F_DUMP, ifinfomsg{}},
                                     Request{RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{}}, routes(AF_INET),
                                     routes(AF_INET6)};
  requests[0].number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  stale_ = true;
  dump_effect_ = {};
  state_.begin_dump();
  for (Request& request : requests) {
    bool consistent = false;
    for (int attempt = 0; attempt < kDumpAttempts && !consistent; ++attempt)
      consistent = CORDON_TRY(dump_one(request, now));
    if (!consistent) return base::fail("netlink dump", "the network changes faster than it can be read");
  }
  dump_effect_.add(state_.end_dump(now));
  stale_ = false;
  return {};
}

DrainResult Monitor::drain(base::Instant now) {
  HostState::Effect effect;
  bool routes_moved = false;
  bool emptied = false;
  for (int i = 0; i < kDrainPackets && !emptied; ++i) {
    const auto result = events_.receive([&](const nlmsghdr& message) {
      if (const auto event = parse_event(message)) {
        routes_moved |= std::holds_alternative<Change<Route>>(*event);
        effect.add(state_.apply(*event, now));
      }
    });
    switch (result) {
      case ReceiveResult::kMessages: break;
      case ReceiveResult::kEmpty: emptied = true; break;
      case ReceiveResult::kOverrun:
        stale_ = true;
        ++overruns_;
        break;
      case ReceiveResult::kFailed:
        stale_ = true;
        emptied = true;
        break;
    }
  }
  if (!emptied) stale_ = true;  // a flood: what is still queued is unknown
  if (routes_moved || effect.changed) fib_.invalidate();
  if (!stale_ && !effect.needs_dump)
    return effect.changed || routes_moved ? DrainResult::kChanged : DrainResult::kUnchanged;

  fib_.invalidate();
  if (!dump(now)) return DrainResult::kStale;
  return DrainResult::kChanged;
}

}  // namespace cordon::netlink
