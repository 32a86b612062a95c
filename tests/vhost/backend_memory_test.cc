// Memory of a front end: what is taken, what is refused, and what happens when it is not there any more.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>

#include "core/vhost/fault_guard.h"
#include "tests/vhost/backend_rig.h"
#include "tests/vhost/in_child.h"

using namespace cordon;
using namespace cordon::vhost;
using namespace cordon::vhost::test;
using Status = Backend::Status;

namespace {

constexpr std::uint64_t kUser = BackendRig::kUser;
constexpr std::uint64_t kSize = BackendRig::kSize;

std::size_t mappings() {
  std::ifstream maps{"/proc/self/maps"};
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);)
    if (line.find("memfd:guest") != std::string::npos) ++count;
  return count;
}

}  // namespace

TEST_CASE("vhost memory: tables that are refused leave the old one") {
  struct Case {
    std::string_view name;
    std::vector<RegionArgs> regions;
    std::string_view complaint;
  };
  const Case cases[] = {
      {"longer than its file", {{0, kSize + 0x1000, kUser, 0}}, "SET_MEM_TABLE is not within its file"},
      {"offset behind the end", {{0, 0x1000, kUser, kSize}}, "SET_MEM_TABLE is not within its file"},
      {"offset far behind", {{0, 0x1000, kUser, 1ULL << 60U}}, "SET_MEM_TABLE is not within its file"},
      {"guest address not a page",
       {{0x800, 0x1000, kUser, 0}},
       "SET_MEM_TABLE has a region that is not made of pages"},
      {"user address not a page",
       {{0, 0x1000, kUser + 1, 0}},
       "SET_MEM_TABLE has a region that is not made of pages"},
      {"offset not a page",
       {{0, 0x1000, kUser, 0x10}},
       "SET_MEM_TABLE has a region that is not made of pages"},
      {"size not a page", {{0, 0x1001, kUser, 0}}, "SET_MEM_TABLE has a region that is not made of pages"},
      {"overlap in the guest",
       {{0, 0x2000, kUser, 0}, {0x1000, 0x1000, kUser + 0x10000, 0}},
       "SET_MEM_TABLE has regions that overlap, or too many"},
      {"overlap in the front end",
       {{0, 0x2000, kUser, 0}, {0x10000, 0x1000, kUser + 0x1000, 0}},
       "SET_MEM_TABLE has regions that overlap, or too many"},
      {"the second one is bad",
       {{0, 0x1000, kUser, 0}, {0x1000, kSize * 2, kUser + 0x1000, 0}},
       "SET_MEM_TABLE is not within its file"},
      {"more than any guest",
       {{0, 1ULL << 45U, kUser, 0}},
       "SET_MEM_TABLE has more memory than a guest may have"},
  };
  const base::Fd kick = make_event();
  for (const Case& c : cases) {
    CAPTURE(c.name);
    BackendRig rig;
    rig.negotiate();
    rig.give_memory();
    rig.start(0, kick.get());
    const std::size_t before = mappings();
    const std::size_t fds = open_fds();
    const std::vector<int> files(c.regions.size(), rig.memory.get());
    CHECK(rig.ask(5, mem_table(c.regions), files) == 1);
    CHECK(mappings() == before);
    CHECK(open_fds() == fds);
    CHECK(rig.paths[0].state.receive.ring);
    CHECK(rig.paths[0].state.memory->regions().size() == 1);
    CHECK(rig.say(5, mem_table(c.regions), files) == Status::kViolation);
    CHECK(rig.complaint() == c.complaint);
  }
}

