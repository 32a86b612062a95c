#include "app/drop_in_log.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

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
