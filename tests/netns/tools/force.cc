// Makes another process enter a system call of our choice, by ptrace: what its seccomp filter does about it
// is then seen in the process itself, as it runs. x86-64 only.
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstdio>

#include "tests/netns/tools/server.h"

namespace cordon::traffic {
namespace {

// The process must wait in a system call, as an idle one does: the instruction before its next one is then
// the `syscall` that it entered by, and entering that again needs no change of its memory.
int force_command(const Options&, std::span<const std::string> arguments) {
#if defined(__x86_64__)
  const auto pid = static_cast<pid_t>(parse_number(arguments[0]));
  if (ptrace(PTRACE_SEIZE, pid, nullptr, PTRACE_O_TRACESYSGOOD) != 0) fail_errno("PTRACE_SEIZE");
  if (ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) != 0) fail_errno("PTRACE_INTERRUPT");
  int status = 0;
  if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) fail("it does not stop");
  user_regs_struct registers{};
  if (ptrace(PTRACE_GETREGS, pid, nullptr, &registers) != 0) fail_errno("PTRACE_GETREGS");
  if (static_cast<long long>(registers.orig_rax) < 0) fail("it is not in a system call");
  registers.rip -= 2;
  registers.rax = parse_number(arguments[1]);
  registers.orig_rax = ~0ULL;  // no restart of the call that was interrupted
  unsigned long long* const places[] = {&registers.rdi, &registers.rsi, &registers.rdx,
                                        &registers.r10, &registers.r8,  &registers.r9};
  for (std::size_t i = 0; i < 6; ++i)
    *places[i] = i + 2 < arguments.size() ? parse_number(arguments[i + 2]) : 0;
  if (ptrace(PTRACE_SETREGS, pid, nullptr, &registers) != 0) fail_errno("PTRACE_SETREGS");
  // Into the call, out of it, and into the next one, which it must not reach. A filter that kills lets the
  // call end first, its number given back as the result; the signal may stop the process once more, for us to
  // pass on.
  long passed = 0;
  for (int call_stops = 0; call_stops < 3;) {
    if (ptrace(PTRACE_SYSCALL, pid, nullptr, passed) != 0) fail_errno("PTRACE_SYSCALL");
    if (waitpid(pid, &status, __WALL) != pid) fail_errno("waitpid");
    if (WIFSIGNALED(status)) {
      std::printf("{\"command\": \"force\", \"signal\": %d}\n", WTERMSIG(status));
      return WTERMSIG(status) == SIGSYS ? 0 : 1;
    }
    if (WIFEXITED(status)) fail("it exited with %d", WEXITSTATUS(status));
    const bool in_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
    if (in_call && ++call_stops == 2 && ptrace(PTRACE_GETREGS, pid, nullptr, &registers) != 0)
      fail_errno("PTRACE_GETREGS");
    passed = in_call ? 0 : WSTOPSIG(status);
  }
  kill(pid, SIGKILL);
  fail("the call returned %lld", static_cast<long long>(registers.rax));
#else
  (void)arguments;
  std::puts("not on this architecture");
  return 77;
#endif
}

constexpr std::array kCommands{CommandEntry{"force", "PID NUMBER [ARGUMENT...]", force_command, 2}};

}  // namespace

std::span<const CommandEntry> force_commands() { return kCommands; }

}  // namespace cordon::traffic
