#include "sandbox/launcher.h"

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

#ifndef CORDON_DUMMY_ROLE
#error "the build names the dummy role's binary"
#endif

namespace cordon::sandbox {
namespace {

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
  Run(std::string_view broker, std::string_view translator, std::function<int(int hold)> command,
      std::string resolv_conf = "/etc/resolv.conf")
      : tag_("tag=" + std::to_string(::getpid()) + "-" + std::to_string(++serial())) {
    LauncherConfig config;
    config.executable = CORDON_DUMMY_ROLE;
    config.arguments = {"broker=" + std::string{broker}, "translator=" + std::string{translator}, tag_};
    config.resolv_conf = std::move(resolv_conf);
    config.verbose = true;
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
    FunctionGuest guest{[&] { return command(hold_.read.get()); }};
    int status = 99;
    {
      Launcher launcher{std::move(config)};
      const auto result = launcher.run(guest);
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

int wait_for_release(int hold) {
  char byte = 0;
  static_cast<void>(!::read(hold, &byte, 1));
  return 0;
}

}  // namespace

TEST_CASE("launcher: the command's exit status is ours, and everything ends with it") {
  Run run{"normal", "serve", [](int) { return 7; }};
  CHECK(run.exit_status() == 7);
  CAPTURE(run.text());
  CHECK(run.text().find("broker stopped") != std::string::npos);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: a command that a signal ended gives 128 + signal") {
  Run run{"normal", "serve", [](int) {
            ::raise(SIGKILL);
            return 0;
          }};
  CHECK(run.exit_status() == 137);
}

TEST_CASE("launcher: both roles report the isolation that is really active") {
  Run run{"normal", "serve", wait_for_release};
  CAPTURE(run.text());
  CHECK(run.sees("translator: user-ns"));
  CHECK(run.sees("broker: user-ns"));
  CHECK(run.sees("seccomp"));
  CHECK(run.text().find("FAILED") == std::string::npos);
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: policy errors stop the start with the broker's exit status") {
  Run run{"refuse", "serve", wait_for_release};
  CHECK(run.exit_status() == 2);
  CHECK(run.text().find("policy.yaml:1:1") != std::string::npos);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: a broker that dies takes the network, not the command") {
  Run run{"die", "serve", wait_for_release};
  CHECK(run.sees("event 2 exit status 7"));
  CHECK(run.sees("no network any more"));
  const auto deadline = base::monotonic_now() + 10s;
  while (!run.roles().empty() && base::monotonic_now() < deadline) ::poll(nullptr, 0, 2);
  CHECK(run.roles().empty());
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: kill -9 of the broker is reported, of the translator is repaired") {
  Run run{"normal", "serve", wait_for_release};
  REQUIRE(run.sees("translator 1"));
  REQUIRE(run.sees("translator: user-ns"));
  REQUIRE(run.roles("--role=translator").size() == 1);
  ::kill(run.roles("--role=translator").front(), SIGKILL);
  CHECK(run.sees("event 0 killed by signal 9 (Killed)"));
  REQUIRE(run.sees("translator 2"));
  REQUIRE(run.roles("--role=broker").size() == 1);
  ::kill(run.roles("--role=broker").front(), SIGKILL);
  CHECK(run.sees("event 2 killed by signal 9 (Killed)"));
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: kill -9 of the launcher leaves nothing behind") {
  Run run{"normal", "serve", wait_for_release};
  REQUIRE(run.sees("translator 1"));
  REQUIRE(run.sees("translator: user-ns"));
  run.signal(SIGKILL);
  CHECK(run.exit_status() == -SIGKILL);  // also: nobody holds its stderr any more
  CHECK(run.all_gone());
}

TEST_CASE("launcher: a revocation that does not end in 100 ms kills the translator") {
  for (const std::string_view mode : {"stuck", "wrong-end"}) {
    CAPTURE(mode);
    Run run{mode, "serve", wait_for_release};
    REQUIRE(run.sees("translator 1"));
    const auto begun = base::monotonic_now();
    CHECK(run.sees("event 0 a revocation took more than 100 ms"));
    const auto took = base::monotonic_now() - begun;
    CHECK(took > 50ms);  // the Begin is sent right after the line above
    CHECK(took < 5s);
    CHECK(run.sees("translator 2"));
    run.release();
    CHECK(run.exit_status() == 0);
  }
}

TEST_CASE("launcher: revocations that end in time kill nobody") {
  Run run{"prompt", "serve", wait_for_release};
  REQUIRE(run.sees("translator 1"));
  CHECK_FALSE(run.sees("event", 300ms));
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: a protocol violation kills the translator") {
  Run run{"hostile", "serve", wait_for_release};
  CHECK(run.sees("event 0 it broke the channel's protocol (port)"));
  CHECK(run.sees("translator 2"));
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: a translator that makes a socket dies of it, and a crash loop is given up") {
  Run run{"normal", "socket", wait_for_release};
  CHECK(run.sees("killed by signal 31 (Bad system call)"));
  CHECK(run.sees("is not started again"));
  CHECK(run.sees("event 1"));
  CHECK(run.text().find("translator 6") != std::string::npos);
  CHECK(run.text().find("translator 7") == std::string::npos);
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: a translator that cannot start is a crash loop too") {
  Run run{"normal", "early-exit", wait_for_release};
  CHECK(run.sees("exit status 5"));
  CHECK(run.sees("event 1"));
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: what a translator writes to stderr is made printable") {
  Run run{"normal", "escape", wait_for_release};
  CHECK(run.sees("?]0;owned? ??"));
  CHECK(run.text().find('\x1b') == std::string::npos);
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: a signal goes to the command, a second one kills it") {
  Run polite{"normal", "serve", wait_for_release};
  REQUIRE(polite.sees("broker ready"));
  polite.signal(SIGTERM);
  CHECK(polite.exit_status() == 128 + SIGTERM);
  CHECK(polite.all_gone());

  Run stubborn{"normal", "serve", [](int hold) {
                 ::signal(SIGTERM, SIG_IGN);
                 ::signal(SIGINT, SIG_IGN);  // both may be pending at once, and the lower number comes first
                 std::fprintf(stderr, "ignoring\n");
                 return wait_for_release(hold);
               }};
  REQUIRE(stubborn.sees("ignoring"));
  stubborn.signal(SIGTERM);
  stubborn.signal(SIGINT);
  CHECK(stubborn.exit_status() == 128 + SIGKILL);
  CHECK(stubborn.all_gone());
}

TEST_CASE("launcher: one signal ends a start that waits, here for the broker") {
  for (const int signal : {SIGTERM, SIGINT}) {
    Run run{"mute", "serve", wait_for_release};
    REQUIRE(run.sees("translator 1"));
    run.signal(signal);
    CHECK(run.exit_status(5s) == 128 + signal);
    CHECK(run.all_gone());
  }
}

TEST_CASE("launcher: a broker that fails before it is ready is our own failure, 125") {
  Run run{"fail", "serve", wait_for_release};
  CHECK(run.exit_status() == 125);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: orphans of the command end with it") {
  Run run{"normal", "serve", [](int hold) {
            if (::fork() == 0) {
              ::setsid();
              if (::fork() == 0) std::fprintf(stderr, "orphan\n");
              wait_for_release(hold);  // holds stderr until it is killed
              ::pause();
            }
            char byte = 0;
            static_cast<void>(!::read(hold, &byte, 1));
            return 3;
          }};
  REQUIRE(run.sees("orphan"));
  run.release();
  CHECK(run.exit_status() == 3);
}

TEST_CASE("launcher: a changed resolv.conf reaches the broker, also by rename and behind a symbolic link") {
  std::string folder = "/tmp/cordon-resolv-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream{folder + "/" + name} << text;
  };
  ::mkdir((folder + "/run").c_str(), 0755);
  write("run/real", "nameserver 192.0.2.1\n");
  REQUIRE(::symlink("run/real", (folder + "/resolv.conf").c_str()) == 0);
  {
    Run run{"normal", "serve", wait_for_release, folder + "/resolv.conf"};
    const bool first = run.sees("resolvers: 192.0.2.1\n");
    CAPTURE(run.text());
    CHECK(first);
    REQUIRE(run.sees("translator 1"));
    write("run/real", "nameserver 192.0.2.2\n");  // in place, behind the link
    CHECK(run.sees("resolvers: 192.0.2.2\n"));
    write("run/new", "nameserver 2001:db8::3\nnameserver 192.0.2.3\n");
    ::rename((folder + "/run/new").c_str(), (folder + "/run/real").c_str());  // replaced behind the link
    CHECK(run.sees("resolvers: 2001:db8::3 192.0.2.3\n"));
    write("new", "nameserver 192.0.2.4\n");
    ::rename((folder + "/new").c_str(), (folder + "/resolv.conf").c_str());  // the link itself replaced
    CHECK(run.sees("resolvers: 192.0.2.4\n"));
    run.release();
    CHECK(run.exit_status() == 0);
  }
  for (const char* const name : {"/run/real", "/resolv.conf"}) ::unlink((folder + name).c_str());
  ::rmdir((folder + "/run").c_str());
  ::rmdir(folder.c_str());
}

TEST_CASE("launcher: works as an ordinary user") {
  if (::geteuid() != 0) return;  // then every other case has shown it
  Run run{"normal", "serve", [](int) { return 0; }};
  CHECK(run.exit_status() == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(98);
    ::prctl(PR_SET_DUMPABLE, 1);  // as after a login: a change of uid had cleared it
    Run user{"normal", "serve", [](int) { return 9; }};
    const int status = user.exit_status();
    if (status != 9) std::fputs(user.text().c_str(), stderr);
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  CHECK(WEXITSTATUS(status) == 9);
}

}  // namespace cordon::sandbox
