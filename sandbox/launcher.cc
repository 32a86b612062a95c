#include "sandbox/launcher.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <deque>
#include <optional>

#include "sandbox/children.h"
#include "sandbox/control.h"
#include "sandbox/descriptors.h"
#include "sandbox/diagnostics.h"
#include "sandbox/resolver_watch.h"
#include "sandbox/spawn.h"

namespace cordon::sandbox {
namespace {

// Exit statuses of a start that failed; the broker's own for a policy error is the same.
constexpr int kPolicyError = 2;
constexpr int kOwnFailure = 125;

void say(const std::string& line) { std::fprintf(stderr, "cordon: %s\n", line.c_str()); }

// SIGINT and friends as events. The mask is put back at the end: tests run a launcher in their own process.
class Signals {
 public:
  [[nodiscard]] base::Result<void> open() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD}) ::sigaddset(&set, signal);
    // Nor may a message nobody reads, or a record beyond a file size limit, end the guest: the write fails.
    sigset_t blocked = set;
    for (const int signal : {SIGPIPE, SIGXFSZ}) ::sigaddset(&blocked, signal);
    ::sigprocmask(SIG_BLOCK, &blocked, &before_);
    fd_ = base::Fd{::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)};
    if (!fd_) return base::fail_errno("signalfd");
    return {};
  }
  Signals() { ::sigemptyset(&before_); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    if (!fd_) return;
    // A write that failed has left its signal pending.
    sigset_t failures;
    ::sigemptyset(&failures);
    for (const int signal : {SIGPIPE, SIGXFSZ}) ::sigaddset(&failures, signal);
    const timespec now{};
    while (::sigtimedwait(&failures, nullptr, &now) > 0) {
    }
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  [[nodiscard]] int poll_fd() const { return fd_.get(); }
  [[nodiscard]] std::optional<signalfd_siginfo> next() {
    signalfd_siginfo info{};
    if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
    return info;
  }

 private:
  base::Fd fd_;
  sigset_t before_;
};

}  // namespace

class Launcher::Supervisor {
 public:
  Supervisor(const LauncherConfig& config, GuestStarter& guest) : config_(config), guest_(guest) {}
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor() { end_everything(); }

  base::Result<int> run() {
    CORDON_TRY(prepare());
    CORDON_TRY(start_broker());
    if (auto started = start_guest(); !started) {
      // Policy errors are the better answer when both failed.
      if (const auto refusal = broker_refusal()) return *refusal;
      return std::unexpected(std::move(started).error());
    }
    if (auto started = start_translator(); !started) {
      if (const auto refusal = broker_refusal()) return *refusal;
      return std::unexpected(std::move(started).error());
    }
    while (!result_) CORDON_TRY(turn());
    stop();
    return *result_;
  }

 private:
  // --- start
  base::Result<void> prepare() {
    begun_ = base::monotonic_now();
    CORDON_TRY(signals_.open());
    if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return base::fail_errno("prctl", "child subreaper");
    executable_ = base::Fd{::open(config_.executable.c_str(), O_PATH | O_CLOEXEC)};
    if (!executable_) return base::fail_errno("open", config_.executable);
    self_ = base::Fd{open_pidfd(::getpid())};
    if (!self_) return base::fail_errno("pidfd_open", "Linux 5.11 or newer is needed");
    epoll_ = base::Fd{::epoll_create1(EPOLL_CLOEXEC)};
    if (!epoll_) return base::fail_errno("epoll_create");
    watch(signals_.poll_fd());
    if (const auto watching = resolvers_.start(); !watching)
      say(base::describe(watching.error()));
    else
      watch(resolvers_.poll_fd());
    return {};
  }

  base::Result<void> start_broker() {
    auto pair = CORDON_TRY(make_packet_pair());
    base::Fd null;
    if (!config_.audit) null = base::Fd{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
    broker_ = CORDON_TRY(spawn_role({.role = Role::kBroker,
                                     .executable = executable_.get(),
                                     .arguments = config_.arguments,
                                     .control = pair.second.get(),
                                     .second = config_.audit ? config_.audit.get() : null.get(),
                                     .launcher = self_.get(),
                                     .diagnostics = STDERR_FILENO}));
    control_.emplace(std::move(pair.first));
    watch(control_->poll_fd());
    send_resolvers();
    trace("broker started");
    return {};
  }

  base::Result<void> start_guest() {
    auto started = CORDON_TRY(guest_.start());
    command_ = started.pid;
    tap_ = std::move(started.tap);
    trace("guest interface ready");
    return {};
  }

  base::Result<void> start_translator() {
    auto channel = CORDON_TRY(make_channel_pair());
    const base::Fd diagnostics = CORDON_TRY(diagnostics_.open());
    watch(diagnostics_.poll_fd());
    translator_ = CORDON_TRY(spawn_role({.role = Role::kTranslator,
                                         .executable = executable_.get(),
                                         .arguments = config_.arguments,
                                         .control = channel.translator.get(),
                                         .second = tap_.get(),
                                         .launcher = self_.get(),
                                         .diagnostics = diagnostics.get()}));
    if (control_->send_new_translator(channel.broker.get()) != SendStatus::kSent)
      return base::fail("translator", "the broker does not take its channel");
    trace("translator started");
    return {};
  }

  // The broker's own exit status, if it has ended (waits only for one that is closing its control socket).
  std::optional<int> broker_refusal() {
    if (broker_.running() && !is_alive(broker_.pidfd.get())) reap_children();
    return result_;
  }

  // --- loop
  void watch(int fd) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  base::Result<void> turn() {
    std::array<epoll_event, 8> events{};
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   milliseconds_to_deadline());
    if (count < 0 && errno != EINTR) return base::fail_errno("epoll_wait");
    for (int i = 0; i < count; ++i) CORDON_TRY(dispatch(events.at(static_cast<std::size_t>(i)).data.fd));
    if (revoke_ && base::monotonic_now() >= revoke_->deadline) {
      // The Begin's End may have come while we were not scheduled: look before killing.
      CORDON_TRY(read_control());
      if (revoke_ && base::monotonic_now() >= revoke_->deadline) {
        revoke_.reset();
        kill_translator("a revocation took more than 100 ms");
      }
    }
    return {};
  }

