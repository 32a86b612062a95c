#include "sandbox/policy_watch.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

namespace cordon::sandbox {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct Folder {
  Folder() {
    std::string name = "/tmp/cordon-watch-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  [[nodiscard]] std::string at(std::string_view name) const { return path + "/" + std::string{name}; }
  void write(std::string_view name, std::string_view text) const { std::ofstream{at(name)} << text; }
  void link(std::string_view target, std::string_view name) const { fs::create_symlink(target, at(name)); }
  std::string path;
};

// Whether events that matter are there by now. inotify queues them before the call that caused them returns.
bool noticed(PolicyWatch& watch) {
  const auto now = base::monotonic_now();
  pollfd ready{watch.poll_fd(), POLLIN, 0};
  while (::poll(&ready, 1, 0) == 1) watch.take_events(now);
  const bool any = watch.due() != base::Instant::never();
  if (any) CHECK(watch.take(now + PolicyWatch::kLongest));
  CHECK_FALSE(watch.take(now + 1h));
  return any;
}

// As the kubelet does it.
void publish(const Folder& folder, std::string_view version, std::string_view text) {
  const std::string directory = "..v" + std::string{version};
  fs::create_directory(folder.at(directory));
  folder.write(directory + "/policy.yaml", text);
  folder.link(directory, "..data_tmp");
  fs::rename(folder.at("..data_tmp"), folder.at("..data"));
}

}  // namespace

TEST_CASE("policy watch: a plain file, by every way of changing it") {
  const Folder folder;
  folder.write("p.yaml", "one");
  folder.write("q.yaml", "other");
  PolicyWatch watch{{folder.at("p.yaml")}};
  REQUIRE(watch.start().has_value());
  CHECK_FALSE(noticed(watch));
  struct Case {
    std::string_view name;
    std::function<void()> change;
    bool expected;
  };
  const Case cases[] = {
      {"another file in the directory", [&] { folder.write("q.yaml", "x"); }, false},
      {"read",
       [&] {
         std::string text;
         std::ifstream{folder.at("p.yaml")} >> text;
       },
       false},
      {"written in place", [&] { folder.write("p.yaml", "two"); }, true},
      {"appended", [&] { std::ofstream{folder.at("p.yaml"), std::ios::app} << "x"; }, true},
      {"renamed over",
       [&] {
         folder.write("p.tmp", "three");
         fs::rename(folder.at("p.tmp"), folder.at("p.yaml"));
       },
       true},
      {"and written in place after that", [&] { folder.write("p.yaml", "four"); }, true},
      {"removed", [&] { fs::remove(folder.at("p.yaml")); }, true},
      {"another file while it is gone", [&] { folder.write("q.yaml", "y"); }, false},
      {"back again", [&] { folder.write("p.yaml", "five"); }, true},
      {"mode changed", [&] { ::chmod(folder.at("p.yaml").c_str(), 0600); }, true},
      {"moved away", [&] { fs::rename(folder.at("p.yaml"), folder.at("old.yaml")); }, true},
      {"the moved one is not it any more", [&] { folder.write("old.yaml", "six"); }, false},
      {"moved back", [&] { fs::rename(folder.at("old.yaml"), folder.at("p.yaml")); }, true},
      {"replaced by a link",
       [&] {
         fs::remove(folder.at("p.yaml"));
         folder.link("q.yaml", "p.yaml");
       },
       true},
      {"whose target now counts", [&] { folder.write("q.yaml", "seven"); }, true},
  };
  for (const Case& row : cases) {
    CAPTURE(row.name);
    row.change();
    CHECK(noticed(watch) == row.expected);
  }
}

TEST_CASE("policy watch: a ConfigMap whose ..data is swapped") {
  const Folder folder;
  publish(folder, "1", "one");
  folder.link("..data/policy.yaml", "policy.yaml");
  PolicyWatch watch{{folder.at("policy.yaml")}};
  REQUIRE(watch.start().has_value());
  CHECK_FALSE(noticed(watch));
  const std::size_t placed = watch.watches();
  for (int version = 2; version < 6; ++version) {
    publish(folder, std::to_string(version), "two");
    CHECK(noticed(watch));
    fs::remove_all(folder.at("..v" + std::to_string(version - 1)));
    CHECK_FALSE(noticed(watch));  // it was not on the way any more
    CHECK(watch.watches() == placed);
  }
  folder.write("..v5/policy.yaml", "in place");
  CHECK(noticed(watch));
}

TEST_CASE("policy watch: directories on the way that are replaced, or come late") {
  const Folder folder;
  fs::create_directories(folder.at("a/b"));
  folder.write("a/b/p.yaml", "one");
  PolicyWatch watch{{folder.at("a/./b/../b/p.yaml"), folder.at("late/p.yaml")}};
  REQUIRE(watch.start().has_value());
  fs::rename(folder.at("a"), folder.at("old"));
  CHECK(noticed(watch));
  folder.write("old/b/p.yaml", "not it");
  CHECK_FALSE(noticed(watch));
  fs::create_directories(folder.at("a"));
  CHECK(noticed(watch));
  fs::create_directories(folder.at("a/b"));
  CHECK(noticed(watch));
  folder.write("a/b/p.yaml", "two");
  CHECK(noticed(watch));
  fs::create_directory(folder.at("late"));
  CHECK(noticed(watch));
  folder.write("late/p.yaml", "three");
  CHECK(noticed(watch));
}

TEST_CASE("policy watch: links that lead nowhere or in a circle end") {
  const Folder folder;
  folder.link("loop", "loop");
  folder.link("nowhere/at/all", "dangling");
  PolicyWatch watch{{folder.at("loop"), folder.at("dangling"), folder.at("no/such/file"), ""}};
  REQUIRE(watch.start().has_value());
  CHECK_FALSE(noticed(watch));
  fs::remove(folder.at("loop"));
  CHECK(noticed(watch));
}

TEST_CASE("policy watch: a watch that cannot be had is told once and tried again") {
  const Folder folder;
  fs::create_directory(folder.at("a"));
  folder.write("a/p.yaml", "one");
  const pid_t pid = ::fork();
  if (pid == 0) {
    // The limit is one of the user namespace (sysctl user.max_inotify_watches).
    const auto limit = [](int most) {
      std::ofstream file{"/proc/sys/user/max_inotify_watches"};
      file << most << std::flush;
      return file.good();
    };
    if (::unshare(CLONE_NEWUSER) != 0 || !limit(1000)) ::_exit(77);
    PolicyWatch watch{{folder.at("a/p.yaml")}};
    if (!watch.start()) ::_exit(1);
    if (!limit(0)) ::_exit(77);
    fs::rename(folder.at("a"), folder.at("old"));
    fs::create_directory(folder.at("a"));
    const auto start = base::monotonic_now();
    watch.take_events(start);
    if (watch.take_problem().find("max_user_watches") == std::string::npos) ::_exit(2);
    if (!watch.take(start + 1s)) ::_exit(3);
    if (watch.due() != start + 10s) ::_exit(4);
    if (watch.take(start + 10s) || !watch.take_problem().empty()) ::_exit(5);
    folder.write("a/p.yaml", "two");
    if (!limit(1000)) ::_exit(6);
    if (watch.take(start + 19s) || !watch.take(start + 20s)) ::_exit(7);
    if (watch.due() != base::Instant::never()) ::_exit(8);
    folder.write("a/p.yaml", "three");
    ::_exit(noticed(watch) ? 0 : 9);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    MESSAGE("user namespaces are not allowed here");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("policy watch: events are gathered, but never for long") {
  const Folder folder;
  folder.write("p.yaml", "one");
  PolicyWatch watch{{folder.at("p.yaml")}};
  REQUIRE(watch.start().has_value());
  const auto start = base::Instant::from_nanos(1'000'000'000'000);
  const auto touch = [&](base::Instant now) {
    folder.write("p.yaml", "x");
    watch.take_events(now);
  };
  CHECK(watch.due() == base::Instant::never());
  touch(start);
  CHECK(watch.due() == start + 100ms);
  touch(start + 50ms);
  CHECK(watch.due() == start + 150ms);
  CHECK_FALSE(watch.take(start + 149ms));
  CHECK(watch.take(start + 150ms));
  CHECK_FALSE(watch.take(start + 1h));
  // Somebody who never stops writing.
  base::Instant now = start + 1s;
  int taken = 0;
  for (; now < start + 4s; now = now + 50ms) {
    touch(now);
    if (watch.take(now)) ++taken;
  }
  CHECK(taken == 2);
}

}  // namespace cordon::sandbox
