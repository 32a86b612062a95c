#include "sandbox/spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "sandbox/control.h"
#include "sandbox/descriptors.h"
#include "sandbox/exec_label.h"

namespace cordon::sandbox {
namespace {

// Only what a sanitizer's runtime reads is kept of the environment, and that only in its own builds.
// `refused` tells the role what it has to do without.
std::vector<char*> environment_for_role(std::string& refused) {
  std::vector<char*> kept;
  if (refused.size() > kRefusedVariable.size()) kept.push_back(refused.data());
#ifdef CORDON_SANITIZED
  for (const char* const name : {"ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS="})
    for (char** entry = environ; *entry != nullptr; ++entry)
      if (std::strncmp(*entry, name, std::strlen(name)) == 0) kept.push_back(*entry);
#endif
  kept.push_back(nullptr);
  return kept;
}

// Runs in the child between clone and exec: system calls only, everything was prepared before. The exit
// status names the step, should one fail: the parent's message is all the user sees.
struct Move {
  int from;
  int to;
};
struct ChildPlan {
  const SpawnRequest& request;
  std::vector<Move>& moves;
  char* const* argv;
  char* const* envp;
  const ExecLabel& label;
  int go;
  bool own_user_namespace;
};

[[noreturn]] void child_fail(const char* step) {
  const std::array<std::string_view, 3> parts{"cordon: cannot start a role: ", step, "\n"};
  for (const auto part : parts) static_cast<void>(!::write(2, part.data(), part.size()));
  ::_exit(1);
}

std::vector<Move> plan_moves(const SpawnRequest& request, int null) {
  std::vector<Move> moves;
  moves.reserve(16);  // usual; with the list as initializer GCC 12 -O3 warns of a bound it makes up
  const auto add = [&](int from, int to) {
    if (from >= 0) moves.push_back({from, to});
  };
  add(request.input < 0 ? null : request.input, STDIN_FILENO);
  add(request.output < 0 ? null : request.output, STDOUT_FILENO);
  add(request.diagnostics < 0 ? null : request.diagnostics, STDERR_FILENO);
  add(request.control, control::kControlFd);
  add(request.second, control::kSecondFd);
  add(request.launcher, kLauncherFd);
  add(request.third, kFirstFreeFd);
  for (unsigned worker = 1; worker <= request.more_workers.size(); ++worker) {
    const WorkerFds from = request.more_workers[worker - 1];
    add(from.channel, worker_fds(worker).channel);
    add(from.tap, worker_fds(worker).tap);
    add(from.bulk, worker_fds(worker).bulk);
  }
  int next = kFirstFreeFd;
  for (const int listener : request.listeners) add(listener, next++);
  return moves;
}

// First out of the way of every target number, then into place.
void place_descriptors(const ChildPlan& plan) {
  auto& moves = plan.moves;
  const int first_free = 1 + std::ranges::max(moves, {}, &Move::to).to;
  for (auto& move : moves) {
    move.from = ::fcntl(move.from, F_DUPFD_CLOEXEC, first_free);
    if (move.from < 0) child_fail("descriptors");
  }
  const int executable = ::fcntl(plan.request.executable, F_DUPFD_CLOEXEC, first_free);
  // Everything, then what is laid out: dup2() leaves a copy open.
  if (!close_from(STDERR_FILENO + 1, Rest::kCloseOnExec)) child_fail("close_range");
  for (const auto& move : moves)
    if (::dup2(move.from, move.to) < 0) child_fail("descriptors");
  const auto execute = [&] { ::syscall(SYS_execveat, executable, "", plan.argv, plan.envp, AT_EMPTY_PATH); };
  plan.label.ask();
  execute();
  if (plan.label.take_back()) execute();
  child_fail("exec");
}

[[noreturn]] void run_child(const ChildPlan& plan) {
  if (plan.own_user_namespace) {
    char byte = 0;
    if (::read(plan.go, &byte, 1) != 1) ::_exit(1);  // the id maps are written, or the launcher gave up
    // Inside id 0, so that the capabilities needed for the empty root survive exec. Raw: glibc would signal
    // threads.
    if (::syscall(SYS_setresgid, 0, 0, 0) != 0 || ::syscall(SYS_setresuid, 0, 0, 0) != 0)
      child_fail("identity");
  }
  ::setsid();  // the terminal's signals are for the launcher and the command
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || !is_alive(plan.request.launcher)) ::_exit(1);
  // Handlers first: what is pending must not reach those of the launcher.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD}) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  place_descriptors(plan);
  ::_exit(1);
}

base::Result<void> release_child(pid_t pid, const SpawnRequest& request, int go) {
  CORDON_TRY(write_id_maps(pid, request.role, choose_identity(request.executable)));
  if (::write(go, "g", 1) != 1) return base::fail_errno("write", "start of a role");
  return {};
}

// A child's id maps belong to root while it cannot be dumped, which it inherits: its maps could then not be
// written by an ordinary user. Until exec it has a copy of us, hence as short as can be.
class Dumpable {
 public:
  Dumpable() : before_(::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)) {
    if (before_ == 0) ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  }
  Dumpable(const Dumpable&) = delete;
  Dumpable& operator=(const Dumpable&) = delete;
  ~Dumpable() {
    if (before_ == 0) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  }

