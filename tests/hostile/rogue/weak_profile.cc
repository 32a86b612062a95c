// The filters of translator and launcher (which translators inherit) with holes, for the test of the oracles
// alone: what the attacks get through must be seen. The real tables are compiled in under other names.
#include <sys/syscall.h>

#include <vector>

#include "sandbox/profile.h"

namespace cordon::sandbox {

std::span<const Table> strict_translator_profile();
std::span<const Table> strict_memory_translator_profile();
std::span<const Table> strict_launcher_profile();

namespace {

constexpr Row kHoles[] = {
    {SYS_connect, "hole"}, {SYS_sendmsg, "hole"},     {SYS_setsockopt, "hole"}, {SYS_ioctl, "hole"},
    {SYS_fcntl, "hole"},   {SYS_getsockname, "hole"}, {SYS_sendto, "hole"},
};

std::span<const Table> with_holes(std::vector<Table>& tables, std::span<const Table> strict) {
  if (tables.empty()) {
    tables.emplace_back(Table{"holes", kHoles});
    tables.insert(tables.end(), strict.begin(), strict.end());
  }
  return tables;
}

}  // namespace

std::span<const Table> translator_profile() {
  static std::vector<Table> tables;
  return with_holes(tables, strict_translator_profile());
}
std::span<const Table> memory_translator_profile() {
  static std::vector<Table> tables;
  return with_holes(tables, strict_memory_translator_profile());
}
std::span<const Table> launcher_profile() {
  static std::vector<Table> tables;
  return with_holes(tables, strict_launcher_profile());
}

}  // namespace cordon::sandbox
