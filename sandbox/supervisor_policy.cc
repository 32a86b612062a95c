// Policy files: starts loaders and hands what they bring to the broker. At most one loader runs; what asks
// for a load meanwhile gets one more afterwards, with the strongest of the causes. Nothing here waits.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "sandbox/memory_file.h"
#include "sandbox/supervisor.h"

namespace cordon::sandbox {
namespace {

constexpr std::size_t kMaxBundle = 16UL << 20U;
// The loader bounds itself to five seconds; this is for a file system that keeps it in the kernel.
constexpr base::Duration kLoaderLimit = std::chrono::seconds{8};
constexpr base::Duration kSendRetry = std::chrono::milliseconds{50};
constexpr base::Duration kSendPatience = std::chrono::seconds{2};

bool same_bytes(int a, int b) {
  const auto one = read_memory_file(a, kMaxBundle);
  return one && one == read_memory_file(b, kMaxBundle);
}

}  // namespace

void Supervisor::load_policy(control::LoadCause cause) {
  if (broker_gone_ || result_) return;
  if (loader_.running()) {
    load_again_ = std::max(load_again_.value_or(cause), cause);
    return;
  }
  const auto arguments =
      config_.loader_arguments ? config_.loader_arguments(cause) : std::vector<std::string>{};
  if (arguments.empty()) {
    if (cause != control::LoadCause::kStart)
      say("there is no policy file: the policy in force stays, nothing to reload");
    if (cause == control::LoadCause::kControl) {
      nothing_waits_ = true;
      send_waiting();
    }
    return;
  }
  if (const auto started = start_loader(arguments); !started)
    on_loader_failed(base::describe(started.error()));
  else
    loading_ = cause;
}

base::Result<void> Supervisor::start_loader(const std::vector<std::string>& arguments) {
  bundle_ = CORDON_TRY(make_memory_file("policy bundle"));
  loader_ = CORDON_TRY(spawn_role({.role = Role::kPolicyLoader,
                                   .executable = executable_.get(),
                                   .arguments = arguments,
                                   .launcher = self_.get(),
                                   .output = bundle_.get(),
                                   .diagnostics = STDERR_FILENO}));
  loader_deadline_ = base::monotonic_now() + kLoaderLimit;
  return {};
}

void Supervisor::on_loader_ended(int status) {
  loader_deadline_ = base::Instant::never();
  if (broker_gone_ || result_) return;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    on_loader_failed(describe_status(status));
  } else {
    seal(bundle_.get());
    const bool news = loading_ != control::LoadCause::kWatch || !sent_bundle_ ||
                      !same_bytes(bundle_.get(), sent_bundle_.get());
    if (loading_ == control::LoadCause::kStart) trace("policy files read");
    if (news) send_policy(std::move(bundle_));
  }
  bundle_.reset();
  if (const auto again = std::exchange(load_again_, std::nullopt)) load_policy(*again);
}

// At start nothing can go on without it. Later the broker gets an empty bundle: it refuses that, keeps what
// it has or does what the policy in force says about a failed reload, and writes the record.
void Supervisor::on_loader_failed(const std::string& why) {
  say("policy-loader: " + why);
  if (loading_ == control::LoadCause::kStart) {
    if (!result_) result_ = kOwnFailure;
    return;
  }
  if (auto empty = make_memory_file("policy bundle")) send_policy(std::move(*empty));
}

void Supervisor::send_policy(base::Fd bundle) {
  sent_bundle_ = std::move(bundle);
  if (!std::exchange(policy_waits_, true)) policy_deadline_ = base::monotonic_now() + kSendPatience;
  send_waiting();
}

// A broker that is held up in the kernel may not take a message now. Nor can a descriptor be sent while too
// many of our user's are in flight: the kernel counts those of every user namespace together, so the guest's
// command can bring that about.
void Supervisor::send_waiting() {
  send_due_ = base::Instant::never();
  if (!control_) return;
  const auto done = [](SendStatus status) { return status != SendStatus::kFull; };
  if (policy_waits_ && done(control_->send_new_policy(sent_bundle_.get(), loading_))) on_policy_sent();
  if (nothing_waits_ && done(control_->send_nothing_to_load())) nothing_waits_ = false;
  if (fresh_audit_ && done(control_->send_new_audit_sink(fresh_audit_.get()))) fresh_audit_.reset();
  if (policy_waits_ || nothing_waits_ || fresh_audit_) send_due_ = base::monotonic_now() + kSendRetry;
  if (policy_waits_ && base::monotonic_now() >= policy_deadline_) on_policy_stuck();
}

// The policy in force may allow what the new one denies: without it nothing may pass.
void Supervisor::on_policy_stuck() {
  policy_deadline_ = base::Instant::never();
  say("the policy could not be handed to the broker for 2 s; it is tried again and again");
  if (!ready_) {
    if (!result_) result_ = kOwnFailure;
    return;
  }
  kill_translator("the broker could not be given the new policy for 2 s");
}

void Supervisor::on_policy_sent() {
  policy_waits_ = false;
  policy_deadline_ = base::Instant::never();
  open_vm();
  if (!std::exchange(translator_held_, false) || result_) return;
  report(LauncherEvent::Kind::kTranslatorRestarted, "translator: started again, the broker has the policy",
         "the policy was handed over");
  start_again();
}

void Supervisor::reopen_audit() {
  if (!config_.reopen_audit) return;
  auto fresh = config_.reopen_audit();
  log_watch_.opened(fresh ? fresh.get() : -1, base::monotonic_now());
  if (!fresh) return;
  fresh_audit_ = std::move(fresh);
  send_waiting();
}

void Supervisor::watch_loader_deadline() {
  if (base::monotonic_now() < loader_deadline_) return;
  loader_deadline_ = base::Instant::never();
  if (loader_.running()) ::kill(loader_.pid, SIGKILL);
}

}  // namespace cordon::sandbox
