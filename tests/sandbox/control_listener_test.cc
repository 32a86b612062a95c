#include "sandbox/control_listener.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>

#include "tests/sandbox/dial.h"

namespace cordon::sandbox {
namespace {

struct Folder {
  Folder() {
    std::string name = "/tmp/cordon-listener-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  [[nodiscard]] std::string at(std::string_view name) const { return path + "/" + std::string{name}; }
  std::string path;
};

ControlListener open_ok(const std::string& path, ControlListener::Limits limits = {}) {
  auto listener = ControlListener::open(path, limits);
  REQUIRE(listener.has_value());
  REQUIRE(listener->has_value());
  return std::move(**listener);
}

// Exit status of a child that ran `work`.
int in_child(const std::function<int()>& work) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(work());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("control listener: a socket for its owner alone, gone at the end") {
  const Folder folder;
  const std::string path = folder.at("a.sock");
  {
    auto listener = open_ok(path);
    struct stat info{};
    REQUIRE(::lstat(path.c_str(), &info) == 0);
    CHECK(S_ISSOCK(info.st_mode));
    CHECK((info.st_mode & 07777) == 0600);
    const auto now = base::monotonic_now();
    CHECK_FALSE(listener.accept(now).client.valid());
    const auto client = dial(path);
    REQUIRE(client.valid());
    const auto visit = listener.accept(now);
    CHECK(visit.client.valid());
    CHECK(visit.refused.empty());
    CHECK((::fcntl(visit.client.get(), F_GETFL) & O_NONBLOCK) != 0);
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("control listener: a live instance keeps its name, a dead one's is taken over") {
  const Folder folder;
  const std::string path = folder.at("a.sock");
  auto first = open_ok(path);
  const auto second = ControlListener::open(path);
  REQUIRE(second.has_value());
  CHECK_FALSE(second->has_value());
  CHECK(dial(path).valid());

  const std::string dead = folder.at("dead.sock");
  CHECK(in_child([&]() -> int {
          const auto listener = ControlListener::open(dead);
          ::_exit(listener && *listener ? 0 : 1);  // as kill -9: the file stays
        }) == 0);
  REQUIRE(std::filesystem::exists(dead));
  auto heir = open_ok(dead);
  CHECK(dial(dead).valid());
}

TEST_CASE("control listener: removes only its own file") {
  const Folder folder;
  const std::string path = folder.at("a.sock");
  {
    auto first = open_ok(path);
    std::filesystem::rename(path, folder.at("moved.sock"));
    auto second = open_ok(path);
    {
      auto ended = std::move(first);
    }
    CHECK(std::filesystem::exists(path));
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("control listener: stale sockets of others in the directory are swept, nothing else") {
  const Folder folder;
  auto live = open_ok(folder.at("live.sock"));
  in_child([&]() -> int {
    const auto listener = ControlListener::open(folder.at("stale.sock"));
    ::_exit(0);
  });
  base::Fd{::open(folder.at("file.sock").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)}.reset();
  remove_stale_sockets(folder.path);
  CHECK(std::filesystem::exists(folder.at("live.sock")));
  CHECK(std::filesystem::exists(folder.at("file.sock")));
  CHECK_FALSE(std::filesystem::exists(folder.at("stale.sock")));
}

TEST_CASE("control listener: names that cannot be had are clear errors") {
  const Folder folder;
  base::Fd{::open(folder.at("file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)}.reset();
  struct Case {
    std::string_view name;
    std::string path;
    std::string_view says;
  };
  const Case cases[] = {
      {"108 bytes", "/tmp/" + std::string(103, 'x'), "at most 107 bytes"},
      {"a file is there", folder.at("file"), "something else"},
      {"no such directory", folder.at("none/a.sock"), "No such file or directory"},
      {"empty", "", "at most 107 bytes"},
  };
  for (const Case& row : cases) {
    CAPTURE(row.name);
    const auto listener = ControlListener::open(row.path);
    REQUIRE_FALSE(listener.has_value());
    CHECK_MESSAGE(base::describe(listener.error()).find(row.says) != std::string::npos,
                  base::describe(listener.error()));
  }
}

TEST_CASE("control listener: the directory is ours alone or not used") {
  const Folder folder;
  const std::string path = folder.at("cordon");
  REQUIRE(make_socket_directory(path).has_value());
  struct stat info{};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0700);
  CHECK(make_socket_directory(path).has_value());
  REQUIRE(::chmod(path.c_str(), 0770) == 0);
  CHECK_FALSE(make_socket_directory(path).has_value());
  REQUIRE(::symlink("/tmp", folder.at("link").c_str()) == 0);
  CHECK_FALSE(make_socket_directory(folder.at("link")).has_value());
  CHECK_FALSE(make_socket_directory(folder.at("none/cordon")).has_value());
  if (::geteuid() == 0) {
    REQUIRE(::chmod(path.c_str(), 0700) == 0);
    REQUIRE(::chown(path.c_str(), 12345, 12345) == 0);
    CHECK_FALSE(make_socket_directory(path).has_value());
  }
}

TEST_CASE("control listener: too many at once have to wait") {
  const Folder folder;
  const std::string path = folder.at("a.sock");
  auto listener = open_ok(path, {.per_second = 10, .burst = 3});
  const auto start = base::monotonic_now();
  for (int i = 0; i < 3; ++i) {
    const auto client = dial(path);
    CHECK(listener.accept(start).client.valid());
  }
  const auto client = dial(path);
  CHECK(listener.accept(start).too_many);
  CHECK(listener.accept(start + std::chrono::milliseconds{100}).client.valid());
}

TEST_CASE("control listener: those that are refused use up nothing") {
  const Folder folder;
  const std::string path = folder.at("a.sock");
  auto listener = open_ok(path, {.per_second = 10, .burst = 1});
  const auto now = base::monotonic_now();
  constexpr int kStrangers = 60;  // more than one listen queue of old
  const int result = in_child([&] {
    if (::unshare(CLONE_NEWUSER) != 0) return 77;
    for (int i = 0; i < kStrangers; ++i)
      if (!dial(path)) return 1;
    return 0;
  });
  if (result == 77) {
    MESSAGE("user namespaces are not allowed here");
    return;
  }
  REQUIRE(result == 0);
  const auto client = dial(path);
  for (int i = 0; i < kStrangers; ++i) {
    const auto visit = listener.accept(now);
    REQUIRE_FALSE(visit.too_many);
    CHECK_FALSE(visit.refused.empty());
  }
  CHECK(listener.accept(now).client.valid());
}

TEST_CASE("control listener: nobody from another user namespace, and no other user") {
  const Folder folder;
  REQUIRE(::chmod(folder.path.c_str(), 0755) == 0);
  const std::string path = folder.at("a.sock");
  auto listener = open_ok(path);
  const auto now = base::monotonic_now();

  SUBCASE("another user namespace, while its process lives and after") {
    for (const bool lives : {true, false}) {
      CAPTURE(lives);
      int ends[2];
      REQUIRE(::pipe(ends) == 0);
      const pid_t pid = ::fork();
      if (pid == 0) {
        ::close(ends[0]);
        if (::unshare(CLONE_NEWUSER) != 0) ::_exit(77);
        const auto client = dial(path);
        if (::write(ends[1], "c", 1) != 1) ::_exit(1);
        if (lives) ::pause();
        ::_exit(client ? 0 : 1);
      }
      ::close(ends[1]);
      char byte = 0;
      const bool connected = ::read(ends[0], &byte, 1) == 1;
      ::close(ends[0]);
      int status = 0;
      if (!lives) ::waitpid(pid, &status, 0);
      if (connected) {
        const auto visit = listener.accept(now);
        CHECK_FALSE(visit.client.valid());
        CHECK(visit.refused == (lives ? "inside of another user namespace" : "the peer is gone"));
      }
      if (lives) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, &status, 0);
      }
      if (!connected) MESSAGE("user namespaces are not allowed here");
    }
  }
  SUBCASE("another user, who was even let through to the file") {
    if (::geteuid() != 0) return;
    REQUIRE(::chmod(path.c_str(), 0666) == 0);
    CHECK(in_child([&]() -> int {
            if (::setuid(12345) != 0) return 1;
            return dial(path) ? 0 : 2;
          }) == 0);
    const auto visit = listener.accept(now);
    CHECK_FALSE(visit.client.valid());
    CHECK(visit.refused == "another user");
  }
}

}  // namespace cordon::sandbox
