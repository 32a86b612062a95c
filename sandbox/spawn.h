// Starts one role: clone into its namespaces, identity, descriptors, exec of our own binary (own address
// layout).
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "sandbox/descriptors.h"
#include "sandbox/namespaces.h"
#include "sandbox/stages.h"

namespace cordon::sandbox {

struct Process {
  pid_t pid = -1;
  base::Fd pidfd;
  std::vector<NamespaceGrant::Refusal> refused;  // what it has to do without
  [[nodiscard]] bool running() const { return pid > 0; }
};

struct SpawnRequest {
  Role role = Role::kTranslator;
  int executable = -1;  // O_PATH
  std::vector<std::string> arguments;
  int control = -1;                     // becomes fd 3, if there is one
  int second = -1;                      // becomes fd 4, if there is one
  int third = -1;                       // becomes fd 6, if there is one
  std::vector<WorkerFds> more_workers;  // the translator's further ones, at most kMaxWorkers - 1
  std::vector<int> listeners;           // the broker's: sockets of ports that need a privilege
  int launcher = -1;                    // a pidfd of ourselves, becomes fd 5
  int input = -1;                       // becomes stdin; -1: /dev/null
  int output = -1;                      // becomes stdout; -1: /dev/null
  int diagnostics = -1;  // becomes stderr; never the terminal itself for the translator: it could read keys
  bool strict = false;   // an error when a namespace is refused
};

// With fewer namespaces where some are refused, unless the request is strict.
[[nodiscard]] base::Result<Process> spawn_role(const SpawnRequest& request);

// waitid on a process that has ended; the wait status as of waitpid, which it also reaps. -1: still running.
[[nodiscard]] int reap(Process& process);
// "exit status 1", "killed by signal 31 (Bad system call)".
[[nodiscard]] std::string describe_status(int status);
// Exit status for a shell: the status, or 128 + signal.
[[nodiscard]] int exit_code(int status);

}  // namespace cordon::sandbox
