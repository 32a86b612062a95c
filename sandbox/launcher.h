// The launcher: starts, watches, restarts and ends the other processes. It holds no network and parses no
// foreign bytes but resolv.conf.
//
// Theory of operation. start order: broker is exec'd first and loads policy and host state while the guest
// child configures its namespace; the guest child's tap then goes into a fresh translator, the translator's
// channel to the broker; when the broker says Ready, the guest may go(). From then on one epoll over pidfds,
// the control socket, a signalfd and inotify:
//   translator dies      a new one on the kept tap, at most kRestartLimit times in kRestartWindow, then given
//   up broker dies          the translator is killed; the command goes on without network command ends
//   everything is ended and reaped; its exit status (128+n for a signal) is run()'s result RevokeBegin
//   without its End for 100 ms
//                        SIGKILL to the translator (messages: control.h)
//   SIGINT SIGTERM SIGHUP SIGQUIT
//                        forwarded to the command; a second one kills it. What the terminal sent has reached
//                        the command already and is not repeated
//   resolv.conf changes  Resolvers to the broker
//
// The launcher's own death ends every role by PDEATHSIG. Orphans of the command come to the launcher
// (subreaper) and are killed with the rest: nothing is left behind.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"

namespace cordon::sandbox {

// The guest child, by app/. Called from Launcher::run() in this order: start, go.
class GuestStarter {
 public:
  struct Started {
    pid_t command = -1;
    std::vector<base::Fd> taps;  // the interface's queues, never none
  };
  virtual ~GuestStarter() = default;
  // Forks the child and returns when its namespace and tap are ready. The child waits for go().
  // It must set PR_SET_PDEATHSIG itself and reset its signal mask (the launcher blocks some).
  [[nodiscard]] virtual base::Result<Started> start() = 0;
  // The broker is ready: the child may exec COMMAND.
  [[nodiscard]] virtual base::Result<void> go() = 0;
};

struct LauncherEvent {
  enum class Kind : std::uint8_t {
    kTranslatorRestarted,
    kTranslatorGivenUp,  // crash loop: the guest stays without network
    kBrokerDied,
  };
  Kind kind;
  std::string
      detail;  // "killed by signal 31 (Bad system call)", "exit status 1", "revocation took over 100 ms"
};

struct LauncherConfig {
  // argv[1..] of this process; a role is started as: executable --role=NAME arguments...
  std::vector<std::string> arguments;
  std::string executable = "/proc/self/exe";
  base::Fd audit;  // becomes the broker's fd 4; invalid: /dev/null
  std::string resolv_conf = "/etc/resolv.conf";
  bool verbose = false;
  // Called after the launcher has written its own line to stderr; app/ adds the audit record.
  std::function<void(const LauncherEvent&)> on_event;
};

class Launcher {
 public:
  static constexpr int kRestartLimit = 5;
  static constexpr base::Duration kRestartWindow = std::chrono::seconds{10};

  explicit Launcher(LauncherConfig config);
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  // Ends and reaps whatever still runs.
  ~Launcher();

  // The exit status for main(): the command's; or the broker's when it refuses to start (2: policy errors,
  // already printed). An error is a start-up failure of our own, nothing runs any more then.
  [[nodiscard]] base::Result<int> run(GuestStarter& guest);

 private:
  LauncherConfig config_;
};

}  // namespace cordon::sandbox
