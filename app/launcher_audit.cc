#include "app/launcher_audit.h"

#include <fcntl.h>

namespace cordon::app {
namespace {

base::Fd copy_of(const base::Fd& fd) { return base::Fd{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)}; }

std::string text(const sandbox::LauncherEvent& event) {
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

}  // namespace

LauncherAudit::LauncherAudit(const RunOptions& options, const base::Fd& sink) {
  if (!sink) return;
  fd_ = copy_of(sink);
  // The launcher knows no policy.
  log_.emplace(policy::AuditIdentity{options.guest.name, {}}, fd_.get(),
               std::make_shared<const policy::PolicySet>(), options.audit.kind());
}

void LauncherAudit::note(const sandbox::LauncherEvent& event) {
  if (!log_) return;
  const std::string message = text(event);
  log_->record({.action = policy::AuditAction::kEngineFailed, .message = message}, base::monotonic_now(),
               base::wall_now());
}

void LauncherAudit::set_sink(const base::Fd& sink) {
  if (log_ && sink) log_->set_sink(copy_of(sink), base::monotonic_now(), base::wall_now());
}

}  // namespace cordon::app