  int milliseconds_to_deadline() const {
    if (!revoke_) return -1;
    const auto left = revoke_->deadline - base::monotonic_now();
    if (left <= base::Duration::zero()) return 0;
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
  }

  base::Result<void> dispatch(int fd) {
    if (fd == signals_.poll_fd()) return read_signals();
    if (control_ && fd == control_->poll_fd()) return read_control();
    if (fd == resolvers_.poll_fd()) {
      if (resolvers_.changed()) send_resolvers();
      return {};
    }
    if (fd == diagnostics_.poll_fd() && !diagnostics_.relay()) diagnostics_.close();
    return {};
  }

  base::Result<void> read_signals() {
    while (const auto info = signals_.next()) {
      if (info->ssi_signo == SIGCHLD)
        reap_children();
      else
        forward(*info);
    }
    return {};
  }

  void forward(const signalfd_siginfo& info) {
    if (command_ <= 0) return;
    if (!ready_) {  // nobody else would act on it: the command has not begun, and its process blocks signals
      if (!result_) result_ = 128 + static_cast<int>(info.ssi_signo);
      return;
    }
    if (info.ssi_code == SI_KERNEL) {
      // The terminal's keys reach the command too, by its process group; a hangup tells the session's leader
      // alone.
      if (info.ssi_signo == SIGHUP) ::kill(command_, SIGHUP);
      return;
    }
    const bool again = asked_to_end_;
    asked_to_end_ = true;
    ::kill(command_, again ? SIGKILL : static_cast<int>(info.ssi_signo));
  }

  base::Result<void> read_control() {
    // Bounded; the socket is level-triggered.
    for (int i = 0; i < 64 && control_; ++i) {
      const auto message = control_->receive();
      if (!message) {
        // A broker that closes its end is about to be reaped; one that talks nonsense is ended.
        if (message.error() == ReceiveStop::kViolation && broker_.running()) ::kill(broker_.pid, SIGKILL);
        if (message.error() != ReceiveStop::kEmpty) control_.reset();
        return {};
      }
      if (std::holds_alternative<control::Ready>(*message)) CORDON_TRY(on_ready());
      if (const auto* begin = std::get_if<control::RevokeBegin>(&*message))
        revoke_ = Revocation{begin->serial, base::monotonic_now() + control::kRevokeLimit};
      if (const auto* end = std::get_if<control::RevokeEnd>(&*message); end && revoke_)
        if (end->serial == revoke_->serial) revoke_.reset();
      if (const auto* order = std::get_if<control::KillTranslator>(&*message))
        kill_translator("it broke the channel's protocol (" + std::string{to_string(order->reason)} + ")");
    }
    return {};
  }

  base::Result<void> on_ready() {
    if (ready_) return {};
    ready_ = true;
    trace("broker ready");
    return guest_.go();
  }

