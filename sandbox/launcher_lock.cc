#include "sandbox/launcher_lock.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "sandbox/capabilities.h"
#include "sandbox/filter.h"
#include "sandbox/namespaces.h"

namespace cordon::sandbox {
namespace {

using State = IsolationReport::State;
using When = KeptCapability::When;

constexpr KeptCapability kKept[] = {
    {CAP_SETUID, "setuid", "id maps of restarted roles; without namespaces, to become nobody"},
    {CAP_SETGID, "setgid", "the same for groups"},
    {CAP_SETFCAP, "setfcap", "a map with root in it, where there is no nobody"},
    {CAP_KILL, "kill", "to end a command or a role that is another user now"},
    {CAP_DAC_OVERRIDE, "dac_override", "policy files, rotated logs, socket and pid files of other users"},
    {CAP_SYS_PTRACE, "sys_ptrace",
     "whose user namespace a control client is in (the filter forbids to trace)", When::kLooksAtPeers},
    {CAP_SYS_ADMIN, "sys_admin", "namespaces of restarted roles", When::kNamespacesByRoot},
    {CAP_SETPCAP, "setpcap", "empty bounding sets of restarted roles", When::kNamespacesByRoot},
};

using Sets = std::array<__user_cap_data_struct, 2>;

base::Result<Sets> current_sets() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  Sets sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return base::fail_errno("capget");
  return sets;
}

base::Result<void> set_sets(const Sets& sets) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  if (::syscall(SYS_capset, &header, sets.data()) != 0) return base::fail_errno("capset");
  return {};
}

Sets mask_of(bool looks_at_peers, bool namespaces_by_root) {
  Sets mask{};
  for (const KeptCapability& kept : kKept) {
    if (kept.when == When::kLooksAtPeers && !looks_at_peers) continue;
    if (kept.when == When::kNamespacesByRoot && !namespaces_by_root) continue;
    mask.at(kept.number / 32).permitted |= 1U << (kept.number % 32);
  }
  return mask;
}

base::Result<void> keep_only(const Sets& mask) {
  Sets sets = CORDON_TRY(current_sets());
  // Ambient first: clearing needs nothing. The bounding set needs CAP_SETPCAP; without it no program gives
  // more than there is, by no_new_privs.
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return base::fail_errno("prctl", "clear the ambient capabilities");
  for (unsigned number = 0; number < 64; ++number)
    if ((mask.at(number / 32).permitted & (1U << (number % 32))) == 0 &&
        ::prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0)
      break;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    sets.at(i).permitted &= mask.at(i).permitted;
    sets.at(i).effective = sets.at(i).permitted;
    sets.at(i).inheritable = 0;
  }
  return set_sets(sets);
}

// Whether a process with that little may make user namespaces: asked, not guessed (sysctls, security
// modules).
bool can_make_namespaces(const Sets& mask) {
  const long pid = ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) return false;
  if (pid == 0) {
    // Not unshare(): a loader has the launcher's filter already.
    const long child = keep_only(mask) ? ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) : -1;
    ::_exit(child >= 0 ? 0 : 1);
  }
  int status = 0;
  while (::waitpid(static_cast<pid_t>(pid), &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::string names_of(const Sets& sets) {
  std::string names;
  for (const KeptCapability& kept : kKept)
    if ((sets.at(kept.number / 32).permitted & (1U << (kept.number % 32))) != 0)
      names += (names.empty() ? "" : ", ") + std::string{kept.name};
  return names;
}

base::Result<void> reduce_capabilities(IsolationReport& report, bool looks_at_peers) {
  const Sets before = CORDON_TRY(current_sets());
  const bool none = before[0].permitted == 0 && before[1].permitted == 0;
  // A client that is root, too, has all of a container's capabilities: who has less and may not trace, may
  // not look at it.
  constexpr unsigned kTrace = 1U << CAP_SYS_PTRACE;
  if (looks_at_peers && ::geteuid() == 0 && (before[0].permitted & kTrace) == 0 && !none) {
    report.layers.push_back({"capabilities", State::kActive, "the container's, to look at control clients"});
    return {};
  }
  const Sets least = mask_of(looks_at_peers, false);
  const Sets mask = none || can_make_namespaces(least) ? least : mask_of(looks_at_peers, true);
  CORDON_TRY(keep_only(mask));
  const std::string names = names_of(CORDON_TRY(current_sets()));
  report.layers.push_back({names.empty() ? "no-capabilities" : "capabilities", State::kActive, names});
  return {};
}

}  // namespace

std::span<const KeptCapability> kept_capabilities() { return kKept; }

base::Result<IsolationReport> lock_launcher(Role role, const LauncherLock& options) {
  IsolationReport report{.role = role, .layers = {}};
  const Bpf filter = CORDON_TRY(compile_filter(launcher_profile(), ::getpid(), Unlisted::kFails));
  report.layers.push_back({"uid", State::kActive, std::to_string(::geteuid())});
  CORDON_TRY(reduce_capabilities(report, options.looks_at_peers));
  CORDON_TRY(set_no_new_privs());
  report.layers.push_back({"no-new-privs"});
  CORDON_TRY(no_core_files());
  if (options.looks_at_peers) {
    report.layers.push_back({"not-dumpable", State::kUnavailable, "cordon ctl looks at it"});
  } else {
    CORDON_TRY(not_dumpable());
    report.layers.push_back({"not-dumpable"});
  }
  report.layers.push_back({"mdwe", refuse_new_code()});
  CORDON_TRY(install_filter(filter));
  report.layers.push_back({"seccomp"});
  if (options.strict && !report.full())
    return base::fail(kStrictRefusal, "the launcher has no " + layer_names(report.missing()));
  return report;
}

}  // namespace cordon::sandbox
