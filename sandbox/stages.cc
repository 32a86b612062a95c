#include "sandbox/stages.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "core/base/fd.h"
#include "sandbox/capabilities.h"
#include "sandbox/control.h"
#include "sandbox/descriptors.h"
#include "sandbox/exec_label.h"
#include "sandbox/filter.h"
#include "sandbox/namespaces.h"

namespace cordon::sandbox {
namespace {

using State = IsolationReport::State;

constexpr rlim_t kReaderSeconds = 2;
[[maybe_unused]] constexpr rlim_t kReaderMemory = rlim_t{384} << 20U;  // not in a sanitized build

base::Result<void> set_limit(__rlimit_resource resource, const char* name, rlim_t most = 0) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return base::fail_errno("getrlimit", name);
  limit.rlim_max = std::min(limit.rlim_max, most);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(resource, &limit) != 0) return base::fail_errno("setrlimit", name);
  return {};
}

// The kernel clears the death signal whenever credentials change, so it is set at begin and again at lock.
base::Result<void> die_with_launcher() {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return base::fail_errno("prctl", "PR_SET_PDEATHSIG");
  // getppid() says 0 across pid namespaces; the launcher's pidfd tells whether it died before the call.
  if (!is_alive(kLauncherFd)) return base::fail("launcher", "is gone");
  return {};
}

// The launcher's clone gave what it did not say it has not, and being its child is checked at begin.
void add_namespaces(IsolationReport& report, const std::vector<NamespaceGrant::Refusal>& refused) {
  const auto add = [&](std::string_view name) {
    const auto no = std::ranges::find(refused, name, &NamespaceGrant::Refusal::name);
    if (no == refused.end())
      report.layers.push_back({name});
    else
      report.layers.push_back({name, State::kFailed, ::strerrordesc_np(no->error)});
  };
  for (const std::string_view name : {"user-ns", "ipc-ns", "uts-ns"}) add(name);
  if (!is_secluded(report.role)) return;
  for (const std::string_view name : {"net-ns", "pid-ns"}) add(name);
  auto& pid_layer = report.layers.back();
  if (pid_layer.state == State::kActive && ::getpid() != 1) pid_layer.state = State::kFailed;
}

// The host's uid behind inside ids 0 and 1, as text ("?": not mapped).
std::array<std::string, 2> host_uids() {
  std::array<std::string, 2> ids{"?", "?"};
  std::ifstream map{"/proc/self/uid_map"};
  unsigned inside = 0;
  std::string outside;
  std::string count;
  while (map >> inside >> outside >> count)
    if (inside < ids.size()) ids.at(inside) = outside;
  return ids;
}

void add_outcome(IsolationReport& report, std::string_view name, const base::Result<void>& outcome) {
  if (outcome)
    report.layers.push_back({name});
  else
    report.layers.push_back({name, State::kFailed, base::describe(outcome.error())});
}

void leave_file_system(IsolationReport& report) {
  const auto own = enter_mount_namespace();
  add_outcome(report, "mnt-ns", own);
  add_outcome(report, "empty-root",
              own ? enter_empty_root() : base::Result<void>{base::fail({}, "no mnt-ns")});
  static_cast<void>(!::chdir("/"));
}

// Without a user namespace: root becomes nobody where it may, and where the launcher can still end it.
bool may_become_nobody() {
  return ::geteuid() == 0 && has_capability(CAP_SETUID) && has_capability(CAP_SETGID) &&
         has_capability(CAP_KILL);
}

base::Result<void> shed_identity(IsolationReport& report, bool own_user_namespace) {
  if (own_user_namespace) {
    const auto ids = host_uids();  // readable only while there is a /proc
    leave_file_system(report);
    CORDON_TRY(bound_capabilities());
    const bool lowered = CORDON_TRY(lower_identity(1));
    report.layers.push_back({"uid", State::kActive, lowered ? ids[1] : ids[0]});
    return {};
  }
  const bool lower = may_become_nobody();
  leave_file_system(report);
  if (const auto bound = bound_capabilities(); !bound) {
    // What is not permitted cannot be raised without a new program, and there is none (no_new_privs, filter).
    if (bound.error().sys_errno != EPERM) return bound;
    add_outcome(report, "bounding-set", bound);
  }
  const bool lowered = lower && CORDON_TRY(lower_identity(kNobody));
  const auto uid = ::geteuid();
  report.layers.push_back({"uid", uid == 0 ? State::kFailed : State::kActive,
                           std::to_string(uid) + (uid == 0 && !lowered ? ", may not become nobody" : "")});
  return {};
}