  // --- ends
  void reap_children() {
    // Every child at once: roles, the command, and orphans of the command that came to us.
    for (;;) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, WNOHANG);
      if (pid <= 0) break;
      if (pid == command_) {
        command_ = -1;
        if (!result_) result_ = exit_code(status);
      } else if (pid == broker_.pid) {
        broker_ = {};
        broker_status_ = status;
      } else if (pid == translator_.pid) {
        translator_ = {};
        translator_status_ = status;
      }
    }
    // In this order: a translator that follows its broker is not a translator that failed.
    if (broker_status_) on_broker_ended(*std::exchange(broker_status_, std::nullopt));
    if (translator_status_) on_translator_ended(*std::exchange(translator_status_, std::nullopt));
  }

  void on_broker_ended(int status) {
    revoke_.reset();
    control_.reset();
    broker_gone_ = true;
    if (translator_.running()) ::kill(translator_.pid, SIGKILL);
    if (result_) return;
    if (!ready_) {
      // It has said why, unless a signal ended it.
      if (WIFSIGNALED(status) || WEXITSTATUS(status) == 0)
        say("broker: " + describe_status(status) + " before it was ready");
      result_ = WIFEXITED(status) && WEXITSTATUS(status) == kPolicyError ? kPolicyError : kOwnFailure;
      return;
    }
    report(LauncherEvent::Kind::kBrokerDied,
           "broker: " + describe_status(status) + ": the command has no network any more",
           describe_status(status));
  }

  void on_translator_ended(int status) {
    static_cast<void>(diagnostics_.poll_fd() >= 0 && diagnostics_.relay());
    diagnostics_.close();
    revoke_.reset();
    const std::string detail =
        kill_reason_.empty() ? describe_status(status) : std::exchange(kill_reason_, {});
    if (result_ || broker_gone_ || !broker_.running() || !is_alive(broker_.pidfd.get())) return;
    const auto now = base::monotonic_now();
    while (!restarts_.empty() && now - restarts_.front() > kRestartWindow) restarts_.pop_front();
    if (restarts_.size() >= kRestartLimit) {
      report(LauncherEvent::Kind::kTranslatorGivenUp,
             "translator: " + detail + ": ended " + std::to_string(kRestartLimit + 1) +
                 " times in 10 s and is not started again; the command has no network any more",
             detail);
      return;
    }
    restarts_.push_back(now);
    report(LauncherEvent::Kind::kTranslatorRestarted,
           "translator: " + detail + ": started again, open connections are lost", detail);
    if (const auto again = start_translator(); !again)
      report(LauncherEvent::Kind::kTranslatorGivenUp, base::describe(again.error()),
             base::describe(again.error()));
  }

  void kill_translator(std::string reason) {
    if (!translator_.running()) return;
    kill_reason_ = std::move(reason);
    ::kill(translator_.pid, SIGKILL);
  }

  void report(LauncherEvent::Kind kind, const std::string& line, const std::string& detail) {
    say(line);
    if (config_.on_event) config_.on_event({kind, detail});
  }

  void send_resolvers() {
    auto current = resolvers_.read();
    if (!control_ || (sent_resolvers_ && current.servers == sent_resolvers_->servers)) return;
    if (control_->send_resolvers(current) == SendStatus::kSent) sent_resolvers_ = std::move(current);
  }

  // An orderly end: the translator reports its last counters, then the broker writes its last records.
  void stop() {
    if (translator_.running()) ::kill(translator_.pid, SIGTERM);
    wait_for([this] { return !translator_.running(); }, std::chrono::milliseconds{100});
    if (control_) static_cast<void>(control_->send_stop());
    wait_for([this] { return !broker_.running(); }, std::chrono::milliseconds{500});
    end_everything();
  }

  template <class Done>
  void wait_for(Done done, base::Duration limit) {
    const auto deadline = base::monotonic_now() + limit;
    while (!done()) {
      const auto left = deadline - base::monotonic_now();
      if (left <= base::Duration::zero()) return;
      std::array<epoll_event, 8> events{};
      const auto wait = std::chrono::ceil<std::chrono::milliseconds>(left).count();
      const int count = ::epoll_wait(epoll_.get(), events.data(), 8, static_cast<int>(wait));
      for (int i = 0; i < count; ++i)
        static_cast<void>(dispatch(events.at(static_cast<std::size_t>(i)).data.fd));
    }
  }

  // Kills and reaps every child, and what becomes our child by that, until there is none.
  void end_everything() {
    if (ended_) return;
    ended_ = true;
    const std::array known{command_, broker_.pid, translator_.pid};
    for (const pid_t pid : known)
      if (pid > 0) ::kill(pid, SIGKILL);
    end_children(known);
    broker_ = {};
    translator_ = {};
    command_ = -1;
  }

  void trace(const char* what) const {
    if (!config_.verbose) return;
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(base::monotonic_now() - begun_);
    std::fprintf(stderr, "cordon: start: %s after %.1f ms\n", what,
                 static_cast<double>(micros.count()) / 1000.0);
  }

  struct Revocation {
    std::uint32_t serial;
    base::Instant deadline;
  };

  const LauncherConfig& config_;
  GuestStarter& guest_;
  Signals signals_;
  ResolverWatch resolvers_{config_.resolv_conf};
  DiagnosticsPipe diagnostics_;
  base::Fd executable_;
  base::Fd self_;
  base::Fd epoll_;
  base::Fd tap_;
  std::optional<control::LauncherControl> control_;
  std::optional<control::Resolvers> sent_resolvers_;
  Process broker_;
  Process translator_;
  pid_t command_ = -1;
  std::optional<int> broker_status_;
  std::optional<int> translator_status_;
  std::optional<Revocation> revoke_;
  std::string kill_reason_;
  std::deque<base::Instant> restarts_;
  base::Instant begun_;
  bool ready_ = false;
  bool broker_gone_ = false;
  bool asked_to_end_ = false;
  bool ended_ = false;
  std::optional<int> result_;
};

Launcher::Launcher(LauncherConfig config) : config_(std::move(config)) {}
Launcher::~Launcher() = default;

base::Result<int> Launcher::run(GuestStarter& guest) { return Supervisor{config_, guest}.run(); }

}  // namespace cordon::sandbox
