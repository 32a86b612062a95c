#include "sandbox/log_watch.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace cordon::sandbox {
namespace {

using namespace std::chrono_literals;

// A log in a folder of its own, watched.
struct Log {
  Log() {
    std::array<char, 32> name{"/tmp/cordon-log-XXXXXX"};
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder = name.data();
    path = folder + "/audit.jsonl";
    watch.emplace(path);
    file = open();
    REQUIRE(watch->start(file.get()));
  }
  ~Log() {
    for (const char* name : {"/audit.jsonl", "/audit.jsonl.1", "/other", "/real/audit.jsonl", "/real/1"})
      ::unlink((folder + name).c_str());
    ::rmdir((folder + "/real").c_str());
    ::rmdir(folder.c_str());
  }
  [[nodiscard]] base::Fd open() const {
    return base::Fd{::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)};
  }
  void rename_away() const { REQUIRE(::rename(path.c_str(), (path + ".1").c_str()) == 0); }
  // Whatever happened until now.
  void look() {
    pollfd entry{.fd = watch->poll_fd(), .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, 0) == 1) watch->look(now);
  }
  void reopen() {
    file = open();
    watch->opened(file.get(), now);
  }

  std::string folder, path;
  base::Fd file;
  std::optional<LogWatch> watch;
  base::Instant now = base::Instant::from_nanos(1'000'000'000);
};

TEST_CASE("log watch: writing to the log and what happens beside it is nothing") {
  Log log;
  REQUIRE(::write(log.file.get(), "x\n", 2) == 2);
  base::Fd other{::open((log.folder + "/other").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
  REQUIRE(other.valid());
  log.look();
  CHECK(log.watch->due() == base::Instant::never());
}

TEST_CASE("log watch: a renamed log is opened again a second later") {
  Log log;
  log.rename_away();
  log.look();
  CHECK(log.watch->due() == log.now + 1s);
  log.now = log.now + 1s;
  log.reopen();
  CHECK(log.watch->due() == base::Instant::never());
  log.look();  // our own file
  CHECK(log.watch->due() == base::Instant::never());
  // And again.
  log.rename_away();
  log.look();
  CHECK(log.watch->due() == log.now + 1s);
}

TEST_CASE("log watch: a file that takes the log's place is opened at once") {
  Log log;
  log.rename_away();
  log.look();
  const base::Fd theirs = log.open();
  log.now = log.now + 200ms;
  log.look();
  CHECK(log.watch->due() == log.now);
  log.reopen();
  CHECK(log.watch->due() == base::Instant::never());
  // Over it, without a moment between.
  const base::Fd other{::open((log.folder + "/other").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
  REQUIRE(::rename((log.folder + "/other").c_str(), log.path.c_str()) == 0);
  log.look();
  CHECK(log.watch->due() == log.now);
}

TEST_CASE("log watch: a log that comes back under its name goes on") {
  Log log;
  log.rename_away();
  log.look();
  REQUIRE(::rename((log.path + ".1").c_str(), log.path.c_str()) == 0);
  log.look();
  CHECK(log.watch->due() == base::Instant::never());
}

TEST_CASE("log watch: a deleted log, and one that cannot be opened again yet") {
  Log log;
  REQUIRE(::unlink(log.path.c_str()) == 0);
  log.look();
  CHECK(log.watch->due() == log.now + 1s);
  log.watch->opened(-1, log.now);
  CHECK(log.watch->due() == log.now + 10s);
}

TEST_CASE("log watch: behind a symbolic link the target counts") {
  Log log;
  REQUIRE(::mkdir((log.folder + "/real").c_str(), 0700) == 0);
  REQUIRE(::unlink(log.path.c_str()) == 0);
  const std::string target = log.folder + "/real/audit.jsonl";
  REQUIRE(::symlink(target.c_str(), log.path.c_str()) == 0);
  log.look();
  log.reopen();
  REQUIRE(::rename(target.c_str(), (log.folder + "/real/1").c_str()) == 0);
  log.look();
  CHECK(log.watch->due() == log.now + 1s);
}

TEST_CASE("log watch: what is no file is not watched") {
  LogWatch watch{"/dev/null"};
  const base::Fd null{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  REQUIRE(watch.start(null.get()));
  CHECK(watch.poll_fd() == -1);
  CHECK(watch.due() == base::Instant::never());
}

}  // namespace
}  // namespace cordon::sandbox
