#include "app/announce.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace cordon::app {
namespace {

class Folder {
 public:
  Folder() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string file(const char* name) const { return path_ + "/" + name; }
  [[nodiscard]] std::ptrdiff_t entries() const {
    return std::distance(std::filesystem::directory_iterator{path_}, std::filesystem::directory_iterator{});
  }

 private:
  std::string path_ = "/tmp/cordon-announce-XXXXXX";
};

std::string contents(const std::string& path) {
  std::ifstream file{path};
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("announce: a pid file holds our id, for everybody to read, and goes at the end") {
  const Folder folder;
  const std::string path = folder.file("pid");
  std::ofstream{path} << "a stale one that is longer\n";
  {
    const mode_t before = ::umask(0077);
    const auto pid_file = PidFile::create(path);
    ::umask(before);
    REQUIRE(pid_file);
    CHECK(contents(path) == std::to_string(::getpid()) + "\n");
    struct stat info{};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0644);
    CHECK(folder.entries() == 1);
  }
  CHECK(folder.entries() == 0);
}

TEST_CASE("announce: somebody else's pid file under the same name stays") {
  const Folder folder;
  const std::string path = folder.file("pid");
  {
    const auto pid_file = PidFile::create(path);
    REQUIRE(pid_file);
    std::ofstream{folder.file("new")} << "1\n";
    std::filesystem::rename(folder.file("new"), path);
  }
  CHECK(contents(path) == "1\n");
}

TEST_CASE("announce: a pid file that cannot be is an error that names it and leaves nothing") {
  const Folder folder;
  std::filesystem::create_directory(folder.file("folder"));
  REQUIRE(::mkfifo(folder.file("fifo").c_str(), 0600) == 0);
  for (const std::string& path : {folder.file("folder"), folder.file("fifo"), folder.file("no/such"),
                                  std::string{"/proc/cordon.pid"}, std::string{"/dev/null"}}) {
    CAPTURE(path);
    const auto pid_file = PidFile::create(path);
    REQUIRE_FALSE(pid_file);
    CHECK(base::describe(pid_file.error()).find("--pid-file " + path) == 0);
  }
  CHECK(folder.entries() == 2);
  CHECK(std::filesystem::is_character_file("/dev/null"));
}

TEST_CASE("announce: ready is one byte and then the end") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_NONBLOCK) == 0);
  const base::Fd from{ends[0]};
  auto ready = ReadyFd::take(ends[1]);
  REQUIRE(ready);
  CHECK((::fcntl(ends[1], F_GETFD) & FD_CLOEXEC) != 0);
  std::array<char, 8> text{};
  CHECK(::read(from.get(), text.data(), text.size()) == -1);
  ready->tell();
  CHECK(::read(from.get(), text.data(), text.size()) == 1);
  CHECK(text[0] == '1');
  CHECK(::read(from.get(), text.data(), text.size()) == 0);
  ready->tell();  // once is enough
}

TEST_CASE("announce: descriptors that cannot be told") {
  const auto closed = ReadyFd::take(1'000'000);
  REQUIRE_FALSE(closed);
  CHECK(base::describe(closed.error()).find("--ready-fd 1000000") == 0);
  base::Fd read_only{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const auto refused = ReadyFd::take(read_only.get());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().context.find("not open for writing") != std::string::npos);
}

}  // namespace cordon::app
