#include "sandbox/launcher_signals.h"

#include <time.h>
#include <unistd.h>

namespace cordon::sandbox {

base::Result<void> LauncherSignals::open() {
  // A caller that ignores SIGCHLD would have handed that down: the kernel then reaps by itself, and nobody
  // ever learns that the command has ended.
  ::signal(SIGCHLD, SIG_DFL);
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGCHLD}) ::sigaddset(&set, signal);
  // Nor may a message nobody reads, or a record beyond a file size limit, end the guest: the write fails.
  sigset_t blocked = set;
  for (const int signal : {SIGPIPE, SIGXFSZ}) ::sigaddset(&blocked, signal);
  ::sigprocmask(SIG_BLOCK, &blocked, &before_);
  fd_ = base::Fd{::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)};
  if (!fd_) return base::fail_errno("signalfd");
  return {};
}

LauncherSignals::~LauncherSignals() {
  if (!fd_) return;
  // A write that failed has left its signal pending.
  sigset_t failures;
  ::sigemptyset(&failures);
  for (const int signal : {SIGPIPE, SIGXFSZ}) ::sigaddset(&failures, signal);
  const timespec now{};
  while (::sigtimedwait(&failures, nullptr, &now) > 0) {
  }
  // A request to read something again that comes while the launcher ends is too late; it is not a reason to
  // end by that signal instead of with the command's code.
  for (const int signal : {SIGHUP, SIGUSR1}) ::signal(signal, SIG_IGN);
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

std::optional<signalfd_siginfo> LauncherSignals::next() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return info;
}

}  // namespace cordon::sandbox
