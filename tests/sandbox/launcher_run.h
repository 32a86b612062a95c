// One launcher in a process of its own, for the launcher's tests.
#pragma once

#include <dirent.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>

#include "sandbox/launcher.h"

#ifndef CORDON_DUMMY_ROLE
#error "the build names the dummy role's binary"
#endif

namespace cordon::sandbox {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    read = base::Fd{ends[0]};
    write = base::Fd{ends[1]};
  }
  base::Fd read;
  base::Fd write;
};

// A guest whose "command" is a function in a forked child.
class FunctionGuest final : public GuestStarter {
 public:
  explicit FunctionGuest(std::function<int()> command) : command_(std::move(command)) {}
  base::Result<Started> start() override {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      char byte = 0;
      go_.write.reset();
      if (::read(go_.read.get(), &byte, 1) != 1) ::_exit(125);
      sigset_t none;
      ::sigemptyset(&none);
      for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_DFL);  // doctest has its own
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      ::_exit(command_());
    }
    Started started{.command = pid, .taps = {}};
    started.taps.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
    return started;
  }
  base::Result<void> go() override {
    if (::write(go_.write.get(), "g", 1) != 1) return base::fail_errno("go");
    return {};
  }

 private:
  std::function<int()> command_;
  Pipe go_;
};

// One launcher in a process of its own; its stderr and that of everybody below it is read here.
class Run {
 public:
  using MakeGuest = std::function<std::unique_ptr<GuestStarter>(int hold)>;
  // Called in the launcher's process. `tag` must be among the arguments of whatever it starts.
  using Configure = std::function<void(LauncherConfig& config, const std::string& tag)>;

  Run(std::string_view broker, std::string_view translator, std::function<int(int hold)> command,
      std::string resolv_conf = "/etc/resolv.conf", const Configure& configure = {})
      : Run(
            broker, translator, std::move(resolv_conf),
            [command](int hold) {
              return std::make_unique<FunctionGuest>([command, hold] { return command(hold); });
            },
            configure) {}
  Run(std::string_view broker, std::string_view translator, std::string resolv_conf, const MakeGuest& make,
      const Configure& configure = {})
      : tag_("tag=" + std::to_string(::getpid()) + "-" + std::to_string(++serial())) {
    LauncherConfig config;
    config.executable = CORDON_DUMMY_ROLE;
    config.arguments = {"broker=" + std::string{broker}, "translator=" + std::string{translator}, tag_};
    config.resolv_conf = std::move(resolv_conf);
    config.verbose = true;
    config.on_ready = [] { std::fprintf(stderr, "all ready\n"); };
    config.on_event = [](const LauncherEvent& event) {
      std::fprintf(stderr, "event %d %s\n", static_cast<int>(event.kind), event.detail.c_str());
    };
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ != 0) {
      err_.write.reset();
      hold_.read.reset();
      return;
    }
    ::setsid();
    ::dup2(err_.write.get(), 2);
    err_.write.reset();
    err_.read.reset();
    hold_.write.reset();
    const auto guest = make(hold_.read.get());
    if (configure) configure(config, tag_);
    int status = 99;
    {
      Launcher launcher{std::move(config)};
      const auto result = launcher.run(*guest);
      if (result)
        status = *result;
      else
        std::fprintf(stderr, "error: %s\n", base::describe(result.error()).c_str());
    }
    ::_exit(status);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  // True when `text` has appeared on stderr within the limit.
  bool sees(std::string_view text, base::Duration limit = 10s) {
    const auto deadline = base::monotonic_now() + limit;
    while (text_.find(text) == std::string::npos)
      if (!read_some(deadline)) return false;
    return true;
  }
  // Exit status, -1 when it did not end in time; reads stderr to its end, i.e. until nobody holds it any
  // more.
  int exit_status(base::Duration limit = 10s) {
    const auto deadline = base::monotonic_now() + limit;
    while (read_some(deadline)) {
    }
    if (base::monotonic_now() >= deadline) return -1;
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  void release() { hold_.write.reset(); }  // commands that wait for their hold go on
  void signal(int number) { ::kill(pid_, number); }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

  // Pids of live processes started with our tag in their arguments.
  [[nodiscard]] std::vector<pid_t> roles(std::string_view role = {}) const {
    std::vector<pid_t> found;
    const std::unique_ptr<DIR, int (*)(DIR*)> proc{::opendir("/proc"), &::closedir};
    while (const dirent* entry = ::readdir(proc.get())) {
      const int pid = std::atoi(entry->d_name);
      if (pid <= 0) continue;
      std::ifstream file{"/proc/" + std::to_string(pid) + "/cmdline"};
      std::string line;
      std::getline(file, line);
      if (line.find(tag_) != std::string::npos && line.find(role) != std::string::npos) found.push_back(pid);
    }
    return found;
  }
  // Nothing with our tag lives any more (bounded: the kernel may still be taking it down).
  [[nodiscard]] bool all_gone(base::Duration limit = 10s) const {
    const auto deadline = base::monotonic_now() + limit;
    while (!roles().empty()) {
      if (base::monotonic_now() > deadline) return false;
      ::poll(nullptr, 0, 2);
    }
    return true;
  }

 private:
  static int& serial() {
    static int value = 0;
    return value;
  }
  bool read_some(base::Instant deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - base::monotonic_now()).count();
    pollfd wait{err_.read.get(), POLLIN, 0};
    if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) <= 0) return false;
    std::array<char, 4096> buffer;
    const ssize_t got = ::read(err_.read.get(), buffer.data(), buffer.size());
    if (got <= 0) return false;
    text_.append(buffer.data(), static_cast<std::size_t>(got));
    return true;
  }

  std::string tag_;
  Pipe err_;
  Pipe hold_;
  pid_t pid_ = -1;
  std::string text_;
};

inline int wait_for_release(int hold) {
  char byte = 0;
  static_cast<void>(!::read(hold, &byte, 1));
  return 0;
}

}  // namespace cordon::sandbox
