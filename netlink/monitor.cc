#include "netlink/monitor.h"

#include <linux/rtnetlink.h>

#include <array>

#include "netlink/dump.h"
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

base::Result<void> Monitor::dump(base::Instant now) {
  stale_ = true;
  dump_effect_ = {};
  state_.begin_dump();
  const auto fold = [&](const nlmsghdr& message) {
    if (const auto event = parse_event(message)) dump_effect_.add(state_.apply(*event, now));
  };
  for (Request& request : dump_requests()) {
    bool consistent = false;
    for (int attempt = 0; attempt < kDumpAttempts && !consistent; ++attempt)
      consistent = CORDON_TRY(dump_once(dumps_, request, fold));
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
