#include "sandbox/children.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

namespace cordon::sandbox {
namespace {

// /proc/PID/stat from field 3 on; the name in field 2 may hold spaces and parentheses, so count from the last
// ')'. Empty: there is no such process.
std::string fields_from_state(pid_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  std::string line;
  std::getline(file, line);
  const auto end_of_name = line.rfind(')');
  if (end_of_name == std::string::npos || line.size() < end_of_name + 5) return {};
  return line.substr(end_of_name + 2);
}

pid_t parent_of(pid_t pid) {
  const std::string fields = fields_from_state(pid);
  if (fields.empty()) return -1;
  pid_t parent = -1;
  std::from_chars(fields.data() + 2, fields.data() + fields.size(), parent);  // "S "
  return parent;
}

// /proc/PID/task/TID/children would be quicker but is not in every kernel.
void kill_direct_children() {
  const std::unique_ptr<DIR, int (*)(DIR*)> proc{::opendir("/proc"), &::closedir};
  if (!proc) return;
  const pid_t self = ::getpid();
  while (const dirent* entry = ::readdir(proc.get())) {
    const std::string_view name{entry->d_name};
    pid_t pid = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && end == name.data() + name.size() && parent_of(pid) == self)
      ::kill(pid, SIGKILL);
  }
}

}  // namespace

void end_children(std::span<const pid_t> known) {
  for (const pid_t pid : known)
    if (pid > 0) ::waitpid(pid, nullptr, 0);
  // A child that forks faster than it is killed is bounded by this: the processes it had made are killed each
  // round.
  for (int round = 0; round < 10'000; ++round) {
    const pid_t reaped = ::waitpid(-1, nullptr, WNOHANG);
    if (reaped < 0 && errno != EINTR) return;  // ECHILD: none left
    if (reaped != 0) continue;
    kill_direct_children();
    ::waitpid(-1, nullptr, 0);
  }
}

bool is_runnable(pid_t pid) { return fields_from_state(pid).starts_with('R'); }

}  // namespace cordon::sandbox