base::Result<void> shed_privileges(IsolationReport& report, bool own_user_namespace) {
  CORDON_TRY(shed_identity(report, own_user_namespace));
  CORDON_TRY(drop_capabilities());
  report.layers.push_back({"no-capabilities"});
  CORDON_TRY(set_no_new_privs());
  report.layers.push_back({"no-new-privs"});
  return {};
}

// A file that makes the library spin or grow ends its reader and nothing else.
base::Result<void> limit_reader() {
  CORDON_TRY(set_limit(RLIMIT_CPU, "RLIMIT_CPU", kReaderSeconds));
#ifndef CORDON_SANITIZED  // its shadow memory takes terabytes of address space
  CORDON_TRY(set_limit(RLIMIT_AS, "RLIMIT_AS", kReaderMemory));
#endif
  return {};
}

base::Result<IsolationReport> lock(Role role, std::span<const Table> profile, const LockOptions& options) {
  IsolationReport report{.role = role, .layers = {}};
  const auto refused = refused_namespaces();
  add_namespaces(report, refused);
  // A security module's, while there is a /proc to ask.
  if (const auto label = own_label(); !label.empty())
    report.layers.push_back({"label", State::kActive, label});
  // Compiled first: libseccomp needs a memfd, and memory.
  const Bpf filter = CORDON_TRY(compile_filter(profile, ::getpid()));
  CORDON_TRY(shed_privileges(
      report, std::ranges::find(refused, "user-ns", &NamespaceGrant::Refusal::name) == refused.end()));
  CORDON_TRY(not_dumpable());
  report.layers.push_back({"not-dumpable"});
  report.layers.push_back({"mdwe", refuse_new_code()});
  std::string detail;
  const State landlock = apply_landlock(role, detail);
  report.layers.push_back({"landlock", landlock, detail});
  const unsigned fds = CORDON_TRY(limit_fds(options.max_fds));
  report.layers.push_back({"nofile", State::kActive, std::to_string(fds)});
  if (options.start_threads)
    CORDON_TRY(options.start_threads([&filter] { return install_thread_filter(filter); }));
  if (is_secluded(role)) {
    CORDON_TRY(set_limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", options.max_output));
    CORDON_TRY(set_limit(RLIMIT_NPROC, "RLIMIT_NPROC"));
  }
  if (role == Role::kPolicyReader) CORDON_TRY(limit_reader());
  CORDON_TRY(die_with_launcher());
  ::close(kLauncherFd);
  report.layers.push_back({"dies-with-launcher"});
  const bool weakened = !sanitizer_table().rows.empty();
  report.layers.push_back({"seccomp", State::kActive, weakened ? "widened for a sanitizer build" : ""});
  if (role == Role::kTranslator) tell_isolation((report.full() ? "full " : "part ") + report.summary());
  // Before the filter: it leaves the translator no way to grow its heap.
  if (options.print_report) std::fprintf(stderr, "cordon: %s\n", report.summary().c_str());
  if (options.strict && !report.full())
    return base::fail(kStrictRefusal,
                      "no " + layer_names(report.missing()) + " (--verbose without it says why)");
  CORDON_TRY(install_filter(filter));
  return report;
}

}  // namespace

base::Result<void> no_core_files() { return set_limit(RLIMIT_CORE, "RLIMIT_CORE"); }

