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

// Field 4 of /proc/PID/stat; the name in field 2 may hold spaces and parentheses, so count from the last ')'.
pid_t parent_of(pid_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  std::string line;
  std::getline(file, line);
  const auto end_of_name = line.rfind(')');
  if (end_of_name == std::string::npos || line.size() < end_of_name + 5) return -1;
  pid_t parent = -1;
  const char* const begin = line.data() + end_of_name + 4;  // ") S "
  std::from_chars(begin, line.data() + line.size(), parent);
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

}  // namespace cordon::sandbox
