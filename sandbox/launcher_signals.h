// The launcher's signals as events.
#pragma once

#include <signal.h>
#include <sys/signalfd.h>

#include <optional>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::sandbox {

// SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGCHLD become readable here. The mask is put back at the
// end (tests run a launcher in their own process); SIGHUP and SIGUSR1 are ignored from then on.
class LauncherSignals {
 public:
  LauncherSignals() { ::sigemptyset(&before_); }
  LauncherSignals(const LauncherSignals&) = delete;
  LauncherSignals& operator=(const LauncherSignals&) = delete;
  ~LauncherSignals();

  [[nodiscard]] base::Result<void> open();
  [[nodiscard]] int poll_fd() const { return fd_.get(); }
  [[nodiscard]] std::optional<signalfd_siginfo> next();

 private:
  base::Fd fd_;
  sigset_t before_;
};

}  // namespace cordon::sandbox
