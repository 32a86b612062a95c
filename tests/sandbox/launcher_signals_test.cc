// What a signal does that comes when the launcher has already stopped listening.
#include "sandbox/launcher_signals.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string_view>

namespace cordon::sandbox {
namespace {

// In a process of its own: the signal may end it. `late`: after the mask has been put back.
int status_after(int signal, bool late) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(signal, SIG_DFL);  // the test runner has a handler of its own for some
    {
      LauncherSignals signals;
      if (!signals.open()) ::_exit(2);
      if (!late) ::raise(signal);
    }
    if (late) ::raise(signal);
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

TEST_CASE("launcher signals: a wish to reload that comes at the end does not become the exit status") {
  const struct {
    std::string_view name;
    int signal;
    bool ends;
  } cases[] = {
      {"reload", SIGHUP, false},
      {"open the audit log again", SIGUSR1, false},
      {"end", SIGTERM, true},
      {"interrupt", SIGINT, true},
  };
  for (const auto& c : cases) {
    for (const bool late : {false, true}) {
      CAPTURE(c.name);
      CAPTURE(late);
      const int status = status_after(c.signal, late);
      if (c.ends) {
        CHECK(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == c.signal);
      } else {
        CHECK(status == 0);
      }
    }
  }
}

}  // namespace
}  // namespace cordon::sandbox
