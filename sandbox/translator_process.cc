#include "sandbox/translator_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <system_error>
#include <vector>

#include "core/base/fd.h"
#include "core/link/tap_offloads.h"
#include "core/plane/shapers.h"
#include "sandbox/control.h"
#include "sandbox/descriptors.h"
#include "sandbox/stages.h"
#include "sandbox/translator_lane.h"
#include "sandbox/translator_lanes.h"
#include "sandbox/translator_threads.h"

namespace cordon::sandbox {
namespace {

static_assert(plane::kCounters <= message::kCounterCount);
static_assert(plane::Limits{}.flows + 64 <= 20'000,
              "one descriptor per flow must fit an ordinary hard limit");

// A worker's part of the guest's limits. The hash deals flows out unevenly and the broker counts them all, so
// a table has room for twice the average.
plane::Limits share_of(plane::Limits limits, unsigned workers) {
  if (workers == 1) return limits;
  for (std::uint32_t* flows : {&limits.flows, &limits.udp_flows, &limits.icmp_flows})
    *flows = std::max(1U, std::min(*flows, *flows * 2 / workers));
  limits.ring_bytes /= workers;
  limits.stash_bytes /= workers;
  return limits;
}

base::Result<base::SipKey> random_key() {
  base::SipKey key;
  if (::getrandom(&key, sizeof key, 0) != static_cast<ssize_t>(sizeof key))
    return base::fail_errno("getrandom");
  return key;
}

base::Result<base::Fd> open_end_signal() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  base::Fd fd{::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)};
  if (!fd) return base::fail_errno("signalfd");
  return fd;
}

// Returns only when something fails before the lockdown.
base::Result<void> serve(const TranslatorConfig& config) {
  CORDON_TRY(begin_role(Role::kTranslator));
  const unsigned workers = count_workers();
  const bool bulk_queues = ::fcntl(worker_fds(0).bulk, F_GETFD) >= 0;
  plane::WorkerConfig worker_config = config.worker;
  worker_config.key = CORDON_TRY(random_key());
  worker_config.limits = share_of(config.worker.limits, workers);
  const base::Fd end_signal = CORDON_TRY(open_end_signal());
  lan::GuestMac guest_mac;
  if (config.learn_guest_mac) {
    worker_config.lan.guest_mac = {};
    worker_config.guest_mac = &guest_mac;
  }
  link::Capabilities offloads;
  if (config.link == LinkKind::kTap)
    offloads = CORDON_TRY(link::set_tap_offloads(control::kSecondFd, config.wanted));

  std::optional<VhostPort> vhost;
  if (config.link == LinkKind::kVhostUser) vhost.emplace(workers);

  plane::ShaperBank shapers;
  if (workers > 1) worker_config.shapers = &shapers;
  std::optional<plane::WorkerGroup> group;
  if (workers > 1) group.emplace(worker_config.key, workers);
  std::vector<std::unique_ptr<Lane>> lanes;
  for (unsigned i = 0; i < workers; ++i) {
    // One worker speaks for the link without being asked.
    worker_config.lan.services.unsolicited =
        config.worker.lan.services.unsolicited && i == plane::Owners::kLinkOwner;
    lanes.push_back(
        std::make_unique<Lane>(LaneSetup{config, worker_config, offloads, group ? &*group : nullptr, i,
                                         bulk_queues, vhost ? &*vhost : nullptr}));
  }
  Lane& first = *lanes.front();
  EndSource end;
  first.worker().add_poll_source(end_signal.get(), end);
  if (config.learn_guest_mac) first.worker().want_guest();
  if (vhost)
    CORDON_TRY(vhost->begin(
        base::Fd{control::kSecondFd},
        {.front_end = config.vhost_front_end,
         .pairs = workers,
         .mac = config.learn_guest_mac ? std::nullopt : std::optional{config.worker.lan.guest_mac},
         .mtu = static_cast<std::uint16_t>(config.worker.lan.mtu)},
        first.worker()));

  LaneThreads threads;
  constexpr unsigned kMaxOffers = 1024;  // InboundOptions: sockets that are not flows yet
  LockOptions lock{.max_fds = config.worker.limits.flows + kMaxOffers + 64 * workers + (vhost ? 64 : 0),
                   .print_report = config.verbose,
                   .strict = config.strict,
                   .maps_memory = vhost.has_value(),
                   .start_threads = {},
                   .max_output = config.capture ? link::kMostCaptured : 0};
  if (workers > 1) {
    CORDON_TRY(threads.open());
    lock.start_threads = [&](const std::function<base::Result<void>()>& lock_thread) {
      return threads.start(std::span{lanes}.subspan(1), lock_thread);
    };
  }
  CORDON_TRY(lock_translator(lock));
  run_lanes({.first = first, .threads = threads, .end = end, .vhost = vhost ? &*vhost : nullptr});
}

}  // namespace

int run_translator(const TranslatorConfig& config) {
  try {
    const auto served = serve(config);
    std::fprintf(stderr, "cordon: translator: %s\n", base::describe(served.error()).c_str());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "cordon: translator: not enough address space for its tables (RLIMIT_AS?)\n");
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "cordon: translator: %s\n", error.what());
  }
  return 1;
}

}  // namespace cordon::sandbox
