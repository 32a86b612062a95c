// VU-04 to VU-07, VU-09, VU-10: guest memory, and rings that come and go under frames.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

#include "tests/hostile/devices/front_end_rows.h"

namespace cordon::hostile {
namespace {

using base::Fd;

constexpr unsigned kResetOwner = 4, kSetMemoryTable = 5, kSetRingAddresses = 9, kAddRegion = 37,
                   kRemoveRegion = 38;
constexpr std::uint64_t kTop = ~std::uint64_t{0} - 4095;

bool refused(const std::optional<std::uint64_t>& answer) { return answer && *answer != 0; }

Fd memfd(std::size_t size, unsigned seals = 0) {
  Fd fd{::memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  static_cast<void>(!::ftruncate(fd.get(), static_cast<off_t>(size)));
  if (seals != 0) ::fcntl(fd.get(), F_ADD_SEALS, seals);
  return fd;
}

struct Region {
  std::uint64_t guest, size, user, offset;
};
Payload table(std::initializer_list<Region> regions, std::uint32_t count) {
  Payload out = words({count, 0});
  for (const Region& r : regions) {
    const Payload one = numbers({r.guest, r.size, r.user, r.offset});
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

// A table that cannot even be read: the end.
FrontEndRow broken(std::string_view name, std::initializer_list<Region> regions, std::uint32_t count) {
  return {"VU-04", name, End::kViolated, [bytes = table(regions, count), fds = regions.size()](Visit& visit) {
            visit.say(kSetMemoryTable, bytes, std::vector<int>(fds, visit.memory.fd()));
            return true;
          }};
}
// One that cannot be used: refused with an answer, and the old one stays.
FrontEndRow unusable(std::string_view id, std::string_view name, std::initializer_list<Region> regions) {
  return {id, name, End::kKept,
          [bytes = table(regions, static_cast<std::uint32_t>(regions.size())),
           fds = regions.size()](Visit& visit) {
            return refused(visit.ask(kSetMemoryTable, bytes, std::vector<int>(fds, visit.memory.fd())));
          }};
}

constexpr std::uint64_t kUser = 0x7f00'0000'0000;

// Addresses of the transmit ring that cannot be, while it stands.
FrontEndRow addresses(std::string_view name, std::uint64_t descriptors, std::uint64_t used,
                      std::uint64_t available, bool relative = true) {
  return {"VU-07", name, End::kKept, [=](Visit& visit) {
            static_cast<void>(visit.front->stop(kTransmit));
            const std::uint64_t base = relative ? visit.user(visit.memory.start()) : 0;
            Payload message = words({kTransmit, 0});
            const Payload rest = numbers({base + descriptors, base + used, base + available, 0});
            message.insert(message.end(), rest.begin(), rest.end());
            if (!refused(visit.ask(kSetRingAddresses, message))) return false;
            visit.transmit->reset();
            visit.front->start(kTransmit, *visit.transmit);
            return true;
          }};
}

constexpr std::uint64_t kEnd = std::uint64_t{4} << 20U;

const FrontEndRow kRows[] = {
    broken("no regions", {}, 0),
    broken("nine regions", {}, 9),
    broken("2^32-1 regions", {}, ~0U),
    broken("a region of no size", {{0, 0, kUser, 0}}, 1),
    broken("size and offset wrap", {{0, 0x2000, kUser, kTop}}, 1),
    broken("guest addresses wrap", {{kTop, 0x2000, kUser, 0}}, 1),
    broken("user addresses wrap", {{0, 0x2000, kTop, 0}}, 1),
    broken("a size that wraps all", {{0x1000, ~0ULL - 0xfff, kUser, 0x1000}}, 1),
    unusable("VU-04", "an offset that is no page", {{0, 0x1000, kUser, 0x10}}),
    unusable("VU-04", "longer than its file", {{0, kEnd + 0x1000, kUser, 0}}),
    unusable("VU-05", "regions that overlap for the guest",
             {{0, 0x2000, kUser, 0}, {0x1000, 0x2000, kUser + 0x10000, 0}}),
    unusable("VU-05", "regions that overlap for the front end",
             {{0, 0x2000, kUser, 0}, {0x10000, 0x2000, kUser + 0x1000, 0}}),
    {"VU-05", "a frame over the border of two regions", End::kViolated,
     [](Visit& visit) {
       const std::uint64_t start = visit.memory.start(), half = kEnd / 2, user = visit.user(start);
       const std::vector<int> fds(2, visit.memory.fd());
       if (visit.ask(kSetMemoryTable,
                     table({{start, half, user, 0}, {start + half, half, user + half, half}}, 2), fds) != 0)
         return false;
       if (!visit.works()) return false;  // each half is as good as the whole
       const Buffer buffer{start + half - 30, 100};
       if (!visit.transmit->add(std::span(&buffer, 1), false)) return false;
       visit.offer();
       return true;
     }},
    {"VU-05", "a frame in the last bytes of memory", End::kKept,
     [](Visit& visit) {
       const Buffer buffer{visit.end() - 100, 100};
       if (!visit.transmit->add(std::span(&buffer, 1), false)) return false;
       visit.offer();
       return visit.given_back();
     }},

    {"VU-06", "a file that shrinks under the rings", End::kViolated,
     [](Visit& visit) {
       static_cast<void>(!::ftruncate(visit.memory.fd(), 0));
       visit.front->kick(kTransmit);
       return true;
     }},
    {"VU-06", "a hole where frames lie", End::kKept,
     [](Visit& visit) {
       const auto from = static_cast<off_t>(visit.scratch - visit.memory.start());
       static_cast<void>(
           !::fallocate(visit.memory.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, 65536));
       const Buffer buffer{visit.scratch, 1000};
       if (!visit.transmit->add(std::span(&buffer, 1), false)) return false;
       visit.offer();
       return visit.given_back();
     }},
    {"VU-06", "memory that may not be written", End::kKept,
     [](Visit& visit) {
       const Fd sealed = memfd(0x10000, F_SEAL_WRITE);
       return refused(visit.ask(kSetMemoryTable, table({{0, 0x10000, kUser, 0}}, 1), {sealed.get()}));
     }},
    {"VU-06", "an empty file", End::kKept,
     [](Visit& visit) {
       const Fd empty = memfd(0);
       return refused(visit.ask(kSetMemoryTable, table({{0, 0x10000, kUser, 0}}, 1), {empty.get()}));
     }},

    addresses("descriptors outside of memory", kEnd, 0x2000, 0x1000),
    addresses("used over the end", 0, kEnd - 8, 0x1000),
    addresses("available over the end", 0, 0x2000, kEnd - 8),
    addresses("descriptors that are not aligned", 8, 0x4000, 0x2000),
    addresses("all in one place", 0x1000, 0x1000, 0x1000),
    addresses("used inside of the descriptors", 0x1000, 0x1100, 0x4000),
    addresses("guest addresses in place of the front end's", 0x40000000, 0x40002000, 0x40001000, false),
    addresses("addresses that wrap", ~15ULL, ~3ULL, ~1ULL, false),

    {"VU-09", "500 stops and starts with frames in flight", End::kKept,
     [](Visit& visit) {
       for (int i = 0; i < 500; ++i) {
         visit.ask_and_leave();
         static_cast<void>(visit.front->stop(kTransmit));
         static_cast<void>(visit.front->stop(kReceive));
         visit.restart();
         visit.post_buffers(2048);
       }
       return true;
     }},
    {"VU-09", "100 tables of memory with frames in flight", End::kKept,
     [](Visit& visit) {
       for (int i = 0; i < 100; ++i) {
         visit.ask_and_leave();
         visit.front->set_memory();
         if (i % 20 == 0 && !visit.works()) return false;
       }
       return true;
     }},
    {"VU-09", "a reset with frames in flight", End::kLeft,
     [](Visit& visit) {
       visit.ask_and_leave();
       return visit.ask(kResetOwner, {}) == 0;
     }},
    {"VU-09", "gone with frames in flight", End::kLeft,
     [](Visit& visit) {
       for (int i = 0; i < 100; ++i) visit.ask_and_leave();
       return true;
     }},

    {"VU-10", "the region of the rings goes, and comes back", End::kKept,
     [](Visit& visit) {
       const std::uint64_t start = visit.memory.start();
       const Payload region = numbers({0, start, kEnd, visit.user(start), 0});
       visit.ask_and_leave();
       return visit.ask(kRemoveRegion, region) == 0 &&
              visit.ask(kAddRegion, region, {visit.memory.fd()}) == 0;
     }},
    {"VU-10", "a region that never was", End::kKept,
     [](Visit& visit) { return refused(visit.ask(kRemoveRegion, numbers({0, 0x1000, 0x1000, kUser, 0}))); }},
    {"VU-10", "509 regions", End::kKept,
     [](Visit& visit) {
       unsigned taken = 0, over = 0;
       for (std::uint64_t i = 0; i < 509; ++i) {
         const std::uint64_t at = 0x1'0000'0000 + i * 0x10000;
         const auto answer =
             visit.ask(kAddRegion, numbers({0, at, 0x1000, kUser + at, 0}), {visit.memory.fd()});
         if (!answer) return false;
         ++(*answer == 0 ? taken : over);
       }
       return taken > 0 && over > 0;
     }},
};

}  // namespace

std::span<const FrontEndRow> memory_rows() { return kRows; }

}  // namespace cordon::hostile