TEST_CASE("vhost memory: only files whose pages are the kernel's") {
  std::string name = "/var/tmp/cordon-vhost-XXXXXX";
  const base::Fd disk{::mkstemp(name.data())};
  REQUIRE(disk.valid());
  ::unlink(name.c_str());
  REQUIRE(::ftruncate(disk.get(), kSize) == 0);
  const base::Fd null{::open("/dev/zero", O_RDWR | O_CLOEXEC)};
  const base::Fd event = make_event();
  const base::Fd sealed = make_memfd(kSize);
  REQUIRE(::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_WRITE) == 0);
  const base::Fd fixed = make_memfd(kSize);
  REQUIRE(::fcntl(fixed.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
  BackendRig rig;
  const auto offer = [&rig](const base::Fd& fd) {
    return rig.ask(5, mem_table({{0, kSize, kUser, 0}}), {fd.get()});
  };
  const bool disk_is_memory = ::fcntl(disk.get(), F_GET_SEALS) >= 0;  // /var/tmp on a tmpfs
  CHECK(offer(disk) == (disk_is_memory ? 0 : 1));
  CHECK(offer(null) == 1);
  CHECK(offer(event) == 1);
  CHECK(offer(sealed) == 1);
  CHECK(offer(fixed) == 0);
}

TEST_CASE("vhost memory: regions come and go one by one") {
  const std::size_t maps_before = mappings();
  BackendRig rig;
  rig.negotiate();
  const base::Fd file = make_memfd(kSize);
  const base::Fd kick = make_event();
  const std::size_t fds_before = open_fds();
  const RegionArgs low{0, 0x20000, kUser, 0};
  const RegionArgs high{0x100000, 0x20000, kUser + 0x20000, 0x20000};
  CHECK(rig.ask(37, mem_reg(low), {file.get()}) == 0);
  CHECK(rig.ask(37, mem_reg(high), {file.get()}) == 0);
  CHECK(mappings() == maps_before + 2);
  CHECK(rig.ask(37, mem_reg(high), {file.get()}) == 1);
  CHECK(rig.ask(38, mem_reg({0, 0x10000, kUser, 0})) == 1);
  CHECK(mappings() == maps_before + 2);
  rig.start(0, kick.get());
  rig.paths[0].positions[0] = 12;
  CHECK(rig.ask(38, mem_reg(high), {file.get()}) == 0);  // the descriptor is superfluous
  CHECK(rig.paths[0].state.receive.ring);
  CHECK(rig.paths[0].state.receive.ring->base == 12);
  rig.paths[0].positions[0] = 13;
  CHECK(rig.ask(38, mem_reg(low)) == 0);  // under the started ring
  CHECK_FALSE(rig.paths[0].state.receive.ring);
  CHECK(rig.paths[0].state.memory->regions().empty());
  CHECK(mappings() == maps_before);
  CHECK(rig.ask(37, mem_reg(low), {file.get()}) == 0);
  REQUIRE(rig.paths[0].state.receive.ring);
  CHECK(rig.paths[0].state.receive.ring->base == 13);
  CHECK(open_fds() == fds_before + 1);  // the kick
}

TEST_CASE("vhost memory: QEMU 7.2 adds and removes each region once for each queue pair") {
  const std::size_t maps_before = mappings();
  BackendRig rig({.pairs = 2});
  rig.negotiate();
  const base::Fd file = make_memfd(kSize);
  const base::Fd kick = make_event();
  const RegionArgs low{0, 0x20000, kUser, 0};
  const RegionArgs wide{0, 0x30000, kUser, 0};
  CHECK(rig.ask(37, mem_reg(low), {file.get()}) == 0);
  rig.start(0, kick.get());
  rig.paths[0].positions[0] = 12;
  CHECK(rig.ask(37, mem_reg(low), {file.get()}) == 0);
  CHECK(mappings() == maps_before + 1);
  REQUIRE(rig.paths[0].state.receive.ring);
  CHECK(rig.paths[0].state.receive.ring->base == 12);
  // Neither exactly the same, nor apart from what there is.
  CHECK(rig.ask(37, mem_reg(wide), {file.get()}) == 1);
  CHECK(rig.ask(37, mem_reg({0, 0x20000, kUser + 0x20000, 0}), {file.get()}) == 1);
  // Other memory at the same place is taken as what it is.
  const base::Fd other = make_memfd(kSize);
  const char mark = 'x';
  REQUIRE(::pwrite(other.get(), &mark, 1, 0) == 1);
  CHECK(rig.ask(37, mem_reg(low), {other.get()}) == 0);
  const auto bytes = rig.paths[0].state.memory->at(GuestAddress{0}, 1);
  REQUIRE(bytes);
  CHECK(bytes->front() == std::byte{'x'});
  // The first device has changed its whole table when the second one begins.
  CHECK(rig.ask(38, mem_reg(low)) == 0);
  CHECK_FALSE(rig.paths[0].state.receive.ring);
  CHECK(rig.ask(37, mem_reg(wide), {file.get()}) == 0);
  CHECK(rig.ask(38, mem_reg(low)) == 0);
  CHECK(rig.ask(37, mem_reg(wide), {file.get()}) == 0);
  CHECK(mappings() == maps_before + 1);
  REQUIRE(rig.paths[0].state.receive.ring);
  CHECK(rig.paths[0].state.receive.ring->base == 12);
}

TEST_CASE("vhost memory: no more regions than slots") {
  BackendRig rig;
  const base::Fd file = make_memfd(0x1000 * 40);
  for (std::uint64_t i = 0; i < 600; ++i) {
    const std::uint64_t at = i * 0x1000;
    CHECK(rig.ask(37, mem_reg({at, 0x1000, kUser + at, (i % 40) * 0x1000}), {file.get()}) ==
          (i < 32 ? 0U : 1U));
  }
  CHECK(mappings() <= 33);
}

TEST_CASE("vhost memory: two regions of one file, offsets kept") {
  BackendRig rig;
  const base::Fd file = make_memfd(0x4000);
  const char mark = 'x';
  REQUIRE(::pwrite(file.get(), &mark, 1, 0x3000) == 1);
  rig.negotiate();
  CHECK(rig.ask(5, mem_table({{0, 0x1000, kUser, 0}, {0x8000, 0x1000, kUser + 0x8000, 0x3000}}),
                {file.get(), file.get()}) == 0);
  CHECK(rig.ask(18, state(0, 0)) == 0);  // so that the path is told
  const auto bytes = rig.paths[0].state.memory->at(GuestAddress{0x8000}, 1);
  REQUIRE(bytes);
  CHECK(bytes->front() == std::byte{'x'});
}

TEST_CASE("vhost memory: the log is mapped as it is asked for, and used when it is acknowledged") {
  BackendRig rig;
  rig.negotiate();
  rig.give_memory();
  const base::Fd log = make_memfd(0x2000);
  CHECK(rig.ask(6, Payload{}.u64(0x3000).u64(0), {log.get()}) == 1);
  CHECK(rig.ask(6, Payload{}.u64(0x1000).u64(0x1000), {log.get()}) == 0);
  CHECK(rig.paths[0].state.log == nullptr);
  CHECK(rig.ask(2, number(1ULL << 32U | 1ULL << 30U | 1ULL << 26U)) == 0);
  REQUIRE(rig.paths[0].state.log != nullptr);
  CHECK(rig.paths[0].state.log->mark({4096}, 1));
  char byte = 0;
  CHECK(::pread(log.get(), &byte, 1, 0x1000) == 1);
  CHECK(byte == 2);
  // Another one takes its place at once.
  const base::Fd other = make_memfd(0x1000);
  CHECK(rig.ask(6, Payload{}.u64(0x1000).u64(0), {other.get()}) == 0);
  CHECK(rig.paths[0].state.log->mark({0}, 1));
  CHECK(::pread(other.get(), &byte, 1, 0) == 1);
  CHECK(byte == 1);
}

TEST_CASE("vhost memory: a file that shrinks under us is a note, and reads as zeros") {
  CHECK(vhost_client::in_child([] {
          if (!fault_guard::install()) return 1;
          BackendRig rig;
          rig.negotiate();
          rig.give_memory();
          const auto bytes = rig.paths[0].state.memory->at(GuestAddress{0x10000}, 8);
          if (!bytes || fault_guard::memory_lost()) return 2;
          bytes->front() = std::byte{7};
          if (::ftruncate(rig.memory.get(), 0x1000) != 0) return 3;
          const volatile std::byte* const there = bytes->data();
          if (*there != std::byte{0}) return 4;
          if (!fault_guard::memory_lost()) return 5;
          bytes->front() = std::byte{9};  // ours now: nobody is disturbed
          rig.backend.reset();
          return 0;
        }) == 0);
}

TEST_CASE("vhost memory: another SIGBUS is as fatal as ever") {
  CHECK(vhost_client::in_child([] {
          if (!fault_guard::install()) return 1;
          const base::Fd file = make_memfd(0x1000);
          void* const at = ::mmap(nullptr, 0x1000, PROT_READ, MAP_SHARED, file.get(), 0);
          if (at == MAP_FAILED || ::ftruncate(file.get(), 0) != 0) return 2;
          const volatile char* const there = static_cast<const char*>(at);
          return *there == 0 ? 3 : 4;
        }) < 0);
}
