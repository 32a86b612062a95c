// Start-up of a confined role, as named stages. The order is written here, once.
//
// A confined role begins with begin_role() as the first thing in main() and ends with lock_broker(),
// lock_translator() or lock_policy_reader() as the last thing before its work. What happens where:
//
//   stage          who    should                                                   must not
//   -----------------------------------------------------------------------------------------------------------
//   spawn          launch clone into own user, net, pid, ipc, uts namespaces       inherit more than fds 0-5
//                         (translator), uid 0 mapped; then exec: own layout
//   begin          role   stdio valid, fds above 4 closed, umask, environment      read configuration
//                         cleared, not dumpable, no core, dies with the launcher
//   prepare        role   open, parse, reserve memory: all it will ever need       touch guest bytes
//   root           lock   own mnt namespace, pivot_root into an empty tmpfs        keep a path to the host
//   identity       lock   leave root where a lesser uid is mapped or allowed       keep supplementary groups
//   capabilities   lock   empty every set and the bounding set; securebits         need a capability
//   privileges     lock   no_new_privs, MDWE, Landlock, rlimits                    grow again
//   threads        lock   of the translator: they inherit all of the above         touch guest bytes
//   filter         lock   the role's seccomp profile, last, for every thread       allocate or open
//   serve          role   its loop                                                 -
//
// Where namespaces or mounts are refused (a container), a role does without: each missing layer is a failed
// one in its report, and the launcher says so in one line. What then holds it: its filter, Landlock (no rule:
// no file, whether or not the root is empty), its limits and, started as root, the lesser uid.
//
// Everything that is really active is in the IsolationReport.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"

namespace cordon::sandbox {

enum class Role : std::uint8_t {
  kBroker,
  kTranslator,
  kPolicyReader,  // one policy file: YAML in, an encoded tree out
  kPolicyLoader,  // opens the policy files and starts their readers; parses nothing (launcher_lock.h)
  kLauncher,      // never started as a role; for its report (launcher_lock.h)
};
[[nodiscard]] std::string_view to_string(Role role);
// Has nothing to do with any network or other process.
[[nodiscard]] constexpr bool is_secluded(Role role) {
  return role == Role::kTranslator || role == Role::kPolicyReader;
}

// What confines a process now: printed under --verbose, later in status. `full()` is false when a layer that
// this kernel could give is missing.
struct IsolationReport {
  enum class State : std::uint8_t { kActive, kUnavailable, kFailed };
  struct Layer {
    std::string_view name;  // "user namespace", "seccomp", ...
    State state = State::kActive;
    std::string detail;
  };
  Role role = Role::kTranslator;
  std::vector<Layer> layers;
  [[nodiscard]] bool full() const;
  // The failed ones, a bit for each place in kOptionalLayers.
  [[nodiscard]] std::uint32_t missing() const;
  // One line: "translator: user-ns net-ns ... ; unavailable: landlock (not in this kernel)".
  [[nodiscard]] std::string summary() const;
};

// What a role can do without where its surroundings refuse it; the rest is there or the role does not start.
inline constexpr std::array<std::string_view, 11> kOptionalLayers{
    "user-ns",    "net-ns", "pid-ns",       "ipc-ns", "uts-ns",  "mnt-ns",
    "empty-root", "uid",    "bounding-set", "mdwe",   "landlock"};
[[nodiscard]] std::uint32_t layer_bit(std::string_view name);
// "user-ns, net-ns"
[[nodiscard]] std::string layer_names(std::uint32_t bits);

// Error::op when `strict` is why a process does not start.
inline constexpr std::string_view kStrictRefusal = "--isolation strict:";

struct LockOptions {
  unsigned max_fds = 1024;    // RLIMIT_NOFILE from here on, bounded by the hard limit
  bool print_report = false;  // on stderr, just before the filter
  bool strict = false;        // fail when a layer of this kernel could not be had
  bool maps_memory = false;   // of the translator: memory_translator_profile()
  // Starts the threads that share the process. Called when every privilege is gone, because credentials,
  // no_new_privs and Landlock belong to a thread and a new one inherits them; the filter, installed last,
  // covers all of them. Each calls `lock_thread` first and must not touch guest bytes before the lock is
  // done.
  std::function<base::Result<void>(std::function<base::Result<void>()> lock_thread)> start_threads;
  std::uint64_t max_output = 0;  // of a secluded role: how long a file that it writes may become
};

[[nodiscard]] base::Result<void> begin_role(Role role);
[[nodiscard]] base::Result<void> not_dumpable();  // nor a core file
[[nodiscard]] base::Result<void> no_core_files();
// `epoll`, netlink, channel, audit and control descriptors must be open by now: nothing can be opened
// afterwards. The broker keeps the host's network namespace.
[[nodiscard]] base::Result<IsolationReport> lock_broker(const LockOptions& options);
[[nodiscard]] base::Result<IsolationReport> lock_translator(const LockOptions& options);
// Its limits of time and memory are set here, too.
[[nodiscard]] base::Result<IsolationReport> lock_policy_reader(const LockOptions& options);

}  // namespace cordon::sandbox
