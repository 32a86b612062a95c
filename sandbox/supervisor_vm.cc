// The virtual machine's connections, one after another: each gets a translator of its own and ends with it.
//
// Theory of operation. A connection lives in its translator alone; no other process of ours keeps a
// descriptor of it, so the client sees the end of the translator at once, however it ended. Exit status 0 is
// a client that has left, kBrokenLink one that broke the link's rules; everything else is the translator's
// own death. None of them counts as a crash loop: whether there is a next connection is the client's
// decision. While a client is served, others are accepted and closed, so that they do not wait for nothing.
#include <sys/epoll.h>
#include <sys/wait.h>

#include <utility>

#include "sandbox/descriptors.h"
#include "sandbox/supervisor.h"

namespace cordon::sandbox {
namespace {

constexpr int kVisitsPerWake = 16;
constexpr base::Duration kRest = std::chrono::milliseconds{200};

}  // namespace

// The launcher is ready, or whatever kept it from serving is over.
void Supervisor::open_vm() {
  vm_due_ = base::Instant::never();
  if (!config_.vm || !ready_ || broker_gone_ || result_) return;
  if (config_.vm->poll_fd() >= 0)
    watch(config_.vm->poll_fd());  // again: harmless
  else
    serve_vm();
}

// Not to be told of clients for a while: `until`, or when somebody opens it again.
void Supervisor::rest_vm(base::Instant until) {
  if (config_.vm->poll_fd() >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, config_.vm->poll_fd(), nullptr);
  vm_due_ = until;
}

void Supervisor::serve_vm() {
  for (int i = 0; i < kVisitsPerWake && !result_; ++i) {
    if (!translator_.running()) {
      // Nothing may pass while the broker has yet to be given a policy; on_policy_sent() opens again.
      if (policy_waits_) return rest_vm(base::Instant::never());
      const auto now = base::monotonic_now();
      if (!config_.vm->may_serve(now)) return rest_vm(now + kRest);
    }
    auto visit = config_.vm->accept();
    if (!visit.refused.empty() && !std::exchange(vm_refusal_told_, true))
      say("--socket: refused a client: " + std::string{visit.refused});
    if (visit.client) on_client(std::move(visit.client), visit.who);
    if (!visit.more) return;
  }
}

void Supervisor::on_client(base::Fd client, const std::string& who) {
  if (translator_.running()) {
    if (config_.verbose) say("closed a second client, " + who + ": one at a time");
    return;
  }
  taps_.clear();
  taps_.push_back(std::move(client));
  const auto started = start_translator();
  taps_.clear();
  if (!started) {
    const std::string why = base::describe(started.error());
    on_connection_lost(LauncherEvent::Kind::kConnectionLost, "translator: " + why, why);
    return;
  }
  if (config_.verbose) say("the guest is connected: " + who);
  if (config_.on_event) config_.on_event({LauncherEvent::Kind::kGuestConnected, who});
}

void Supervisor::on_vm_translator_ended(int status, bool killed_by_us, const std::string& detail) {
  const bool exited = WIFEXITED(status) && !killed_by_us;
  if (exited && WEXITSTATUS(status) == 0) {
    if (config_.verbose) say("the guest has left");
    if (config_.on_event) config_.on_event({LauncherEvent::Kind::kGuestLeft, {}});
    if (config_.vm->one_off()) result_ = 0;
  } else if (exited && WEXITSTATUS(status) == kBrokenLink) {
    on_connection_lost(LauncherEvent::Kind::kLinkBroken, "the guest broke the rules of its link", {});
  } else {
    on_connection_lost(LauncherEvent::Kind::kConnectionLost, "translator: " + detail, detail);
  }
  if (!result_ && config_.vm->poll_fd() >= 0) open_vm();
}

void Supervisor::on_connection_lost(LauncherEvent::Kind kind, const std::string& what,
                                    const std::string& detail) {
  const bool last = config_.vm->one_off();
  report(kind,
         what + (last ? ": the guest's connection is closed; cordon ends"
                      : ": the guest's connection is closed"),
         detail);
  if (last && !result_) result_ = kOwnFailure;
}

}  // namespace cordon::sandbox
