#include "sandbox/translator_process.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <optional>

#include "core/base/fd.h"
#include "core/link/fault_link.h"
#include "core/link/tap_link.h"
#include "core/link/tap_offloads.h"
#include "sandbox/channel.h"
#include "sandbox/control.h"
#include "sandbox/descriptors.h"
#include "sandbox/stages.h"

namespace cordon::sandbox {
namespace {

static_assert(plane::kCounters <= message::kCounterCount);
static_assert(plane::Limits{}.flows + 64 <= 20'000,
              "one descriptor per flow must fit an ordinary hard limit");

// The channel inside the worker's loop.
class ChannelSource final : public plane::PollHandler {
 public:
  ChannelSource(ChannelGate& gate, plane::Worker& worker) : gate_(gate), worker_(worker) {}
  void on_ready(std::uint32_t events, base::Instant) override {
    if (gate_.dispatch(worker_, (events & EPOLLOUT) != 0) == ChannelGate::Status::kClosed) closed_ = true;
  }
  // Output is watched only while the channel is full.
  void adjust() {
    if (gate_.wants_write() == watching_output_) return;
    watching_output_ = !watching_output_;
    worker_.want_output(gate_.poll_fd(), watching_output_);
  }
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  ChannelGate& gate_;
  plane::Worker& worker_;
  bool watching_output_ = false;
  bool closed_ = false;
};

// SIGTERM from the launcher: an orderly end.
class EndSource final : public plane::PollHandler {
 public:
  void on_ready(std::uint32_t, base::Instant) override { asked_ = true; }
  [[nodiscard]] bool asked() const { return asked_; }

 private:
  bool asked_ = false;
};

// Totals go to the broker at most once a second and only when they moved, so an idle translator sleeps.
class CounterReporter {
 public:
  CounterReporter(ChannelGate& gate, const plane::Worker& worker) : gate_(gate), worker_(worker) {}

  // How long the next turn may wait.
  base::Duration tick(base::Instant now) {
    constexpr base::Duration kInterval = std::chrono::seconds{1};
    constexpr base::Duration kForever = std::chrono::hours{1};
    if (!moved()) return kForever;
    if (now < next_) return next_ - now;
    next_ = now + kInterval;
    send();
    return moved() ? kInterval : kForever;
  }
  void send() {
    CounterValues values{};
    std::ranges::copy(worker_.counters().values(), values.begin());
    if (gate_.send_counters(values)) sent_ = worker_.counters().values();
  }
  [[nodiscard]] bool moved() const { return sent_ != worker_.counters().values(); }

 private:
  ChannelGate& gate_;
  const plane::Worker& worker_;
  std::array<std::uint64_t, plane::kCounters> sent_{};
  base::Instant next_;
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
  plane::WorkerConfig worker_config = config.worker;
  worker_config.key = CORDON_TRY(random_key());
  const base::Fd end_signal = CORDON_TRY(open_end_signal());
  const auto offloads = CORDON_TRY(link::set_tap_offloads(control::kSecondFd, config.wanted));
  link::TapLink tap{base::Fd{control::kSecondFd}, offloads};
  std::optional<link::FaultLink> faulty;
  if (config.faults) faulty.emplace(tap, *config.faults);
  link::Link& link = faulty ? static_cast<link::Link&>(*faulty) : tap;
  ChannelGate gate{base::Fd{control::kControlFd}};
  plane::Worker worker{worker_config, link, gate};
  ChannelSource channel{gate, worker};
  EndSource end;
  CounterReporter counters{gate, worker};
  worker.add_poll_source(gate.poll_fd(), channel);
  worker.add_poll_source(end_signal.get(), end);
  CORDON_TRY(lock_translator(
      {.max_fds = worker_config.limits.flows + 64, .print_report = config.verbose, .strict = config.strict}));
  tell_ready();

  while (!channel.closed() && !end.asked() && !tap.dead()) {
    worker.run_once(counters.tick(base::monotonic_now()));
    channel.adjust();
  }
  if (counters.moved()) counters.send();
  ::_exit(0);
}

}  // namespace

int run_translator(const TranslatorConfig& config) {
  try {
    const auto served = serve(config);
    std::fprintf(stderr, "cordon: translator: %s\n", base::describe(served.error()).c_str());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "cordon: translator: not enough address space for its tables (RLIMIT_AS?)\n");
  }
  return 1;
}

}  // namespace cordon::sandbox
