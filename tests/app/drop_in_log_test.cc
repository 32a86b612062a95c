#include "app/drop_in_log.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

using namespace cordon;

namespace {

struct TempFile {
  std::string path = "/tmp/cordon-log-XXXXXX";
  TempFile() { ::close(::mkstemp(path.data())); }
  ~TempFile() { ::unlink(path.c_str()); }
  [[nodiscard]] std::string text() const {
    std::ostringstream out;
    out << std::ifstream{path}.rdbuf();
    return out.str();
  }
};

}  // namespace

TEST_CASE("drop-in log: lines go out whole, with their time") {
  const TempFile file;
  auto log = app::DropInLog::to_file(file.path, 65536);
  REQUIRE(log);
  log->take("one\ntw");
  CHECK(file.text().ends_with("Z one\n"));
  log->take("o\n\nthree\n");
  CHECK(file.text().ends_with("Z three\n"));
  CHECK(file.text().contains("Z two\n"));
}

TEST_CASE("drop-in log: what is old goes when the file is full, and it never outgrows its limit") {
  const TempFile file;
  auto log = app::DropInLog::to_file(file.path, 4096);
  REQUIRE(log);
  for (int i = 0; i < 1000; ++i) {
    log->take("line " + std::to_string(i) + "\n");
    struct stat info{};
    REQUIRE(::stat(file.path.c_str(), &info) == 0);
    REQUIRE(info.st_size <= 4096);
  }
  CHECK(file.text().ends_with(" line 999\n"));
  CHECK(file.text().starts_with("20"));  // from the beginning of a line
  CHECK(!file.text().contains(" line 1\n"));
  CHECK(file.text().contains(" line 950\n"));
}

TEST_CASE("drop-in log: a file that is there goes on, a folder is an error") {
  const TempFile file;
  std::ofstream{file.path} << "before\n";
  auto log = app::DropInLog::to_file(file.path, 65536);
  REQUIRE(log);
  log->take("after\n");
  CHECK(file.text().starts_with("before\n"));
  CHECK(file.text().ends_with("after\n"));
  CHECK(!app::DropInLog::to_file("/tmp", 65536));
  CHECK(!app::DropInLog::to_file("/dev/null", 65536));
}

TEST_CASE("drop-in log: an endless line is cut into pieces") {
  const TempFile file;
  auto log = app::DropInLog::to_file(file.path, 65536);
  REQUIRE(log);
  log->take(std::string(10000, 'x'));
  CHECK(file.text().size() >= 4096);
}

TEST_CASE("drop-in log: what is read is shown as well, until that ends") {
  const TempFile file;
  auto log = app::DropInLog::to_file(file.path, 65536);
  REQUIRE(log);
  std::array<int, 2> source{};
  std::array<int, 2> shown{};
  REQUIRE(::pipe2(source.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  REQUIRE(::pipe2(shown.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  const base::Fd in{source[0]};
  const base::Fd out{source[1]};
  const base::Fd terminal{shown[0]};
  log->echo_to(base::Fd{shown[1]});
  REQUIRE(::write(out.get(), "first\n", 6) == 6);
  CHECK(log->drain(in.get()));
  log->echo_to({});
  REQUIRE(::write(out.get(), "second\n", 7) == 7);
  CHECK(log->drain(in.get()));
  std::array<char, 64> bytes{};
  CHECK(::read(terminal.get(), bytes.data(), bytes.size()) == 6);
  CHECK(std::string_view{bytes.data(), 6} == "first\n");
  CHECK(::read(terminal.get(), bytes.data(), bytes.size()) == 0);  // nobody holds it any more
  CHECK(file.text().find("first\n") != std::string::npos);
  CHECK(file.text().find("second\n") != std::string::npos);
}
