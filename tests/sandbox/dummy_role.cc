// Stands in for the roles in launcher tests: real begin and lock, scripted behaviour. Arguments:
// "broker=MODE", "translator=MODE", "loader=FILE" and a tag by which the tests find what is left behind.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>

#include "sandbox/control.h"
#include "sandbox/descriptors.h"
#include "sandbox/launcher.h"
#include "sandbox/memory_file.h"
#include "sandbox/stages.h"

using namespace cordon;
using namespace cordon::sandbox;

namespace {

std::string_view argument(int argc, char** argv, std::string_view name) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view text{argv[i]};
    if (text.starts_with(name)) return text.substr(name.size());
  }
  return {};
}

int fail(const base::Error& error) {
  std::fprintf(stderr, "dummy: %s\n", base::describe(error).c_str());
  return 1;
}

void on_policy(const control::NewPolicy& policy) {
  const auto bytes = read_memory_file(policy.bundle.get(), 100);
  std::fprintf(stderr, "policy by %d: \"%s\"\n", static_cast<int>(policy.cause),
               bytes ? bytes->c_str() : "?");
}

void on_translator(std::string_view mode, control::BrokerControl& control, int number) {
  if (number != 1) return;
  if (mode == "stuck") static_cast<void>(control.send(control::RevokeBegin{1}));
  if (mode == "busy" || mode == "busy-for-ever") {
    static_cast<void>(control.send(control::RevokeBegin{1}));
    const auto end = base::monotonic_now() + std::chrono::milliseconds{mode == "busy" ? 300 : 10'000};
    while (base::monotonic_now() < end) {
    }
    static_cast<void>(control.send(control::RevokeEnd{1}));
    std::fprintf(stderr, "busy no more\n");
  }
  if (mode == "wrong-end") {
    static_cast<void>(control.send(control::RevokeBegin{2}));
    static_cast<void>(control.send(control::RevokeEnd{1}));
  }
  if (mode == "prompt")
    for (std::uint32_t serial = 1; serial < 1000; ++serial) {
      static_cast<void>(control.send(control::RevokeBegin{serial}));
      static_cast<void>(control.send(control::RevokeEnd{serial}));
    }
  if (mode == "hostile") static_cast<void>(control.send(control::KillTranslator{Violation::kPort}));
}

int run_broker(std::string_view mode, bool awaits_policy) {
  if (mode == "refuse") {
    std::fprintf(stderr, "policy.yaml:1:1: no\n");
    return 2;
  }
  if (const auto begun = begin_role(Role::kBroker); !begun) return fail(begun.error());
  control::BrokerControl control{base::Fd{control::kControlFd}};
  if (const auto locked = lock_broker({.max_fds = 256, .print_report = true}); !locked)
    return fail(locked.error());
  if (mode == "fail") return 1;
  if (mode == "late") ::poll(nullptr, 0, 500);
  if (mode != "mute" && !awaits_policy) static_cast<void>(control.send(control::Ready{}));
  base::Fd channel;
  int translators = 0;
  for (;;) {
    pollfd wait{control.poll_fd(), POLLIN, 0};
    ::poll(&wait, 1, -1);
    auto message = control.receive();
    if (!message) {
      if (message.error() == ReceiveStop::kEmpty) continue;
      return 3;
    }
    if (std::holds_alternative<control::Stop>(*message)) {
      std::fprintf(stderr, "broker stopped\n");
      ::_exit(0);
    }
    if (auto* fresh = std::get_if<control::NewTranslator>(&*message)) {
      channel = std::move(fresh->channel);
      std::fprintf(stderr, "translator %d\n", ++translators);
      on_translator(mode, control, translators);
    }
    if (const auto* policy = std::get_if<control::NewPolicy>(&*message)) {
      on_policy(*policy);
      if (std::exchange(awaits_policy, false)) static_cast<void>(control.send(control::Ready{}));
    }
    if (std::holds_alternative<control::NothingToLoad>(*message)) std::fprintf(stderr, "nothing to load\n");
    if (std::holds_alternative<control::NewClient>(*message)) {
      std::fprintf(stderr, "client\n");
      if (mode == "stuck-client") static_cast<void>(control.send(control::RevokeBegin{1}));
      if (mode == "reload-client") static_cast<void>(control.send(control::ReloadPolicy{}));
      if (mode == "reopen-client") static_cast<void>(control.send(control::ReopenAudit{}));
    }
    if (const auto* sink = std::get_if<control::NewAuditSink>(&*message))
      static_cast<void>(!::write(sink->fd.get(), "fresh sink\n", 11));
    if (const auto* list = std::get_if<control::Resolvers>(&*message)) {
      std::string line = "resolvers:";  // one write: others use the same stderr
      for (const auto& server : list->servers) line += " " + net::to_string(server.address);
      std::fprintf(stderr, "%s\n", line.c_str());
    }
  }
}

// loader=FILE: what FILE says now, as a bundle; or what it says to do.
int run_loader(const std::string& path) {
  if (const auto begun = begin_role(Role::kPolicyLoader); !begun) return fail(begun.error());
  std::ifstream file{path};
  std::string text;
  std::getline(file, text);
  if (text == "fail") return 3;
  if (text == "slow") {
    std::fprintf(stderr, "reading slowly\n");
    ::poll(nullptr, 0, 300);
  }
  if (text == "hang") ::poll(nullptr, 0, -1);
  return write_all(STDOUT_FILENO, text) ? 0 : 1;
}

int run_translator(std::string_view mode) {
  if (mode == "early-exit") return 5;
  if (const auto begun = begin_role(Role::kTranslator); !begun) return fail(begun.error());
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  const int end = ::signalfd(-1, &set, SFD_CLOEXEC);
  if (const auto locked = lock_translator({.max_fds = 64, .print_report = true}); !locked)
    return fail(locked.error());
  if (mode == "late-exit") ::_exit(6);
  tell_ready();
  if (mode == "socket") ::socket(AF_INET, SOCK_STREAM, 0);
  if (mode == "escape") {
    constexpr std::string_view kText = "\x1b]0;owned\x07 \xc3\xa9\n";
    static_cast<void>(!::write(2, kText.data(), kText.size()));
  }
  signalfd_siginfo info{};
  static_cast<void>(!::read(end, &info, sizeof info));
  ::_exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  const auto role = argument(argc, argv, "--role=");
  if (role == "broker")
    return run_broker(argument(argc, argv, "broker="), argc > 2 && argv[2] == kAwaitsPolicy);
  if (role == "policy-loader") return run_loader(std::string{argument(argc, argv, "loader=")});
  if (role == "translator") return run_translator(argument(argc, argv, "translator="));
  return 64;
}
