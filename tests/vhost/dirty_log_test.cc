#include "core/vhost/dirty_log.h"

#include <doctest/doctest.h>

#include <string_view>
#include <thread>
#include <vector>

using namespace cordon::vhost;

namespace {

std::vector<std::uint64_t> pages_in(const std::vector<std::byte>& bitmap) {
  std::vector<std::uint64_t> pages;
  for (std::size_t i = 0; i < bitmap.size() * 8; ++i)
    if ((std::to_integer<unsigned>(bitmap[i / 8]) >> (i % 8) & 1U) != 0) pages.push_back(i);
  return pages;
}

}  // namespace

TEST_CASE("dirty log: each page that was touched gets its bit, and no other one") {
  struct Case {
    std::string_view name;
    std::uint64_t address;
    std::uint64_t length;
    std::vector<std::uint64_t> pages;
    bool complete;
  };
  const Case cases[] = {
      {"nothing", 0, 0, {}, true},
      {"first byte", 0, 1, {0}, true},
      {"a whole page", 0, 4096, {0}, true},
      {"one byte more", 0, 4097, {0, 1}, true},
      {"two bytes over a border", 4095, 2, {0, 1}, true},
      {"over a byte of the bitmap", 7 * 4096, 2 * 4096, {7, 8}, true},
      {"a byte of the bitmap and its neighbours",
       7 * 4096,
       10 * 4096,
       {7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
       true},
      {"the last page", 23 * 4096, 4096, {23}, true},
      {"over the end", 23 * 4096, 4097, {23}, false},
      {"behind the end", 24 * 4096, 1, {}, false},
      {"far behind", UINT64_MAX - 10, 5, {}, false},
      {"wraps", UINT64_MAX - 10, 100, {}, false},
      {"longest", 22 * 4096, UINT64_MAX - 22 * 4096, {22, 23}, false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    std::vector<std::byte> bitmap(3);
    DirtyLog log{bitmap};
    CHECK(log.mark({c.address}, c.length) == c.complete);
    CHECK(pages_in(bitmap) == c.pages);
  }
}

TEST_CASE("dirty log: two threads lose none of each other's bits") {
  std::vector<std::byte> bitmap(512);
  DirtyLog log{bitmap};
  const auto mark_every_second = [&log](std::uint64_t first) {
    for (std::uint64_t page = first; page < 4096; page += 2) log.mark({page * 4096}, 1);
  };
  std::thread other{mark_every_second, 0};
  mark_every_second(1);
  other.join();
  CHECK(pages_in(bitmap).size() == 4096);
}

TEST_CASE("dirty log: an empty one takes nothing") {
  DirtyLog log;
  CHECK_FALSE(log.mark({0}, 1));
}
