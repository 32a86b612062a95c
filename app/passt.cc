#include "app/passt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "app/drop_in_log.h"
#include "app/passt_files.h"
#include "app/passt_options.h"
#include "app/passt_translate.h"
#include "app/run.h"

namespace cordon::app {
namespace {

constexpr int kFailed = 1;  // whatever it was
constexpr const char* kProgram = "passt";

int fail(std::string_view message) {
  // The first line says it; what follows explains, and this program's clients show one line.
  const auto line = message.substr(0, message.find('\n'));
  std::fprintf(stderr, "%s: %.*s\n", kProgram, static_cast<int>(line.size()), line.data());
  return kFailed;
}
int fail(const base::Error& error) { return fail(base::describe(error)); }

int show(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  return std::fflush(stdout) == 0 ? 0 : kFailed;
}

struct Pipe {
  base::Fd read, write;
};
base::Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return base::fail_errno("pipe");
  return Pipe{base::Fd{ends[0]}, base::Fd{ends[1]}};
}

// What will be served, and how.
struct Plan {
  PasstCommand command;
  std::vector<std::string> arguments;  // of cordon
  RunOptions options;
  ClientPidFile pid_file;
  base::Fd capture;
  std::optional<DropInLog> log;  // none: in the foreground, where standard error is the log
};

std::expected<PasstHost, UsageError> look_at_host(const PasstCommand& command) {
  PasstHost host;
  auto found = find_host_addresses(command.interface);
  if (!found) return std::unexpected(UsageError{base::describe(found.error())});
  host.addresses = *found;
  if (!command.interface.empty() && !host.addresses.ipv4 && !host.addresses.ipv6)
    return std::unexpected(
        UsageError{"--interface " + command.interface + ": there is none of this name with an address"});
  std::ifstream file{"/etc/resolv.conf"};
  std::ostringstream text;
  text << file.rdbuf();
  read_resolv_conf(text.str(), host);
  return host;
}

base::Result<void> open_files(Plan& plan) {
  PasstCommand& command = plan.command;
  if (!command.pid_file.empty()) plan.pid_file = CORDON_TRY(ClientPidFile::open(command.pid_file));
  if (!command.log_file.empty())
    plan.log = CORDON_TRY(DropInLog::to_file(command.log_file, command.log_size));
  else if (!command.foreground)
    plan.log.emplace(kProgram);
  if (!command.pcap.empty()) plan.capture = CORDON_TRY(open_capture(command.pcap));
  CORDON_TRY(leave_root(command.runas, command.verbosity == Verbosity::kQuiet));
  if (command.fd) return {};
  if (command.socket.empty())
    command.socket = CORDON_TRY(free_socket_name());
  else
    await_socket_name(command.socket);
  return {};
}

std::expected<Plan, UsageError> make_plan(PasstCommand command) {
  Plan plan;
  plan.command = std::move(command);
  const auto host = look_at_host(plan.command);
  if (!host) return std::unexpected(host.error());
  if (auto opened = open_files(plan); !opened)
    return std::unexpected(UsageError{base::describe(opened.error())});
  auto arguments = translate_passt(plan.command, *host);
  if (!arguments) return std::unexpected(arguments.error());
  plan.arguments = std::move(*arguments);
  auto invocation = parse(plan.arguments);
  if (!invocation) return std::unexpected(invocation.error());
  plan.options = std::move(std::get<RunOptions>(*invocation));
  return plan;
}

void announce(const Plan& plan) {
  if (plan.command.verbosity == Verbosity::kQuiet) return;
  for (const auto& warning : plan.command.warnings)
    std::fprintf(stderr, "%s: %s\n", kProgram, warning.c_str());
  if (!plan.command.fd) std::fprintf(stderr, "%s: socket %s\n", kProgram, plan.command.socket.c_str());
}

// 0 for an orderly end, and one status for all others.
int status_of(int status) { return status == 0 ? 0 : kFailed; }

int serve_in_foreground(Plan& plan) {
  RunHooks hooks;
  hooks.capture = std::move(plan.capture);
  hooks.on_ready = [&plan] {
    if (const auto written = plan.pid_file.write(::getpid()); !written) fail(written.error());
  };
  if (!plan.log) return status_of(run(plan.options, plan.arguments, std::move(hooks)));
  auto pipe = make_pipe();
  if (!pipe) return fail(pipe.error());
  // Errors of the start are still for the terminal.
  const base::Fd terminal{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)};
  if (::dup2(pipe->write.get(), STDERR_FILENO) < 0) return fail(base::Error{"dup2", errno, {}});
  pipe->write.reset();
  hooks.log = pipe->read.get();
  hooks.on_log = [&] { plan.log->drain(pipe->read.get()); };
  const int status = run(plan.options, plan.arguments, std::move(hooks));
  plan.log->drain(pipe->read.get());
  if (status != 0 && terminal) ::dprintf(terminal.get(), "%s: failed; the log says why\n", kProgram);
  return status_of(status);
}

