#include "app/launcher_audit.h"

#include <fcntl.h>

namespace cordon::app {
namespace {

base::Fd copy_of(const base::Fd& fd) { return base::Fd{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)}; }

std::string text(const sandbox::LauncherEvent& event) {
  switch (event.kind) {
    case sandbox::LauncherEvent::Kind::kTranslatorRestarted: return "translator restarted: " + event.detail;
    case sandbox::LauncherEvent::Kind::kTranslatorLooping:
      return "translator ends again and again, restarted after pauses: " + event.detail;
    case sandbox::LauncherEvent::Kind::kTranslatorSettled: return "translator restarted: " + event.detail;
    case sandbox::LauncherEvent::Kind::kTranslatorHeld:
      return "translator not restarted before the broker has the policy: " + event.detail;
    case sandbox::LauncherEvent::Kind::kBrokerDied:
      return "broker ended, no network any more: " + event.detail;
    case sandbox::LauncherEvent::Kind::kInterfaceGone:
      return "interface gone, no network any more: " + event.detail;
    case sandbox::LauncherEvent::Kind::kGuestConnected: return "guest connected: " + event.detail;
    case sandbox::LauncherEvent::Kind::kGuestLeft: return "guest left";
    case sandbox::LauncherEvent::Kind::kLinkBroken: return "the guest broke the rules of its link";
    case sandbox::LauncherEvent::Kind::kConnectionLost:
      return "translator ended, the guest's connection is closed: " + event.detail;
  }
  return event.detail;
}

policy::AuditAction action_of(sandbox::LauncherEvent::Kind kind) {
  switch (kind) {
    case sandbox::LauncherEvent::Kind::kGuestConnected: return policy::AuditAction::kGuestConnected;
    case sandbox::LauncherEvent::Kind::kGuestLeft:
    case sandbox::LauncherEvent::Kind::kLinkBroken: return policy::AuditAction::kGuestDisconnected;
    case sandbox::LauncherEvent::Kind::kTranslatorRestarted:
    case sandbox::LauncherEvent::Kind::kTranslatorLooping:
    case sandbox::LauncherEvent::Kind::kTranslatorSettled:
    case sandbox::LauncherEvent::Kind::kTranslatorHeld:
    case sandbox::LauncherEvent::Kind::kBrokerDied:
    case sandbox::LauncherEvent::Kind::kInterfaceGone:
    case sandbox::LauncherEvent::Kind::kConnectionLost: break;
  }
  return policy::AuditAction::kEngineFailed;
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
  const bool broken = event.kind == sandbox::LauncherEvent::Kind::kLinkBroken;
  log_->record({.action = action_of(event.kind),
                .cause = broken ? policy::Cause::kViolation : policy::Cause::kNone,
                .message = message},
               base::monotonic_now(), base::wall_now());
}

void LauncherAudit::set_sink(const base::Fd& sink) {
  if (log_ && sink) log_->set_sink(copy_of(sink), base::monotonic_now(), base::wall_now());
}

}  // namespace cordon::app
