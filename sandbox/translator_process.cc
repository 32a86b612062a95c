#include "sandbox/translator_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

#include "core/base/fd.h"
#include "core/link/tap_offloads.h"
#include "core/plane/shapers.h"
#include "sandbox/control.h"
#include "sandbox/descriptors.h"
#include "sandbox/stages.h"
#include "sandbox/translator_lane.h"

namespace cordon::sandbox {
namespace {

static_assert(plane::kCounters <= message::kCounterCount);
static_assert(plane::Limits{}.flows + 64 <= 20'000,
              "one descriptor per flow must fit an ordinary hard limit");

// SIGTERM from the launcher: an orderly end.
class EndSource final : public plane::PollHandler {
 public:
  void on_ready(std::uint32_t, base::Instant) override { asked_ = true; }
  [[nodiscard]] bool asked() const { return asked_; }

 private:
  bool asked_ = false;
};

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

// The threads of all lanes but the first. After the lockdown there is no futex: they wait in read() of an
// eventfd, and none of them ever ends, because an ending thread calls what the filter forbids.
class LaneThreads {
 public:
  base::Result<void> open() {
    begin_ = base::Fd{::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)};
    locked_ = base::Fd{::eventfd(0, EFD_CLOEXEC)};
    if (!begin_ || !locked_) return base::fail_errno("eventfd");
    return {};
  }
  base::Result<void> start(std::span<const std::unique_ptr<Lane>> lanes,
                           const std::function<base::Result<void>()>& lock_thread) {
    for (const auto& lane : lanes) {
      running_.fetch_add(1);
      try {
        std::thread{[this, &lane, &lock_thread] { live(*lane, lock_thread); }}.detach();
      } catch (const std::system_error& error) {
        return std::unexpected(base::Error{"start a thread", error.code().value(), "RLIMIT_NPROC?"});
      }
    }
    for (std::uint64_t count = 0, seen = 0; seen < lanes.size(); seen += count)
      if (::read(locked_.get(), &count, sizeof count) != sizeof count)
        return base::fail_errno("read", "eventfd");
    if (!all_locked_) return base::fail("seccomp", "a thread could not be locked");
    return {};
  }
  void begin() {
    const std::uint64_t all = running_;
    static_cast<void>(!::write(begin_.get(), &all, sizeof all));
  }
  [[nodiscard]] bool running() const { return running_ != 0; }

 private:
  void live(Lane& lane, const std::function<base::Result<void>()>& lock_thread) {
    if (!lock_thread()) all_locked_ = false;
    std::uint64_t one = 1;
    static_cast<void>(!::write(locked_.get(), &one, sizeof one));
    static_cast<void>(!::read(begin_.get(), &one, sizeof one));
    while (lane.turn()) {
    }
    lane.finish();
    running_.fetch_sub(1);
    for (;;) static_cast<void>(!::read(begin_.get(), &one, sizeof one));
  }

  base::Fd begin_;
  base::Fd locked_;
  std::atomic<std::uint64_t> running_{0};
  std::atomic<bool> all_locked_{true};
};

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

// Never returns to a destructor: giving memory back needs system calls the filter forbids, and the kernel is
// quicker.
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
  if (workers > 1) threads.begin();
  tell_ready();

  while (first.turn() && !end.asked() && (!vhost || vhost->open())) {
  }
  first.finish();
  // By the clock: a tap that is gone is an event at once, each time.
  const base::Instant patience = base::monotonic_now() + std::chrono::milliseconds{50};
  while (threads.running() && base::monotonic_now() < patience)
    first.worker().run_once(std::chrono::milliseconds{1});
  const std::string violation = vhost ? vhost->violation() : first.guest_link().violation();
  if (!violation.empty())
    std::fprintf(stderr, "cordon: translator: the guest's link: %s\n", violation.c_str());
  ::_exit(violation.empty() ? 0 : kBrokenLink);
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
