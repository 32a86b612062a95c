#include "sandbox/supervisor.h"

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sandbox/children.h"
#include "sandbox/launcher_lock.h"

namespace cordon::sandbox {
namespace {

constexpr base::Duration kLookAgain = std::chrono::milliseconds{20};
constexpr base::Duration kBusyLimit = std::chrono::seconds{1};
constexpr int kVisitsPerWake = 64;
constexpr int kClientsPerWake = 8;
constexpr std::size_t kMostWords = 4096;
constexpr std::string_view kFullWord = "full ";  // or "part "

}  // namespace

void Supervisor::watch(int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

base::Result<void> Supervisor::turn() {
  std::array<epoll_event, 8> events{};
  const int count =
      ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), milliseconds_to_deadline());
  if (count < 0 && errno != EINTR) return base::fail_errno("epoll_wait");
  for (int i = 0; i < count; ++i) CORDON_TRY(dispatch(events.at(static_cast<std::size_t>(i)).data.fd));
  work_deadlines();
  CORDON_TRY(watch_revocation());
  if (failed_start_ && base::monotonic_now() >= failed_start_->deadline && !result_) on_failed_start();
  return {};
}

// What a captured translator can do is to hold a socket's lock: the broker then sleeps in the kernel. A
// broker that is runnable waits for a processor of a busy machine, and killing the translator would cut every
// flow of the guest without bringing the revocation forward.
base::Result<void> Supervisor::watch_revocation() {
  if (!revoke_ || base::monotonic_now() < revoke_->deadline) return {};
  // The Begin's End may have come while we were not scheduled: look before killing.
  CORDON_TRY(read_control());
  const base::Instant now = base::monotonic_now();
  if (!revoke_ || now < revoke_->deadline) return {};
  if (now < revoke_->last && broker_.running() && is_runnable(broker_.pid)) {
    revoke_->deadline = now + kLookAgain;
    return {};
  }
  revoke_.reset();
  kill_translator("a revocation took more than 100 ms");
  return {};
}

void Supervisor::work_deadlines() {
  watch_loader_deadline();
  if (base::monotonic_now() >= send_due_) send_waiting();
  if (base::monotonic_now() >= control_due_) open_control();
  if (base::monotonic_now() >= vm_due_) open_vm();
  work_restart();
  if (policy_watch_) {
    if (policy_watch_->take(base::monotonic_now())) load_policy(control::LoadCause::kWatch);
    if (const auto problem = policy_watch_->take_problem(); !problem.empty())
      say(problem + ": not every change of the policy is noticed; tried again every 10 s");
  }
  if (base::monotonic_now() >= log_watch_.due()) reopen_audit();
}

