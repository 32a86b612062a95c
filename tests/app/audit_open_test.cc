#include "app/audit_open.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace cordon;
using namespace cordon::app;

namespace {

struct Folder {
  Folder() {
    std::string name = "/tmp/cordon-audit-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

}  // namespace

TEST_CASE("audit log: a link that takes the file's place is not followed") {
  const Folder folder;
  const AuditChoice choice{.target = AuditTarget::kFile, .path = folder.path / "log"};
  const auto victim = folder.path / "victim";
  std::ofstream{victim} << "theirs";

  const Links later = links_later(choice);
  REQUIRE(open_audit(choice));
  std::filesystem::rename(choice.path, folder.path / "log.1");
  REQUIRE(open_audit(choice, later));  // as rotation has it

  std::filesystem::remove(choice.path);
  std::filesystem::create_symlink(victim, choice.path);
  const auto swapped = open_audit(choice, later);
  REQUIRE_FALSE(swapped);
  CHECK(base::describe(swapped.error()).find("symbolic link") != std::string::npos);

  std::filesystem::remove(choice.path);
  std::filesystem::create_symlink(folder.path / "fresh", choice.path);
  CHECK_FALSE(open_audit(choice, later));
  CHECK_FALSE(std::filesystem::exists(folder.path / "fresh"));
}

TEST_CASE("audit log: a link that was there from the start is followed") {
  const Folder folder;
  const AuditChoice choice{.target = AuditTarget::kFile, .path = folder.path / "log"};
  std::filesystem::create_symlink(folder.path / "elsewhere", choice.path);
  const Links later = links_later(choice);
  REQUIRE(open_audit(choice));
  REQUIRE(open_audit(choice, later));
  CHECK(std::filesystem::exists(folder.path / "elsewhere"));
}
