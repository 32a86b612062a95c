#include "sandbox/supervisor.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <array>

#include "core/base/stderr.h"
#include "sandbox/children.h"
#include "sandbox/descriptors.h"

namespace cordon::sandbox {

void Supervisor::say(const std::string& line) { base::tell("cordon: " + line + "\n"); }

void Supervisor::reap_children() {
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
    } else if (pid == loader_.pid) {
      loader_ = {};
      loader_status_ = status;
    }
  }
  // In this order: a translator that follows its broker is not a translator that failed.
  if (broker_status_) on_broker_ended(*std::exchange(broker_status_, std::nullopt));
  if (translator_status_) on_translator_ended(*std::exchange(translator_status_, std::nullopt));
  if (loader_status_) on_loader_ended(*std::exchange(loader_status_, std::nullopt));
}

void Supervisor::on_broker_ended(int status) {
  revoke_.reset();
  control_.reset();
  broker_gone_ = true;
  close_control();
  restart_due_ = base::Instant::never();
  if (translator_.running()) ::kill(translator_.pid, SIGKILL);
  if (result_) return;
  if (!ready_) {
    // It has said why, unless a signal ended it.
    if (WIFSIGNALED(status) || WEXITSTATUS(status) == 0)
      say("broker: " + describe_status(status) + " before it was ready");
    result_ = WIFEXITED(status) && WEXITSTATUS(status) == kPolicyError ? kPolicyError : kOwnFailure;
    return;
  }
  on_network_lost(LauncherEvent::Kind::kBrokerDied, "broker: " + describe_status(status),
                  describe_status(status));
}

void Supervisor::on_network_lost(LauncherEvent::Kind kind, const std::string& what,
                                 const std::string& detail) {
  report(kind, what + (has_command_ ? "; the command has no network any more" : "; cordon ends"), detail);
  if (!has_command_ && !result_) result_ = kOwnFailure;
}

bool Supervisor::interface_gone() const { return !taps_.empty() && is_interface_gone(taps_.front().get()); }

void Supervisor::on_interface_gone() {
  if (has_command_) {
    report(LauncherEvent::Kind::kInterfaceGone,
           "the guest's interface was removed from inside; the command has no network any more",
           "removed from inside");
    return;
  }
  if (config_.verbose) say("the namespace or its interface is gone: the end");
  result_ = 0;
}

void Supervisor::on_translator_ended(int status) {
  static_cast<void>(diagnostics_.poll_fd() >= 0 && diagnostics_.relay());
  diagnostics_.close();
  revoke_.reset();
  // The one byte and the end may have come together.
  if (translator_output_)
    if (const auto read = read_translator_ready(); !read && !result_) {
      say(base::describe(read.error()));
      result_ = kOwnFailure;
    }
  translator_output_.reset();
  // The broker may have become ready as well, or have said what was wrong with the translator.
  translator_ending_ = true;
  if (const auto read = read_control(); !read && !result_) {
    say(base::describe(read.error()));
    result_ = kOwnFailure;
  }
  translator_ending_ = false;
  const bool killed_by_us = !kill_reason_.empty();
  const std::string detail = killed_by_us ? std::exchange(kill_reason_, {}) : describe_status(status);
  // Without its end of the control socket the broker is about to end.
  if (result_ || broker_gone_ || !control_ || !broker_.running() || !is_alive(broker_.pidfd.get())) return;
  if (config_.vm) return on_vm_translator_ended(status, killed_by_us, detail);
  if (interface_gone() && ready_) return on_interface_gone();
  if (!ready_ && !killed_by_us) {
    // It follows a broker that refuses to start, which then gives the better answer.
    if (!failed_start_)
      failed_start_ = FailedStart{detail, base::monotonic_now() + std::chrono::milliseconds{200}};
    return;
  }
  restart_later(detail);
}

void Supervisor::on_failed_start() {
  const auto failed = std::exchange(failed_start_, std::nullopt);
  // It was ready, and the broker only takes longer.
  if (translator_ready_) return restart_later(failed->detail);
  say("translator: " + failed->detail + " before it was ready");
  result_ = kOwnFailure;
}

void Supervisor::kill_translator(std::string reason) {
  if (!translator_.running() && !translator_ending_) return;
  kill_reason_ = std::move(reason);
  if (translator_.running()) ::kill(translator_.pid, SIGKILL);
}

void Supervisor::report(LauncherEvent::Kind kind, const std::string& line, const std::string& detail) {
  say(line);
  if (config_.on_event) config_.on_event({kind, detail});
}

template <class Done>
void Supervisor::wait_for(Done done, base::Duration limit) {
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

void Supervisor::stop() {
  if (pace_.untold() > 0) tell_settled("the end comes");
  if (translator_.running()) ::kill(translator_.pid, SIGTERM);
  wait_for([this] { return !translator_.running(); }, std::chrono::milliseconds{100});
  if (control_) static_cast<void>(control_->send_stop());
  wait_for([this] { return !broker_.running(); }, std::chrono::milliseconds{500});
  end_everything();
}

void Supervisor::end_everything() {
  if (ended_) return;
  ended_ = true;
  const std::array known{command_, broker_.pid, translator_.pid, loader_.pid};
  for (const pid_t pid : known)
    if (pid > 0) ::kill(pid, SIGKILL);
  end_children(known);
  taps_.clear();  // the last descriptors: the interface goes, also where the namespace stays
  broker_ = {};
  translator_ = {};
  loader_ = {};
  command_ = -1;
}

}  // namespace cordon::sandbox