 private:
  int before_;
};

// clone(), not clone3(): a filter can see its flags, so containers allow it to those who ask for no
// namespace.
long clone_with(std::uint64_t flags, int& pidfd) {
  return ::syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0);
}

base::Result<Process> spawn_with(const SpawnRequest& request, const NamespaceGrant& grant) {
  std::array<int, 2> pipe_fds{};
  if (::pipe2(pipe_fds.data(), O_CLOEXEC) != 0) return base::fail_errno("pipe");
  const base::Fd wait_end{pipe_fds[0]};
  base::Fd go_end{pipe_fds[1]};
  const base::Fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  if (!null) return base::fail_errno("open", "/dev/null");

  std::vector<std::string> words{"cordon", "--role=" + std::string{to_string(request.role)}};
  words.insert(words.end(), request.arguments.begin(), request.arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string refused = std::string{kRefusedVariable} + to_text(grant.refused);
  const auto envp = environment_for_role(refused);
  auto moves = plan_moves(request, null.get());
  const bool own_user = (grant.flags & CLONE_NEWUSER) != 0;
  const ExecLabel label = ExecLabel::find(request.role);
  const ChildPlan plan{request, moves, argv.data(), envp.data(), label, wait_end.get(), own_user};

  int pidfd = -1;
  long pid = -1;
  {
    const Dumpable child_is;
    pid = clone_with(grant.flags, pidfd);
    if (pid == 0) {
      ::close(pipe_fds[1]);
      run_child(plan);
    }
  }
  if (pid < 0) return base::fail_errno("clone", "process " + std::string{to_string(request.role)});
  Process process{static_cast<pid_t>(pid), base::Fd{pidfd}, grant.refused};
  if (!own_user) return process;
  if (auto released = release_child(process.pid, request, go_end.get()); !released) {
    go_end.reset();  // the child ends by itself
    ::waitpid(process.pid, nullptr, 0);
    return std::unexpected(std::move(released).error());
  }
  return process;
}

}  // namespace

base::Result<Process> spawn_role(const SpawnRequest& request) {
  NamespaceGrant grant{.flags = namespace_flags(request.role), .refused = {}};
  auto process = spawn_with(request, grant);
  if (process || request.role == Role::kPolicyLoader) return process;
  const base::Error error = process.error();
  if (!is_namespace_refusal(error.sys_errno)) return std::unexpected(explain_refusal(error.sys_errno));
  // A namespace of users without users in it (its map could not be written) is none.
  const bool unmapped = error.op != "clone";
  grant = find_namespaces(request.role, unmapped ? UserNamespace::kRefused : UserNamespace::kWanted,
                          unmapped ? error.sys_errno : 0);
  if (request.strict) return std::unexpected(strict_refusal(grant.refused));
  return spawn_with(request, grant);
}

int reap(Process& process) {
  if (!process.running()) return -1;
  int status = 0;
  if (::waitpid(process.pid, &status, WNOHANG) != process.pid) return -1;
  process = Process{};
  return status;
}

std::string describe_status(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    const char* const text = ::sigdescr_np(signal);
    return "killed by signal " + std::to_string(signal) + " (" + (text != nullptr ? text : "?") + ")";
  }
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

int exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace cordon::sandbox
