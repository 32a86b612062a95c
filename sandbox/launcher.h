// The launcher: starts, watches, restarts and ends the other processes. Of the network it holds nothing but,
// until the broker has them, the listeners that need a privilege; of foreign bytes it parses resolv.conf.
//
// Theory of operation. start order: broker is exec'd first and loads host state while the guest
// child configures its namespace; a policy loader, if there are files, reads them meanwhile. The guest
// child's tap then goes into a fresh translator, the translator's channel to the broker; when both say that
// they are ready, the guest may go(). A translator that ends before that fails the start. From then on one
// epoll over the control socket, pipes, a signalfd and inotify:
// - translator dies: a new one on the kept taps, always; after pauses when it dies again and again
//   (restart_pace.h).
// - interface gone: the translator ends by itself (it alone reads the taps) and is not started again.
// - broker dies: the translator is killed; the command goes on without network.
// - command ends: everything is ended and reaped; its status (128+n for a signal) is run()'s result.
// - RevokeBegin without its End for 100 ms: SIGKILL to the translator (messages: control.h); a broker that
//   is runnable, on a machine too busy to run it, gets up to a second.
// - SIGINT, SIGTERM, SIGQUIT, and SIGHUP when the terminal is gone: forwarded to the command; a second one
//   kills it. What the terminal sent has reached the command already and is not repeated.
// - SIGHUP from a process, a change of a watched policy file, or the broker's wish: a loader reads the policy
//   files again, and the broker gets what it brings. SIGUSR1, and that SIGHUP: the audit log is opened again.
// - a new policy that the broker cannot be given for 2 s: the translator is killed, and started again once
//   the broker has the policy.
// - resolv.conf changes: Resolvers to the broker.
//
// A guest without a command ends with 0 when its interface is gone (the kernel removes it with its namespace,
// which no process of ours holds), when the guest says so, or by one of the signals; with 125 when the
// command would be left without network.
//
// A virtual machine has no interface but a connection, which comes and goes; each gets a translator of its
// own (supervisor_vm.cc), and between two of them the broker waits as it does for a restarted one.
//
// The launcher's own death ends every role by PDEATHSIG. Orphans of the command come to the launcher
// (subreaper) and are killed with the rest: nothing is left behind.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"
#include "sandbox/control.h"
#include "sandbox/control_listener.h"
#include "sandbox/vm_port.h"

namespace cordon::sandbox {

// The guest, by app/: a command that the launcher runs, or a namespace that somebody else made and that is
// only served. Called from Launcher::run() in this order: start, go.
class GuestStarter {
 public:
  struct Started {
    pid_t command = -1;          // our child, which waits for go(); -1: no command
    std::vector<base::Fd> taps;  // the interface's queues, one for each worker; none: LauncherConfig::vm
    bool bulk_queues = false;    // two for each worker: first their main ones, then those for bulk
  };
  virtual ~GuestStarter() = default;
  // Returns when the namespace and the tap are ready. A command's process must set PR_SET_PDEATHSIG itself
  // and reset its signal mask (the launcher blocks some).
  [[nodiscard]] virtual base::Result<Started> start() = 0;
  // Broker and translator are ready: COMMAND may be executed.
  [[nodiscard]] virtual base::Result<void> go() = 0;
  // Without a command only: readable when ended() is to be asked; -1: never. The interface itself is watched
  // by the launcher.
  [[nodiscard]] virtual int end_fd() const { return -1; }
  [[nodiscard]] virtual bool ended() { return false; }
};

struct LauncherEvent {
  enum class Kind : std::uint8_t {
    kTranslatorRestarted,
    kTranslatorLooping,  // it ends again and again: started after pauses, and not told until it is over
    kBrokerDied,
    kInterfaceGone,  // the command has removed it, which only it can do
    // Of a virtual machine:
    kGuestConnected,
    kGuestLeft,
    kLinkBroken,      // it broke the rules of its link, and was cut off
    kConnectionLost,  // its translator died
    // Of the others again:
    kTranslatorSettled,  // no longer kTranslatorLooping
    kTranslatorHeld,     // not started before the broker has the policy
  };
  Kind kind;
  std::string
      detail;  // "killed by signal 31 (Bad system call)", "exit status 1", "revocation took over 100 ms"
};

// The broker's first argument when its first policy comes from a loader.
inline constexpr std::string_view kAwaitsPolicy = "--awaits-policy";

struct LauncherConfig {
  // argv[1..] of this process; a role is started as: executable --role=NAME arguments...
  std::vector<std::string> arguments;
  std::string executable = "/proc/self/exe";
  base::Fd audit;                   // becomes the broker's fd 4; invalid: /dev/null
  std::string audit_path;           // watched: `reopen_audit` when it is rotated; empty: no file
  std::vector<base::Fd> listeners;  // for the broker: published ports that it may not open itself
  // The command line of a policy loader (role policy-loader, after --role); empty: there are no policy files
  // and the broker has a policy of its own. Asked again for each load.
  std::function<std::vector<std::string>(control::LoadCause)> loader_arguments;
  std::vector<std::string> watched_files;  // of the policy: when they change, a loader reads them
  // The audit sink opened again: its file was renamed. Invalid: there is none, or it cannot be had (the
  // callee has said so).
  std::function<base::Fd()> reopen_audit;
  // Where control clients come in, once the guest runs and for as long as the broker lives.
  std::optional<ControlListener> control;
  // Where the guest comes in, once the broker is ready, when it is a virtual machine.
  std::optional<VmPort> vm;
  std::string resolv_conf = "/etc/resolv.conf";
  bool verbose = false;
  bool quiet = false;   // no warning about missing isolation
  bool strict = false;  // an error instead
  base::Fd capture;     // a file that translators write the guest's frames to; invalid: none
  // Something else to wait for: called while it is readable; it must not block. -1: nothing.
  int side_fd = -1;
  std::function<void()> on_side;
  // Traffic flows, and COMMAND was released.
  std::function<void()> on_ready;
  // Called after the launcher has written its own line to stderr; app/ adds the audit record.
  std::function<void(const LauncherEvent&)> on_event;
};

class Launcher {
 public:
  explicit Launcher(LauncherConfig config);
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  // Ends and reaps whatever still runs.
  ~Launcher();

  // The exit status for main(): the command's, 0 when there is none; or the broker's when it refuses to start
  // (2: policy errors, already printed). An error is a start-up failure of our own, nothing runs any more
  // then.
  [[nodiscard]] base::Result<int> run(GuestStarter& guest);

 private:
  LauncherConfig config_;
};

}  // namespace cordon::sandbox