int Supervisor::milliseconds_to_deadline() const {
  auto due = std::min({loader_deadline_, send_due_, control_due_, vm_due_, log_watch_.due(), restart_due_,
                       pace_.steady_at()});
  if (policy_watch_) due = std::min(due, policy_watch_->due());
  if (revoke_) due = std::min(due, revoke_->deadline);
  if (failed_start_) due = std::min(due, failed_start_->deadline);
  if (due == base::Instant::never()) return -1;
  const auto left = due - base::monotonic_now();
  if (left <= base::Duration::zero()) return 0;
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

base::Result<void> Supervisor::dispatch(int fd) {
  if (fd == signals_.poll_fd()) return read_signals();
  if (control_ && fd == control_->poll_fd()) return read_control();
  if (translator_output_ && fd == translator_output_.get()) return read_translator_ready();
  if (!has_command_ && fd == guest_.end_fd()) {
    if (guest_.ended() && !result_) result_ = 0;
    return {};
  }
  if (config_.vm && fd == config_.vm->poll_fd()) {
    serve_vm();
    return {};
  }
  if (policy_watch_ && fd == policy_watch_->poll_fd()) {
    policy_watch_->take_events(base::monotonic_now());
    return {};
  }
  if (config_.control && fd == config_.control->poll_fd()) {
    serve_control();
    return {};
  }
  if (fd == resolvers_.poll_fd()) {
    if (resolvers_.changed()) send_resolvers();
    return {};
  }
  if (fd == config_.side_fd) config_.on_side();
  if (fd == log_watch_.poll_fd()) log_watch_.look(base::monotonic_now());
  if (fd == diagnostics_.poll_fd() && !diagnostics_.relay()) diagnostics_.close();
  return {};
}

base::Result<void> Supervisor::read_signals() {
  while (const auto info = signals_.next()) {
    const bool from_process = info->ssi_code <= 0;  // not of the terminal, which is the kernel's
    if (info->ssi_signo == SIGCHLD) {
      reap_children();
    } else if (info->ssi_signo == SIGUSR1) {
      reopen_audit();
    } else if (info->ssi_signo == SIGHUP && from_process) {
      reopen_audit();
      load_policy(control::LoadCause::kSignal);
    } else {
      forward(*info);
    }
  }
  return {};
}

void Supervisor::forward(const signalfd_siginfo& info) {
  if (has_command_ && command_ <= 0) return;
  const int number = static_cast<int>(info.ssi_signo);
  if (!ready_) {  // nobody else would act on it: the command has not begun, and its process blocks signals
    if (!result_) result_ = 128 + number;
    return;
  }
  if (!has_command_) {
    // Blocked signals arrive even when they are to be ignored (nohup, a shell's background process).
    struct sigaction action{};
    const bool ignored = ::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
    if (!ignored && !result_) result_ = 0;
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
  ::kill(command_, again ? SIGKILL : number);
}

base::Result<void> Supervisor::read_control() {
  // Bounded; the socket is level-triggered.
  for (int i = 0; i < 64 && control_; ++i) {
    const auto message = control_->receive();
    if (!message) {
      // A broker that closes its end is about to be reaped; one that talks nonsense is ended.
      if (message.error() == ReceiveStop::kViolation && broker_.running()) ::kill(broker_.pid, SIGKILL);
      if (message.error() != ReceiveStop::kEmpty) control_.reset();
      return {};
    }
    if (const auto* ready = std::get_if<control::Ready>(&*message)) {
      missing_layers_ |= ready->missing;
      if (!std::exchange(broker_ready_, true)) trace("broker ready");
      CORDON_TRY(go_when_ready());
    }
    if (const auto* begin = std::get_if<control::RevokeBegin>(&*message)) {
      const base::Instant now = base::monotonic_now();
      revoke_ = Revocation{begin->serial, now + control::kRevokeLimit, now + kBusyLimit};
    }
    if (const auto* end = std::get_if<control::RevokeEnd>(&*message); end && revoke_)
      if (end->serial == revoke_->serial) revoke_.reset();
    if (std::holds_alternative<control::ReloadPolicy>(*message)) load_policy(control::LoadCause::kControl);
    if (std::holds_alternative<control::ReopenAudit>(*message)) reopen_audit();
    if (const auto* order = std::get_if<control::KillTranslator>(&*message))
      kill_translator(order->reason == Violation::kUncut ? "a socket could not be taken from it"
                                                         : "it broke the channel's protocol (" +
                                                               std::string{to_string(order->reason)} + ")");
  }
  return {};
}

// Until it is ready it has seen nothing of the guest's.
base::Result<void> Supervisor::read_translator_ready() {
  std::array<char, control::kMaxSummary> bytes{};
  const ssize_t got = ::read(translator_output_.get(), bytes.data(), bytes.size());
  if (got < 0) return {};
  if (got > 0) translator_words_.append(bytes.data(), static_cast<std::size_t>(got));
  const auto end = translator_words_.rfind('\n');
  const bool says_ready = end + 1 < translator_words_.size();
  if (got > 0 && !says_ready && translator_words_.size() < kMostWords) return {};
  translator_output_.reset();
  const std::string line = std::exchange(translator_words_, {}).substr(0, end == std::string::npos ? 0 : end);
  if (control_ && line.size() > kFullWord.size())
    static_cast<void>(control_->send_isolation({.of_launcher = false,
                                                .full = line.starts_with(kFullWord),
                                                .summary = line.substr(kFullWord.size())}));
  if (!says_ready || translator_ready_) return {};
  translator_ready_ = true;
  trace("translator ready");
  return go_when_ready();
}

base::Result<void> Supervisor::go_when_ready() {
  if (ready_ || !broker_ready_ || (!translator_ready_ && !config_.vm)) return {};
  ready_ = true;
  CORDON_TRY(lock_itself());
  warn_of_missing_layers();
  CORDON_TRY(guest_.go());
  open_control();
  open_vm();
  if (config_.on_ready) config_.on_ready();
  return {};
}

// The command's process waits already and has none of it.
base::Result<void> Supervisor::lock_itself() {
  const auto report = CORDON_TRY(lock_launcher(
      Role::kLauncher, {.looks_at_peers = config_.control.has_value(), .strict = config_.strict}));
  missing_layers_ |= report.missing();
  if (config_.verbose) say(report.summary());
  if (control_)
    static_cast<void>(
        control_->send_isolation({.of_launcher = true, .full = report.full(), .summary = report.summary()}));
  return {};
}

void Supervisor::open_control() {
  control_due_ = base::Instant::never();
  if (!config_.control || broker_gone_) return;
  watch(config_.control->poll_fd());
  // Who came as one too many has been accepted: no event speaks of that one.
  serve_control();
}

// A few at a time: whoever can connect can also come back at once. More of those that are refused, so that
// they do not keep the others out.
void Supervisor::serve_control() {
  int clients = 0;
  for (int i = 0; i < kVisitsPerWake && clients < kClientsPerWake && control_; ++i) {
    const auto visit = config_.control->accept(base::monotonic_now());
    if (visit.too_many) {
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, config_.control->poll_fd(), nullptr);
      control_due_ = base::monotonic_now() + std::chrono::milliseconds{100};
      return;
    }
    if (!visit.refused.empty() && !std::exchange(refusal_told_, true))
      say("control socket: refused a peer: " + std::string{visit.refused});
    // A broker that takes nothing now has no time for clients either: the connection is closed.
    if (visit.client) {
      ++clients;
      static_cast<void>(control_->send_new_client(visit.client.get()));
    }
    if (!visit.more) return;
  }
}

void Supervisor::close_control() {
  control_due_ = base::Instant::never();
  config_.control.reset();  // and out of the epoll set
}

void Supervisor::send_resolvers() {
  auto current = resolvers_.read();
  if (!control_ || (sent_resolvers_ && current.servers == sent_resolvers_->servers)) return;
  if (control_->send_resolvers(current) == SendStatus::kSent) sent_resolvers_ = std::move(current);
}

}  // namespace cordon::sandbox
