#include "sandbox/stages.h"

#include <fcntl.h>
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
#include <fstream>

#include "core/base/fd.h"
#include "sandbox/capabilities.h"
#include "sandbox/control.h"
#include "sandbox/descriptors.h"
#include "sandbox/filter.h"
#include "sandbox/namespaces.h"

namespace cordon::sandbox {
namespace {

using State = IsolationReport::State;

constexpr rlim_t kReaderSeconds = 2;
constexpr rlim_t kReaderMemory = rlim_t{384} << 20U;

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

base::Result<void> not_dumpable() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return base::fail_errno("prctl", "PR_SET_DUMPABLE");
  return set_limit(RLIMIT_CORE, "RLIMIT_CORE");
}

void add_namespaces(IsolationReport& report) {
  // The launcher's clone gives all of them or fails, and being its child is checked at begin.
  for (const std::string_view name : {"user-ns", "mnt-ns", "ipc-ns", "uts-ns"})
    report.layers.push_back({name});
  if (is_secluded(report.role)) {
    report.layers.push_back({"net-ns"});
    report.layers.push_back({"pid-ns", ::getpid() == 1 ? State::kActive : State::kFailed});
  }
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

base::Result<void> shed_privileges(IsolationReport& report) {
  const auto ids = host_uids();  // readable only while there is a /proc
  CORDON_TRY(enter_empty_root());
  report.layers.push_back({"empty-root"});
  CORDON_TRY(bound_capabilities());
  const bool lowered = CORDON_TRY(lower_identity());
  report.layers.push_back({"uid", State::kActive, lowered ? ids[1] : ids[0]});
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
  add_namespaces(report);
  // Compiled first: libseccomp needs a memfd, and memory.
  const Bpf filter = CORDON_TRY(compile_filter(profile, ::getpid()));
  CORDON_TRY(shed_privileges(report));
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
  // Before the filter: it leaves the translator no way to grow its heap.
  if (options.print_report) std::fprintf(stderr, "cordon: %s\n", report.summary().c_str());
  if (options.strict && !report.full()) return base::fail("isolation", "not complete: " + report.summary());
  CORDON_TRY(install_filter(filter));
  return report;
}

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kBroker: return "broker";
    case Role::kTranslator: return "translator";
    case Role::kPolicyReader: return "policy-reader";
    case Role::kPolicyLoader: return "policy-loader";
  }
  return "?";
}

bool IsolationReport::full() const {
  for (const auto& layer : layers)
    if (layer.state == State::kFailed) return false;
  return true;
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
    case Role::kPolicyLoader: break;
  }
  return kFirstFreeFd;
}

const char* process_name(Role role) {
  switch (role) {
    case Role::kBroker: return "cordon-broker";
    case Role::kTranslator: return "cordon-transl";
    case Role::kPolicyReader: return "cordon-reader";
    case Role::kPolicyLoader: break;
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
  // The loader writes its children's id maps, which belong to root when it cannot be dumped.
  if (role != Role::kPolicyLoader) CORDON_TRY(not_dumpable());
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
