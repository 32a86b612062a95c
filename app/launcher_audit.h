// The launcher's own records: a process of ours died. Everything else is the broker's.
#pragma once

#include <optional>

#include "app/options.h"
#include "core/base/fd.h"
#include "policy/audit_log.h"
#include "sandbox/launcher.h"

namespace cordon::app {

class LauncherAudit {
 public:
  // `sink`: what open_audit() gave; it is duplicated.
  LauncherAudit(const RunOptions& options, const base::Fd& sink);
  void note(const sandbox::LauncherEvent& event);
  // What open_audit() gave when the log was rotated.
  void set_sink(const base::Fd& sink);

 private:
  base::Fd fd_;
  std::optional<policy::AuditLog> log_;
};

}  // namespace cordon::app
