// For what a process does not survive, or does not get rid of again: lost memory is noted once and for all.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cordon::vhost_client {

// What a child process made of it: its exit status, or minus the signal.
inline int in_child(int (*body)()) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGABRT, SIG_DFL);  // not the test framework's
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace cordon::vhost_client
