// The launcher's inside: one life from the start of the roles to the end of everything. launcher.h has the
// theory. supervisor_start.cc starts, supervisor.cc is the loop, supervisor_policy.cc brings
// policies, supervisor_vm.cc serves a virtual machine's connections, supervisor_end.cc deals with whatever
// ended, supervisor_restart.cc starts translators again.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"
#include "sandbox/control.h"
#include "sandbox/diagnostics.h"
#include "sandbox/launcher.h"
#include "sandbox/launcher_signals.h"
#include "sandbox/log_watch.h"
#include "sandbox/policy_watch.h"
#include "sandbox/resolver_watch.h"
#include "sandbox/restart_pace.h"
#include "sandbox/spawn.h"

namespace cordon::sandbox {

class Supervisor {
 public:
  Supervisor(LauncherConfig& config, GuestStarter& guest) : config_(config), guest_(guest) {}
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor() { end_everything(); }

  base::Result<int> run();

 private:
  // Exit statuses of a start that failed; the broker's own for a policy error is the same.
  static constexpr int kPolicyError = 2;
  static constexpr int kOwnFailure = 125;
  // A translator that ended before it was ready: said when the broker's own refusal has not come meanwhile.
  struct FailedStart {
    std::string detail;
    base::Instant deadline;
  };
  struct Revocation {
    std::uint32_t serial;
    base::Instant deadline;
    base::Instant last;  // no excuse is good enough any more
  };

  // Start.
  base::Result<void> prepare();
  base::Result<void> start_broker();
  base::Result<void> start_guest();
  base::Result<void> start_translator();
  // The broker's own exit status, if it has ended (waits only for one that is closing its control socket).
  std::optional<int> broker_refusal();
  void trace(const char* what) const;
  // Spawns; remembers what namespaces it had to do without.
  base::Result<Process> spawn(SpawnRequest request);
  void note_refused(const std::vector<NamespaceGrant::Refusal>& refused);
  base::Result<void> look_ahead();
  void warn_of_missing_layers();
  base::Result<void> lock_itself();

  // Loop.
  void watch(int fd);
  base::Result<void> turn();
  [[nodiscard]] int milliseconds_to_deadline() const;
  base::Result<void> dispatch(int fd);
  base::Result<void> read_signals();
  void forward(const signalfd_siginfo& info);
  base::Result<void> read_control();
  // What confines the translator, and one byte when it is ready.
  base::Result<void> read_translator_ready();
  base::Result<void> go_when_ready();
  void send_resolvers();
  base::Result<void> watch_revocation();
  void work_deadlines();
  void open_control();
  void serve_control();
  void close_control();

  // Policy files.
  void load_policy(control::LoadCause cause);
  base::Result<void> start_loader(const std::vector<std::string>& arguments);
  void on_loader_ended(int status);
  void on_loader_failed(const std::string& why);
  void send_policy(base::Fd bundle);
  void reopen_audit();
  void send_waiting();
  void on_policy_sent();
  void on_policy_stuck();
  void watch_loader_deadline();

  // A virtual machine's connections.
  void open_vm();
  void rest_vm(base::Instant until);
  void serve_vm();
  void on_client(base::Fd client, const std::string& who);
  void on_vm_translator_ended(int status, bool killed_by_us, const std::string& detail);
  void on_connection_lost(LauncherEvent::Kind kind, const std::string& what, const std::string& detail);

  // Ends.
  void reap_children();
  void on_broker_ended(int status);
  void on_translator_ended(int status);
  void on_failed_start();

  // supervisor_restart.cc
  void restart_later(const std::string& detail);
  void start_again();
  void work_restart();
  void tell_settled(const std::string& how);

  // Nothing carries the guest's traffic any more: a command goes on, without one everything ends.
  void on_network_lost(LauncherEvent::Kind kind, const std::string& what, const std::string& detail);
  void on_interface_gone();
  [[nodiscard]] bool interface_gone() const;
  void kill_translator(std::string reason);
  static void say(const std::string& line);
  void report(LauncherEvent::Kind kind, const std::string& line, const std::string& detail);
  // An orderly end: the translator reports its last counters, then the broker writes its last records.
  void stop();
  template <class Done>
  void wait_for(Done done, base::Duration limit);
  // Kills and reaps every child, and what becomes our child by that, until there is none.
  void end_everything();

  LauncherConfig& config_;
  GuestStarter& guest_;
  LauncherSignals signals_;
  std::optional<PolicyWatch> policy_watch_;
  ResolverWatch resolvers_{config_.resolv_conf};
  LogWatch log_watch_{config_.audit_path};
  DiagnosticsPipe diagnostics_;
  base::Fd executable_;
  base::Fd self_;
  base::Fd epoll_;
  std::vector<base::Fd> taps_;
  bool bulk_queues_ = false;
  std::optional<control::LauncherControl> control_;
  std::optional<control::Resolvers> sent_resolvers_;
  Process broker_;
  Process translator_;
  Process loader_;
  pid_t command_ = -1;
  std::optional<int> broker_status_;
  std::optional<int> translator_status_;
  std::optional<int> loader_status_;
  control::LoadCause loading_ = control::LoadCause::kStart;  // of the load under way, or the last one
  std::optional<control::LoadCause> load_again_;
  base::Fd bundle_;       // the loader fills it
  base::Fd sent_bundle_;  // the broker has it, or will
  bool policy_waits_ = false;
  base::Instant policy_deadline_ = base::Instant::never();  // until when it may wait
  bool translator_held_ = false;                            // ended, and not started while the policy waits
  bool nothing_waits_ = false;  // who asked for a reload is still to hear that there is no file
  base::Fd fresh_audit_;        // waits to be sent
  base::Instant loader_deadline_ = base::Instant::never();
  base::Instant send_due_ = base::Instant::never();
  base::Instant control_due_ = base::Instant::never();  // too many came: when to look again
  bool refusal_told_ = false;
  base::Instant vm_due_ = base::Instant::never();  // when to look for clients again
  bool vm_refusal_told_ = false;
  std::optional<Revocation> revoke_;
  std::string kill_reason_;
  bool translator_ending_ = false;  // its end is being looked at; the reason may still arrive
  RestartPace pace_;
  base::Instant restart_due_ = base::Instant::never();
  base::Instant begun_;
  base::Fd translator_output_;
  std::string translator_words_;
  std::optional<FailedStart> failed_start_;
  std::uint32_t missing_layers_ = 0;  // of any role, known so far
  int refusal_ = 0;                   // the errno of the first refused namespace
  bool has_command_ = false;
  bool broker_ready_ = false;
  bool translator_ready_ = false;
  bool ready_ = false;  // both, and the guest was let go
  bool broker_gone_ = false;
  bool asked_to_end_ = false;
  bool ended_ = false;
  std::optional<int> result_;
};

}  // namespace cordon::sandbox