// In the child: everything until the end of the service.
int serve_in_background(Plan& plan, Pipe& log, base::Fd ready) {
  ::setsid();
  // While the parent is asked to wait, its death is a wish to stop.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  const base::Fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  // What is said until the service is ready is for both, the starter's terminal and the log.
  plan.log->echo_to(base::Fd{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)});
  if (!null || ::dup2(null.get(), STDIN_FILENO) < 0 || ::dup2(log.write.get(), STDOUT_FILENO) < 0 ||
      ::dup2(log.write.get(), STDERR_FILENO) < 0)
    return kFailed;
  log.write.reset();
  RunHooks hooks;
  hooks.capture = std::move(plan.capture);
  hooks.on_ready = [&] {
    if (const auto written = plan.pid_file.write(::getpid()); !written) {
      fail(written.error());
      ::raise(SIGTERM);  // a client that cannot find us must not think that it can
      return;
    }
    ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    plan.log->drain(log.read.get());
    plan.log->echo_to({});
    static_cast<void>(!::write(ready.get(), "1", 1));
    ready.reset();
  };
  hooks.log = log.read.get();
  hooks.on_log = [&] { plan.log->drain(log.read.get()); };
  const int status = run(plan.options, plan.arguments, std::move(hooks));
  plan.log->drain(log.read.get());
  return status_of(status);
}

void relay(int pipe) {
  std::array<char, 4096> chunk{};
  for (;;) {
    const ssize_t got = ::read(pipe, chunk.data(), chunk.size());
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      const ssize_t put = ::write(STDERR_FILENO, chunk.data() + at, static_cast<std::size_t>(got - at));
      if (put <= 0) return;
      at += put;
    }
  }
}

// In the parent: true when the child is ready, false when it ended without.
bool await_ready(int ready) {
  char byte = 0;
  for (;;) {
    pollfd waiting{.fd = ready, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, -1) < 0 && errno != EINTR) return false;
    if (waiting.revents != 0) return ::read(ready, &byte, 1) == 1;
  }
}

int daemonise(Plan& plan) {
  auto log = make_pipe();
  auto ready = make_pipe();
  if (!log || !ready) return fail(log ? ready.error() : log.error());
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return fail(base::Error{"fork", errno, {}});
  if (child == 0) {
    ready->read.reset();
    ::_exit(serve_in_background(plan, *log, std::move(ready->write)));
  }
  ready->write.reset();
  log->write.reset();
  if (plan.command.fd) ::close(*plan.command.fd);
  if (await_ready(ready->read.get())) return 0;
  ::waitpid(child, nullptr, 0);
  relay(log->read.get());  // what it had no time for
  return kFailed;
}

}  // namespace

int run_passt(const std::vector<std::string>& arguments) {
  auto command = parse_passt(arguments);
  if (!command) return fail(command.error().message);
  switch (command->action) {
    case PasstCommand::Action::kHelp: return show(passt_help());
    case PasstCommand::Action::kVersion: return show("passt " CORDON_VERSION " (Cordon)\n");
    case PasstCommand::Action::kCapabilities: return show("{\n  \"type\": \"net\",\n  \"features\": []\n}\n");
    case PasstCommand::Action::kServe: break;
  }
  if (const auto settled = settle_descriptors(command->fd); !settled) return fail(settled.error());
  const bool foreground = command->foreground;
  auto plan = make_plan(std::move(*command));
  if (!plan) return fail(plan.error().message);
  announce(*plan);
  return foreground ? serve_in_foreground(*plan) : daemonise(*plan);
}

bool is_started_as_passt(std::string_view program, const std::vector<std::string>& arguments) {
  program.remove_prefix(program.rfind('/') + 1);
  if (program.contains("cordon") || program.contains("pasta") || program.contains("slirp4netns"))
    return false;
  if (program == "passt-repair" || program == "qrap" || program == "pesto") return false;
  return program.contains("passt") || (!arguments.empty() && arguments.front().starts_with('-'));
}

}  // namespace cordon::app
