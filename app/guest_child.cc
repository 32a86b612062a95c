#include "app/guest_child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "app/guest_namespace.h"
#include "app/guest_notes.h"
#include "app/options_threads.h"
#include "sandbox/capabilities.h"

namespace cordon::app {
namespace {

// Everything up to the point where the command may start.
base::Result<void> prepare(int channel, const RunOptions& options, pid_t launcher) {
  CORDON_TRY(leave_for_own_namespaces());
  CORDON_TRY(send_note(channel, {.step = Step::kUnshared, .text = {}}));
  CORDON_TRY(expect_note(channel, Step::kMapped));
  // Now and not earlier: a change of credentials clears it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launcher) return base::fail("guest set-up", "the launcher is gone");
  const auto taps = CORDON_TRY(make_taps(options.guest.interface, 2 * queue_count(options)));
  CORDON_TRY(set_up_network(options.guest));
  allow_ping();
  return send_note(channel, {.step = Step::kTap, .text = {}}, taps);
}

[[noreturn]] void leave(int status, const std::string& line) {
  std::fprintf(stderr, "cordon: %s\n", line.c_str());
  std::_Exit(status);
}

[[noreturn]] void execute(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const auto& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const auto& name = command.front();
  if (name.empty()) leave(127, "COMMAND is an empty word; give the name of a program");
  ::execvp(arguments.front(), arguments.data());
  const int error = errno;
  if (error == ENOENT && name.find('/') == std::string::npos)
    leave(127, name + ": command not found in PATH");
  leave(error == ENOENT ? 127 : 126, "execute " + name + ": " + std::strerror(error));
}

// A stopped broker would revoke nothing.
void confine_signals(const RunOptions& options) {
  using State = sandbox::IsolationReport::State;
  const auto layer = sandbox::keep_signals_inside();
  const std::string line =
      std::string{layer.state == State::kActive ? "command: " : "command: unavailable: "} +
      std::string{layer.name} + " (" + layer.detail + ")";
  if (layer.state == State::kFailed && options.isolation == Isolation::kStrict)
    leave(125, line + " (--isolation strict)");
  if (options.verbosity == Verbosity::kVerbose) std::fprintf(stderr, "cordon: %s\n", line.c_str());
}

[[noreturn]] void become_command(int channel, const RunOptions& options, pid_t launcher) {
  if (const auto ready = prepare(channel, options, launcher); !ready) {
    send_failure(channel, ready.error());
    std::_Exit(125);
  }
  // The launcher says why it gave up; here is nothing to add.
  if (!expect_note(channel, Step::kGo)) std::_Exit(125);
  if (const auto named = replace_name_service(options.guest); !named)
    leave(125, base::describe(named.error()));
  confine_signals(options);  // after the mounts, and as late as can be: every descendant inherits it
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  execute(options.command);
}

base::Result<Received> await_tap(int channel, pid_t child) {
  for (;;) {
    Received received = CORDON_TRY(receive_note(channel));
    switch (received.note.step) {
      case Step::kUnshared:
        CORDON_TRY(write_identity_maps(child));
        CORDON_TRY(send_note(channel, {.step = Step::kMapped, .text = {}}));
        break;
      case Step::kTap:
        if (received.fds.empty()) return base::fail("guest set-up", "the tap did not arrive");
        return received;
      case Step::kFailed: return base::fail({}, received.note.text.data());
      case Step::kMapped:
      case Step::kGo: return base::fail("guest set-up", "out of step");
    }
  }
}

}  // namespace

base::Result<GuestChild> GuestChild::start(const RunOptions& options) {
  auto [ours, theirs] = CORDON_TRY(make_note_pair());
  const pid_t launcher = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return base::fail_errno("fork", "for the guest");
  if (pid == 0) {
    ours.reset();
    become_command(theirs.get(), options, launcher);
  }
  theirs.reset();
  auto tap = await_tap(ours.get(), pid);
  if (!tap) {
    ours.reset();
    ::waitpid(pid, nullptr, 0);
    return std::unexpected(std::move(tap).error());
  }
  return GuestChild{pid, std::move(ours), std::move(tap->fds)};
}

base::Result<void> GuestChild::go() { return send_note(channel_.get(), {.step = Step::kGo, .text = {}}); }

}  // namespace cordon::app
