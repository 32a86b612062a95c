#include "app/run.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>

#include "app/announce.h"
#include "app/attach_guest.h"
#include "app/guest_child.h"
#include "app/policy_loader.h"
#include "app/publish.h"
#include "policy/audit_log.h"
#include "policy/builtin.h"
#include "policy/load.h"
#include "sandbox/launcher.h"

namespace cordon::app {
namespace {

constexpr int kOwnFailure = 125;

base::Result<base::Fd> open_audit(const RunOptions& options) {
  switch (options.audit_target) {
    case AuditTarget::kNone: return base::Fd{};
    case AuditTarget::kStderr: {
      base::Fd copy{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)};
      if (!copy) return base::fail_errno("--audit-log stderr", "stderr is closed");
      return copy;
    }
    case AuditTarget::kFile: break;
  }
  base::Fd file{
      ::open(options.audit_path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600)};
  if (!file) return base::fail_errno("--audit-log", options.audit_path);
  return file;
}

// The launcher's own records: a process of ours died. Everything else is the broker's.
class LauncherAudit {
 public:
  LauncherAudit(const RunOptions& options, const base::Fd& audit) {
    if (!audit) return;
    fd_ = base::Fd{::fcntl(audit.get(), F_DUPFD_CLOEXEC, 3)};
    log_.emplace(policy::AuditIdentity{options.guest.name, {}}, fd_.get(),
                 std::make_shared<const policy::PolicySet>(policy::builtin_deny()));
  }
  void note(const sandbox::LauncherEvent& event) {
    if (!log_) return;
    policy::AuditEvent record;
    record.action = policy::AuditAction::kEngineFailed;
    const std::string message = text(event);
    record.message = message;
    const auto wall =
        std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
    log_->record(record, base::monotonic_now(), wall);
  }

 private:
  static std::string text(const sandbox::LauncherEvent& event) {
    switch (event.kind) {
      case sandbox::LauncherEvent::Kind::kTranslatorRestarted: return "translator restarted: " + event.detail;
      case sandbox::LauncherEvent::Kind::kTranslatorGivenUp:
        return "translator given up, no network any more: " + event.detail;
      case sandbox::LauncherEvent::Kind::kBrokerDied:
        return "broker ended, no network any more: " + event.detail;
      case sandbox::LauncherEvent::Kind::kInterfaceGone:
        return "interface gone, no network any more: " + event.detail;
    }
    return event.detail;
  }
  base::Fd fd_;
  std::optional<policy::AuditLog> log_;
};

class CommandGuest final : public sandbox::GuestStarter {
 public:
  explicit CommandGuest(const RunOptions& options) : options_(options) {}
  base::Result<Started> start() override {
    child_.emplace(CORDON_TRY(GuestChild::start(options_)));
    return Started{.command = child_->pid(), .taps = child_->take_taps(), .bulk_queues = true};
  }
  base::Result<void> go() override { return child_->go(); }

 private:
  const RunOptions& options_;
  std::optional<GuestChild> child_;
};

std::unique_ptr<sandbox::GuestStarter> make_guest(const RunOptions& options) {
  if (options.attach) return std::make_unique<AttachGuest>(options);
  return std::make_unique<CommandGuest>(options);
}

int fail_line(const base::Error& error) {
  std::fprintf(stderr, "cordon: %s\n", base::describe(error).c_str());
  return kOwnFailure;
}

}  // namespace

int run(const RunOptions& options, const std::vector<std::string>& arguments) {
  ReadyFd ready;
  if (options.ready_fd) {
    auto taken = ReadyFd::take(*options.ready_fd);
    if (!taken) return fail_line(taken.error());
    ready = std::move(*taken);
  }
  PidFile pid_file;
  if (!options.pid_file.empty()) {
    auto created = PidFile::create(options.pid_file);
    if (!created) return fail_line(created.error());
    pid_file = std::move(*created);
  }
  auto audit = open_audit(options);
  if (!audit) return fail_line(audit.error());
  PolicyFiles policy_files{options};
  if (options.verbosity != Verbosity::kQuiet && policy_files.current().empty())
    std::fputs(
        "cordon: no --policy: built-in internet-only applies (names and the public Internet; not this "
        "machine, its "
        "networks or cloud metadata)\n",
        stderr);
  auto listeners = open_privileged_ports(options);
  if (!listeners) return fail_line(listeners.error());
  LauncherAudit records{options, *audit};
  sandbox::LauncherConfig config;
  config.arguments = arguments;
  config.audit = std::move(*audit);
  config.listeners = std::move(*listeners);
  config.loader_arguments = [&](sandbox::control::LoadCause cause) {
    const auto kind = cause == sandbox::control::LoadCause::kStart ? LoadKind::kFirst : LoadKind::kReload;
    return loader_arguments(options, kind, policy_files.current());
  };
  config.verbose = options.verbosity == Verbosity::kVerbose;
  config.on_event = [&records](const sandbox::LauncherEvent& event) { records.note(event); };
  config.on_ready = [&ready] { ready.tell(); };
  const auto guest = make_guest(options);
  sandbox::Launcher launcher{std::move(config)};
  const auto status = launcher.run(*guest);
  if (!status) return fail_line(status.error());
  return *status;
}

int check_policy(const PolicyCheckOptions& options) {
  const auto loaded = policy::load_files(options.files);
  std::fputs(policy::render(loaded.diagnostics).c_str(), stderr);
  if (!loaded.policy) return 2;
  std::printf("%zu file(s): valid\n", options.files.size());
  return 0;
}

}  // namespace cordon::app
