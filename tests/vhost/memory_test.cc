// Memory tables: what is refused, and that nothing outside of a region is ever handed out.
#include "core/vhost/memory.h"

#include <doctest/doctest.h>

#include <string_view>
#include <vector>

using namespace cordon::vhost;

namespace {

class Rig {
 public:
  Region region(std::uint64_t guest, std::uint64_t user, std::size_t size) {
    store_.push_back(std::vector<std::byte>(size));
    return {{guest}, {user}, store_.back()};
  }

 private:
  std::vector<std::vector<std::byte>> store_;
};

}  // namespace

TEST_CASE("memory: an address is found in its own space only") {
  Rig rig;
  MemoryTable table;
  const Region low = rig.region(0, 0x7f00'0000'0000, 0x1000);
  const Region high = rig.region(0x1'0000'0000, 0x7e00'0000'0000, 0x2000);
  REQUIRE(table.add(low));
  REQUIRE(table.add(high));
  struct Case {
    std::string_view name;
    std::uint64_t address;
    std::uint64_t length;
    const std::byte* guest;
    const std::byte* user;
  };
  const Case cases[] = {
      {"first byte of the first", 0, 1, low.bytes.data(), nullptr},
      {"all of the first", 0, 0x1000, low.bytes.data(), nullptr},
      {"last byte of the first", 0xfff, 1, &low.bytes[0xfff], nullptr},
      {"length 0", 0, 0, nullptr, nullptr},
      {"across the end", 0xfff, 2, nullptr, nullptr},
      {"behind the end", 0x1000, 1, nullptr, nullptr},
      {"the other one", 0x1'0000'0010, 0x10, &high.bytes[0x10], nullptr},
      {"before the other one, into it", 0xffff'ffff, 2, nullptr, nullptr},
      {"a user address", 0x7f00'0000'0800, 0x800, nullptr, &low.bytes[0x800]},
      {"a user address too long", 0x7f00'0000'0800, 0x801, nullptr, nullptr},
      {"the largest length", 0, UINT64_MAX, nullptr, nullptr},
      {"the largest address", UINT64_MAX, 1, nullptr, nullptr},
      {"both", UINT64_MAX, UINT64_MAX, nullptr, nullptr},
      {"sum wraps into the first", UINT64_MAX, 2, nullptr, nullptr},
  };
  for (int round = 0; round < 2; ++round) {  // the second with other hints
    for (const Case& c : cases) {
      CAPTURE(c.name);
      const auto guest = table.at(GuestAddress{c.address}, c.length);
      CHECK((guest ? guest->data() : nullptr) == c.guest);
      const auto user = table.at(UserAddress{c.address}, c.length);
      CHECK((user ? user->data() : nullptr) == c.user);
      if (guest) CHECK(guest->size() == c.length);
      if (user) CHECK(user->size() == c.length);
    }
  }
}

TEST_CASE("memory: a buffer that spans two adjacent regions belongs to neither") {
  Rig rig;
  MemoryTable table;
  REQUIRE(table.add(rig.region(0x1000, 0x1000, 0x1000)));
  REQUIRE(table.add(rig.region(0x2000, 0x2000, 0x1000)));
  CHECK(table.at(GuestAddress{0x1fff}, 1));
  CHECK_FALSE(table.at(GuestAddress{0x1fff}, 2));
  CHECK_FALSE(table.at(UserAddress{0x1000}, 0x2000));
}

TEST_CASE("memory: regions that wrap, are empty or overlap are refused") {
  struct Case {
    std::string_view name;
    std::uint64_t guest;
    std::uint64_t user;
    std::size_t size;
    bool taken;
  };
  const Case cases[] = {
      {"behind it", 0x5000, 0x15000, 0x1000, true},
      {"before it", 0x3000, 0x13000, 0x1000, true},
      {"empty", 0x8000, 0x8000, 0, false},
      {"the same", 0x4000, 0x14000, 0x1000, false},
      {"guest addresses overlap at the end", 0x4fff, 0x20000, 0x1000, false},
      {"guest addresses overlap at the start", 0x3001, 0x20000, 0x1000, false},
      {"guest addresses within", 0x4800, 0x20000, 0x10, false},
      {"guest addresses around", 0x3000, 0x20000, 0x4000, false},
      {"user addresses overlap at the end", 0x20000, 0x14fff, 0x1000, false},
      {"user addresses overlap at the start", 0x20000, 0x13001, 0x1000, false},
      {"guest addresses wrap", UINT64_MAX - 0xffe, 0x20000, 0x1000, false},
      {"user addresses wrap", 0x20000, UINT64_MAX - 0xffe, 0x1000, false},
      {"up to the last address", UINT64_MAX - 0xfff, UINT64_MAX - 0xfff, 0x1000, true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Rig rig;
    MemoryTable table;
    REQUIRE(table.add(rig.region(0x4000, 0x14000, 0x1000)));
    CHECK(table.add(rig.region(c.guest, c.user, c.size)) == c.taken);
    CHECK(table.regions().size() == (c.taken ? 2 : 1));
    if (c.taken) CHECK(table.at(GuestAddress{c.guest + c.size - 1}, 1));
  }
}

TEST_CASE("memory: a full table takes no more, and a removed region is out of reach") {
  Rig rig;
  MemoryTable table;
  std::vector<Region> all;
  for (std::uint64_t i = 0; i < 32; ++i) {
    all.push_back(rig.region(i * 0x1000, i * 0x1000, 0x1000));
    REQUIRE(table.add(all.back()));
  }
  const Region more = rig.region(0x100000, 0x100000, 0x1000);
  CHECK_FALSE(table.add(more));
  CHECK(table.at(GuestAddress{5 * 0x1000}, 1));

  CHECK_FALSE(table.remove({all[5].guest, all[6].user, all[5].bytes}));
  CHECK_FALSE(table.remove({all[5].guest, all[5].user, all[5].bytes.first(0x800)}));
  CHECK(table.remove(all[5]));
  CHECK_FALSE(table.remove(all[5]));
  CHECK_FALSE(table.at(GuestAddress{5 * 0x1000}, 1));
  CHECK(table.at(GuestAddress{6 * 0x1000}, 1)->data() == all[6].bytes.data());
  CHECK(table.add(more));
  CHECK(table.at(UserAddress{0x100000}, 0x1000)->data() == more.bytes.data());
}
