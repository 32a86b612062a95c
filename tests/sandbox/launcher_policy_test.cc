// Policies, control clients and the audit log on their way through the launcher.
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>

#include "tests/sandbox/dial.h"
#include "tests/sandbox/launcher_run.h"

namespace cordon::sandbox {
namespace {

namespace fs = std::filesystem;

struct Folder {
  Folder() {
    std::string name = "/tmp/cordon-policies-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
    ::chmod(path.c_str(), 0755);
  }
  ~Folder() { fs::remove_all(path); }
  [[nodiscard]] std::string policy() const { return path + "/policy"; }
  [[nodiscard]] std::string socket() const { return path + "/control.sock"; }
  // In one step, as an editor does.
  void says(std::string_view text) const {
    std::ofstream{path + "/new"} << text;
    fs::rename(path + "/new", policy());
  }
  std::string path;
};

Run::Configure with(const Folder& folder, bool watch = false) {
  return [&folder, watch](LauncherConfig& config, const std::string& tag) {
    config.loader_arguments = [path = folder.policy(), tag](control::LoadCause) {
      return std::vector<std::string>{"loader=" + path, tag};
    };
    if (watch) config.watched_files = {folder.policy()};
    auto listener = ControlListener::open(folder.socket());
    if (listener && *listener) config.control.emplace(std::move(**listener));
    config.reopen_audit = [] { return base::Fd{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)}; };
  };
}

std::size_t count(std::string_view text, std::string_view word) {
  std::size_t found = 0;
  for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("launcher: the broker is ready when it has the policy") {
  const Folder folder;
  folder.says("one");
  Run run{"normal", "serve", wait_for_release, "/etc/resolv.conf", with(folder)};
  REQUIRE(run.sees("all ready"));
  CHECK(run.text().find("policy by 0: \"one\"") < run.text().find("all ready"));
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(run.all_gone());
  CHECK_FALSE(fs::exists(folder.socket()));
}

TEST_CASE("launcher: a loader that fails ends the start, and later leaves it to the broker") {
  const Folder folder;
  folder.says("fail");
  {
    Run run{"normal", "serve", wait_for_release, "/etc/resolv.conf", with(folder)};
    CHECK(run.exit_status() == 125);
    CHECK(run.text().find("cordon: policy-loader: exit status 3") != std::string::npos);
    CHECK(run.all_gone());
  }
  folder.says("one");
  Run run{"normal", "serve", wait_for_release, "/etc/resolv.conf", with(folder)};
  REQUIRE(run.sees("all ready"));
  folder.says("fail");
  run.signal(SIGHUP);
  CHECK(run.sees("cordon: policy-loader: exit status 3"));
  CHECK(run.sees("policy by 1: \"\""));
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: SIGHUP from a process loads again, and asks that come meanwhile become one") {
  const Folder folder;
  folder.says("one");
  Run run{"normal", "serve", wait_for_release, "/etc/resolv.conf", with(folder)};
  REQUIRE(run.sees("all ready"));
  folder.says("slow");
  run.signal(SIGHUP);
  REQUIRE(run.sees("reading slowly"));
  folder.says("two");
  for (int i = 0; i < 20; ++i) {
    run.signal(SIGHUP);
    ::poll(nullptr, 0, 2);
  }
  CHECK(run.sees("policy by 1: \"slow\""));
  CHECK(run.sees("policy by 1: \"two\""));
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(count(run.text(), "policy by 1") == 2);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: a policy that cannot be handed over stops the guest's traffic until it is") {
  const Folder folder;
  folder.says("one");
  const auto with_little_room = [&](LauncherConfig& config, const std::string& tag) {
    with(folder)(config, tag);
    config.reopen_audit = [] {
      const int least = 1;  // the control socket is among these
      for (int fd = 3; fd < 100; ++fd) ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
      return base::Fd{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)};
    };
  };
  Run run{"normal", "serve", wait_for_release, "/etc/resolv.conf", with_little_room};
  REQUIRE(run.sees("all ready"));
  REQUIRE(run.sees("translator 1"));
  const pid_t broker = run.roles("--role=broker").at(0);
  REQUIRE(::kill(broker, SIGSTOP) == 0);
  // Until the control socket takes no more.
  for (int i = 0; i < 100; ++i) {
    run.signal(SIGUSR1);
    ::poll(nullptr, 0, 5);
  }
  folder.says("two");
  run.signal(SIGHUP);
  CHECK(run.sees("the policy could not be handed to the broker for 2 s"));
  CHECK(run.sees("not started again before the broker has the policy"));
  CHECK(run.roles("--role=translator").empty());
  REQUIRE(::kill(broker, SIGCONT) == 0);
  CHECK(run.sees("policy by 1: \"two\""));
  CHECK(run.sees("translator 2"));
  // The broker has its channel before it has executed itself.
  const auto translators = [&] { return run.roles("--role=translator").size(); };
  for (int i = 0; i < 5000 && translators() == 0; ++i) ::poll(nullptr, 0, 1);
  CHECK(translators() == 1);
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: without policy files a reload says so and nothing happens") {
  Run run{"normal", "serve", wait_for_release};
  REQUIRE(run.sees("all ready"));
  run.signal(SIGHUP);
  CHECK(run.sees("nothing to reload"));
  run.signal(SIGUSR1);  // nor does this end anything
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(count(run.text(), "policy by") == 0);
}

TEST_CASE("launcher: a terminal that goes away is not a wish to reload") {
  const Folder folder;
  folder.says("one");
  int master = -1;
  int slave = -1;
  REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
  base::Fd ours{master};
  {
    const base::Fd theirs{slave};
    Run run{"normal", "serve",
            [](int) {
              ::signal(SIGHUP, [](int) { ::_exit(33); });
              std::fprintf(stderr, "armed\n");
              for (;;) ::pause();
              return 0;
            },
            "/etc/resolv.conf",
            [&](LauncherConfig& config, const std::string& tag) {
              with(folder)(config, tag);
              ::ioctl(slave, TIOCSCTTY, 0);
              ::close(master);
            }};
    REQUIRE(run.sees("armed"));
    ours.reset();
    CHECK(run.exit_status() == 33);
    CHECK(count(run.text(), "policy by 1") == 0);
  }
}

TEST_CASE("launcher: a watched file that changes is loaded, one that says the same is not sent") {
  const Folder folder;
  folder.says("one");
  Run run{"normal", "serve", wait_for_release, "/etc/resolv.conf", with(folder, true)};
  REQUIRE(run.sees("all ready"));
  folder.says("two");
  CHECK(run.sees("policy by 2: \"two\""));
  folder.says("two");
  ::poll(nullptr, 0, 400);  // longer than the pause after a change, and a load
  folder.says("three");
  CHECK(run.sees("policy by 2: \"three\""));
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(count(run.text(), "policy by 2") == 2);
}

TEST_CASE("launcher: a loader that hangs holds up nothing") {
  const Folder folder;
  folder.says("one");
  Run run{"stuck-client", "serve", wait_for_release, "/etc/resolv.conf", with(folder)};
  REQUIRE(run.sees("all ready"));
  folder.says("hang");
  run.signal(SIGHUP);
  for (int i = 0; i < 5000 && run.roles("--role=policy-loader").empty(); ++i) ::poll(nullptr, 0, 1);
  REQUIRE(run.roles("--role=policy-loader").size() == 1);
  // The revocation's 100 ms run meanwhile.
  const auto client = dial(folder.socket());
  REQUIRE(client.valid());
  CHECK(run.sees("a revocation took more than 100 ms", 2s));
  CHECK(run.roles("--role=policy-loader").size() == 1);
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: a loader that never ends is ended, and the broker told") {
  const Folder folder;
  folder.says("one");
  Run run{"normal", "serve", wait_for_release, "/etc/resolv.conf", with(folder)};
  REQUIRE(run.sees("all ready"));
  folder.says("hang");
  run.signal(SIGHUP);
  CHECK(run.sees("policy-loader: killed by signal 9", 20s));
  CHECK(run.sees("policy by 1: \"\""));
  folder.says("two");
  run.signal(SIGHUP);
  CHECK(run.sees("policy by 1: \"two\""));
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE(
    "launcher: a broker that asks for a reload is told when there is no file, and gets one that came since") {
  const Folder folder;
  const auto if_there = [&folder](LauncherConfig& config, const std::string& tag) {
    with(folder)(config, tag);
    config.loader_arguments = [given = config.loader_arguments,
                               path = folder.policy()](control::LoadCause cause) {
      return fs::exists(path) ? given(cause) : std::vector<std::string>{};
    };
  };
  Run run{"reload-client", "serve", wait_for_release, "/etc/resolv.conf", if_there};
  REQUIRE(run.sees("all ready"));
  const auto client = dial(folder.socket());
  CHECK(run.sees("nothing to load"));
  folder.says("one");
  const auto other = dial(folder.socket());
  CHECK(run.sees("policy by 3: \"one\""));
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: control clients reach the broker, and its wishes the launcher") {
  const Folder folder;
  folder.says("one");
  {
    Run run{"reload-client", "serve", wait_for_release, "/etc/resolv.conf", with(folder)};
    REQUIRE(run.sees("all ready"));
    const auto client = dial(folder.socket());
    CHECK(run.sees("client"));
    CHECK(run.sees("policy by 3: \"one\""));
    run.release();
    CHECK(run.exit_status() == 0);
  }
  Run run{"reopen-client", "serve", wait_for_release, "/etc/resolv.conf", with(folder)};
  REQUIRE(run.sees("all ready"));
  run.signal(SIGUSR1);
  CHECK(run.sees("fresh sink"));
  const auto client = dial(folder.socket());
  CHECK(run.sees("fresh sink\nclient\nfresh sink"));
  run.signal(SIGHUP);
  CHECK(run.sees("policy by 1"));
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(count(run.text(), "fresh sink") == 3);
  CHECK(count(run.text(), "policy by") == 2);
}

TEST_CASE("launcher: without a broker there is no control socket") {
  const Folder folder;
  folder.says("one");
  Run run{"normal", "serve", wait_for_release, "/etc/resolv.conf", with(folder)};
  REQUIRE(run.sees("all ready"));
  ::kill(run.roles("--role=broker").front(), SIGKILL);
  CHECK(run.sees("the command has no network any more"));
  for (int i = 0; i < 1000 && fs::exists(folder.socket()); ++i) ::poll(nullptr, 0, 1);
  CHECK_FALSE(fs::exists(folder.socket()));
  run.signal(SIGHUP);  // nobody is there to be told
  run.release();
  CHECK(run.exit_status() == 0);
}

}  // namespace cordon::sandbox