base::Result<void> not_dumpable() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return base::fail_errno("prctl", "PR_SET_DUMPABLE");
  return no_core_files();
}

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kBroker: return "broker";
    case Role::kTranslator: return "translator";
    case Role::kPolicyReader: return "policy-reader";
    case Role::kPolicyLoader: return "policy-loader";
    case Role::kLauncher: return "launcher";
  }
  return "?";
}

bool IsolationReport::full() const {
  for (const auto& layer : layers)
    if (layer.state == State::kFailed) return false;
  return true;
}

std::uint32_t layer_bit(std::string_view name) {
  const auto at = std::ranges::find(kOptionalLayers, name);
  return at == kOptionalLayers.end() ? 0 : 1U << static_cast<unsigned>(at - kOptionalLayers.begin());
}

std::string layer_names(std::uint32_t bits) {
  std::string names;
  for (const auto name : kOptionalLayers)
    if ((bits & layer_bit(name)) != 0) names += (names.empty() ? "" : ", ") + std::string{name};
  return names;
}

std::uint32_t IsolationReport::missing() const {
  std::uint32_t bits = 0;
  for (const auto& layer : layers)
    if (layer.state == State::kFailed) bits |= layer_bit(layer.name);
  return bits;
}

std::string IsolationReport::summary() const {
  std::string active;
  std::string missing;
  for (const auto& layer : layers) {
    std::string& text = layer.state == State::kActive ? active : missing;
    text += ' ';
    text += layer.name;
    if (layer.state == State::kFailed) text += " FAILED";
    if (!layer.detail.empty()) text += " (" + layer.detail + ")";
  }
  return std::string{to_string(role)} + ":" + active + (missing.empty() ? "" : "; unavailable:" + missing);
}

namespace {

bool has_its_descriptors(Role role) {
  // A reader's answer and a loader's bundle are memfds.
  if (role == Role::kPolicyReader || role == Role::kPolicyLoader)
    return ::fcntl(STDOUT_FILENO, F_GET_SEALS) >= 0 && ::fcntl(kLauncherFd, F_GETFD) >= 0;
  return is_packet_socket(control::kControlFd) && ::fcntl(control::kSecondFd, F_GETFD) >= 0;
}

int first_foreign_fd(Role role) {
  switch (role) {
    case Role::kBroker: return kFirstFreeFd + count_listeners();
    case Role::kTranslator: return worker_fds(count_workers()).channel;
    case Role::kPolicyReader:
    case Role::kPolicyLoader:
    case Role::kLauncher: break;
  }
  return kFirstFreeFd;
}

const char* process_name(Role role) {
  switch (role) {
    case Role::kBroker: return "cordon-broker";
    case Role::kTranslator: return "cordon-transl";
    case Role::kPolicyReader: return "cordon-reader";
    case Role::kPolicyLoader:
    case Role::kLauncher: break;
  }
  return "cordon-loader";
}

}  // namespace

base::Result<void> begin_role(Role role) {
  CORDON_TRY(ensure_standard_fds());
  if (!has_its_descriptors(role))
    return base::fail(to_string(role), "--role is for the launcher, not for the command line");
  CORDON_TRY(die_with_launcher());
  CORDON_TRY(close_from(first_foreign_fd(role), Rest::kClose));
  CORDON_TRY(not_dumpable());
  ::prctl(PR_SET_NAME, process_name(role), 0, 0, 0);
  // The heap never shrinks: free() must not need a system call that the filter forbids.
  ::mallopt(M_TRIM_THRESHOLD, INT_MAX);
  ::umask(077);
  // A socket that is gone is EPIPE, a full audit file is EFBIG: never the end of the process.
  for (const int signal : {SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_IGN);
  return {};
}

base::Result<IsolationReport> lock_broker(const LockOptions& options) {
  return lock(Role::kBroker, broker_profile(), options);
}
base::Result<IsolationReport> lock_translator(const LockOptions& options) {
  return lock(Role::kTranslator, options.maps_memory ? memory_translator_profile() : translator_profile(),
              options);
}
base::Result<IsolationReport> lock_policy_reader(const LockOptions& options) {
  return lock(Role::kPolicyReader, reader_profile(), options);
}

}  // namespace cordon::sandbox
