// Rings that lie, row by row: the device ends with the right reason, or the frame is lost and counted; never
// anything else.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <thread>

#include "tests/vhost/pair.h"

using namespace cordon;
using namespace cordon::vhost_client;
using vhost::RingViolation;

namespace {

constexpr std::uint16_t kSize = 64;

// A frame of 100 bytes in two descriptors, ready for a lie.
struct Lie {
  Pair pair;
  std::uint16_t first = 0, second = 0;
  std::uint64_t address = 0;
  explicit Lie(const vhost::Negotiated& features) : pair(features, kSize, std::size_t{2} << 20U) {
    address = pair.memory.allocate(4096, 16);
    const std::array<Buffer, 2> buffers{{{address, 12}, {address + 12, 100}}};
    first = pair.transmit.add(buffers, false).value();
    second = pair.transmit.descriptor(first).next;
    // Descriptors of an indirect table for whom it may concern.
    auto* const table = reinterpret_cast<RawDescriptor*>(pair.memory.at(this->table()));
    table[0] = {address, 12, kNext, 1};
    table[1] = {address + 12, 100, 0, 0};
  }
  [[nodiscard]] std::uint64_t table() const { return address + 1024; }
  RawDescriptor& at(std::uint16_t i) { return pair.transmit.descriptor(i); }
  RawDescriptor& entry(std::size_t i) { return reinterpret_cast<RawDescriptor*>(pair.memory.at(table()))[i]; }
  void indirect(std::uint32_t length, std::uint16_t flags = kIndirect) {
    at(first) = {table(), length, flags, at(first).next};
  }
  [[nodiscard]] std::uint64_t end() const { return pair.memory.start() + pair.memory.size(); }
};

constexpr vhost::Negotiated plain() {
  vhost::Negotiated features = kEverything;
  features.indirect = false;  // so that the driver itself makes direct chains
  return features;
}

struct Row {
  std::string_view name;
  std::function<void(Lie&)> lie;
  std::optional<RingViolation> violation;  // nullopt: lives
  std::size_t frames = 0;                  // of those that live
};

}  // namespace

TEST_CASE("hostile ring: each lie about a chain from the guest has its end") {
  const std::initializer_list<Row> rows{
      {"the truth", [](Lie&) {}, {}, 1},
      {"head out of range", [](Lie& l) { l.pair.transmit.available_entry(0) = kSize; },
       RingViolation::kHeadOutOfRange},
      {"head 65535", [](Lie& l) { l.pair.transmit.available_entry(0) = 65535; },
       RingViolation::kHeadOutOfRange},
      {"next out of range", [](Lie& l) { l.at(l.first).next = kSize; }, RingViolation::kNextOutOfRange},
      {"next 65535", [](Lie& l) { l.at(l.first).next = 65535; }, RingViolation::kNextOutOfRange},
      {"a loop onto itself", [](Lie& l) { l.at(l.first).next = l.first; }, RingViolation::kLoop},
      {"a loop of two", [](Lie& l) { l.at(l.second) = {l.address, 1, kNext, l.first}; },
       RingViolation::kLoop},
      {"a loop of nothing", [](Lie& l) { l.at(l.second) = {l.address, 0, kNext, l.first}; },
       RingViolation::kLoop},
      {"written by us", [](Lie& l) { l.at(l.second).flags = kWrite; }, RingViolation::kDirection},
      {"written by us before read", [](Lie& l) { l.at(l.first).flags = kWrite | kNext; },
       RingViolation::kDirection},
      {"unknown flags", [](Lie& l) { l.at(l.second).flags = 0xfff8; }, {}, 1},
      {"address 0", [](Lie& l) { l.at(l.second).address = 0; }, RingViolation::kOutsideMemory},
      {"right behind memory", [](Lie& l) { l.at(l.second).address = l.end(); },
       RingViolation::kOutsideMemory},
      {"the last bytes of memory", [](Lie& l) { l.at(l.second).address = l.end() - 100; }, {}, 1},
      {"one byte over the end", [](Lie& l) { l.at(l.second).address = l.end() - 99; },
       RingViolation::kOutsideMemory},
      {"before memory into it", [](Lie& l) { l.at(l.second).address = l.pair.memory.start() - 1; },
       RingViolation::kOutsideMemory},
      {"address and length wrap", [](Lie& l) { l.at(l.second) = {UINT64_MAX - 10, 100, 0, 0}; },
       RingViolation::kOutsideMemory},
      {"length 2^32-1", [](Lie& l) { l.at(l.second).length = UINT32_MAX; }, RingViolation::kOutsideMemory},
      {"all of memory is a frame",
       [](Lie& l) {
         l.at(l.second) = {l.pair.memory.start(), static_cast<std::uint32_t>(l.pair.memory.size()), 0, 0};
       },
       {},
       0},
      {"an outside buffer of length 0", [](Lie& l) { l.at(l.second) = {0, 0, 0, 0}; }, {}, 0},
      {"nothing at all",
       [](Lie& l) {
         l.at(l.first).length = 0;
         l.at(l.second).length = 0;
       },
       {},
       0},
      {"indirect", [](Lie& l) { l.indirect(32); }, {}, 1},
      {"indirect behind a direct one",
       [](Lie& l) {
         l.at(l.first).length = 0;
         l.at(l.second) = {l.table(), 32, kIndirect, 0};
       },
       {},
       1},
      {"indirect with WRITE", [](Lie& l) { l.indirect(32, kIndirect | kWrite); }, {}, 1},
      {"indirect with NEXT", [](Lie& l) { l.indirect(32, kIndirect | kNext); },
       RingViolation::kIndirectContinued},
      {"indirect of nothing", [](Lie& l) { l.indirect(0); }, RingViolation::kIndirectLength},
      {"indirect of 15 bytes", [](Lie& l) { l.indirect(15); }, RingViolation::kIndirectLength},
      {"indirect of 33 bytes", [](Lie& l) { l.indirect(33); }, RingViolation::kIndirectLength},
      {"indirect of 2^20 entries", [](Lie& l) { l.indirect(1U << 24U); }, RingViolation::kIndirectLength},
      {"indirect of 2^32-16 bytes", [](Lie& l) { l.indirect(0xfffffff0U); }, RingViolation::kIndirectLength},
      {"indirect in indirect", [](Lie& l) { l.indirect(32), l.entry(1) = {l.table(), 32, kIndirect, 0}; },
       RingViolation::kIndirectNested},
      {"indirect table over the end", [](Lie& l) { l.at(l.first) = {l.end() - 16, 32, kIndirect, 0}; },
       RingViolation::kOutsideMemory},
      {"indirect table in no memory", [](Lie& l) { l.at(l.first) = {16, 32, kIndirect, 0}; },
       RingViolation::kOutsideMemory},
      {"next behind the indirect table", [](Lie& l) { l.indirect(32), l.entry(0).next = 2; },
       RingViolation::kNextOutOfRange},
      {"a loop in the indirect table", [](Lie& l) { l.indirect(32), l.entry(1) = {l.address, 1, kNext, 0}; },
       RingViolation::kLoop},
      {"indirect entry outside memory", [](Lie& l) { l.indirect(32), l.entry(1).address = 1; },
       RingViolation::kOutsideMemory},
      {"indirect entry written by us", [](Lie& l) { l.indirect(32), l.entry(1).flags = kWrite; },
       RingViolation::kDirection},
      {"an unaligned indirect table",
       [](Lie& l) {
         std::memmove(l.pair.memory.at(l.table() + 1), l.pair.memory.at(l.table()), 32);
         l.indirect(32);
         l.at(l.first).address += 1;
       },
       {},
       1},
      {"unknown GSO type", [](Lie& l) { l.pair.memory.at(l.address)[1] = std::byte{9}; }, {}, 0},
      {"checksum behind the frame",
       [](Lie& l) { std::memset(l.pair.memory.at(l.address), 0x01, 12); },
       {},
       0},
      {"a header of ones", [](Lie& l) { std::memset(l.pair.memory.at(l.address), 0xff, 12); }, {}, 0},
  };
  for (const bool event_index : {false, true}) {
    for (const Row& row : rows) {
      CAPTURE(row.name);
      auto features = plain();
      features.event_index = event_index;
      Lie lie{features};
      lie.pair.state.features.indirect = true;
      lie.pair.apply();
      row.lie(lie);
      lie.pair.transmit.publish();
      auto& link = lie.pair.link;
      CHECK(lie.pair.receive_frames() == row.frames);
      CHECK(link.violation() == row.violation);
      link.flush();
      CHECK(lie.pair.transmit.used_index() == (row.violation ? 0 : 1));
      const auto& stats = link.stats();
      CHECK(stats.chains_from_guest == stats.frames_from_guest + stats.bad_length + stats.bad_offload);
      // The dead are quiet.
      if (row.violation) {
        CHECK_FALSE(link.pending());
        CHECK_FALSE(link.before_sleep());
        CHECK(lie.pair.receive_frames() == 0);
        const iovec part{};
        CHECK(link.send({}, std::span(&part, 1)) == link::SendStatus::kDropped);
        lie.pair.apply();
        CHECK(lie.pair.receive_frames() == 0);
      }
    }
  }
}

TEST_CASE("hostile ring: indirect without the feature ends the device") {
  Lie lie{plain()};
  lie.indirect(32);
  lie.pair.transmit.publish();
  CHECK(lie.pair.receive_frames() == 0);
  CHECK(lie.pair.link.violation() == RingViolation::kIndirectNotNegotiated);
}

TEST_CASE("hostile ring: an available index that jumps ends the device, whichever ring") {
  for (const int jump : {int{kSize} + 1, 1000, 32768, 65535, -1}) {
    CAPTURE(jump);
    for (const bool transmit : {false, true}) {
      Pair pair{kEverything, kSize};
      (transmit ? pair.transmit : pair.receive).available_index() = static_cast<std::uint16_t>(jump);
      const auto frame = some_frame(60);
      const iovec part{const_cast<std::byte*>(frame.data()), frame.size()};
      if (!transmit) CHECK(pair.link.send({}, std::span(&part, 1)) == link::SendStatus::kDropped);
      if (transmit) CHECK(pair.receive_frames() == 0);
      CHECK(pair.link.violation() == RingViolation::kAvailableJump);
    }
  }
}

TEST_CASE("hostile ring: a full ring of zeroes is no jump, and each chain is judged") {
  Pair pair{kEverything, kSize};
  pair.transmit.available_index() = kSize;  // all entries name descriptor 0, which has no bytes
  pair.transmit.descriptor(0) = {};
  CHECK(pair.receive_frames() == 0);
  CHECK(pair.link.stats().bad_length == kSize);
  CHECK_FALSE(pair.link.dead());
}

TEST_CASE("hostile ring: each lie about a buffer for the guest has its end") {
  struct Lies {
    std::string_view name;
    RawDescriptor descriptor;
    std::optional<RingViolation> violation;
  };
  constexpr std::uint64_t kStart = 0x4000'0000;
  for (const Lies& c : std::initializer_list<Lies>{
           {"read by us", {kStart, 2000, 0, 0}, RingViolation::kDirection},
           {"outside memory", {1, 2000, kWrite, 0}, RingViolation::kOutsideMemory},
           {"over the end", {kStart + (8U << 20U) - 1999, 2000, kWrite, 0}, RingViolation::kOutsideMemory},
           {"loop", {kStart, 1, kWrite | kNext, 0}, RingViolation::kLoop},
           {"no room", {kStart, 0, kWrite, 0}, {}},
       }) {
    CAPTURE(c.name);
    Pair pair{kEverything, kSize};
    pair.receive.descriptor(0) = c.descriptor;
    pair.receive.available_index() = 1;
    const auto frame = some_frame(60);
    const iovec part{const_cast<std::byte*>(frame.data()), frame.size()};
    CHECK(pair.link.send({}, std::span(&part, 1)) ==
          (c.violation ? link::SendStatus::kDropped : link::SendStatus::kAgain));
    CHECK(pair.link.violation() == c.violation);
  }
}

TEST_CASE("hostile ring: buffers of nothing never add up, and the frame is lost") {
  Pair pair{kEverything, kSize};
  for (std::uint16_t i = 0; i < kSize; ++i) {
    pair.receive.descriptor(i) = {0, 0, kWrite, 0};
    pair.receive.available_entry(i) = i;
  }
  pair.receive.available_index() = kSize;
  const auto frame = some_frame(60);
  const iovec part{const_cast<std::byte*>(frame.data()), frame.size()};
  for (int i = 0; i < 3; ++i) CHECK(pair.link.send({}, std::span(&part, 1)) == link::SendStatus::kDropped);
  CHECK(pair.link.stats().not_fitting == 3);
  CHECK_FALSE(pair.link.pending());
  CHECK_FALSE(pair.link.before_sleep());
}

// Each available entry is a whole ring of one-byte buffers: more segments than are ever kept.
TEST_CASE("hostile ring: endless chains for the guest are bounded") {
  Pair pair{kEverything, vhost::kMaxRingSize};
  const std::uint64_t buffer = pair.memory.allocate(1);
  for (std::uint16_t i = 0; i < vhost::kMaxRingSize; ++i) {
    const bool last = i + 1 == vhost::kMaxRingSize;
    pair.receive.descriptor(i) = {buffer, 1, static_cast<std::uint16_t>(last ? kWrite : kWrite | kNext),
                                  static_cast<std::uint16_t>(i + 1)};
    pair.receive.available_entry(i) = 0;
  }
  pair.receive.available_index() = vhost::kMaxRingSize;
  const auto frame = some_frame(60000);
  const iovec part{const_cast<std::byte*>(frame.data()), frame.size()};
  CHECK(pair.link.send({}, std::span(&part, 1)) == link::SendStatus::kDropped);
  const iovec small{const_cast<std::byte*>(frame.data()), 1500};
  CHECK(pair.link.send({}, std::span(&small, 1)) == link::SendStatus::kSent);
  CHECK_FALSE(pair.link.dead());
}

// The guest changes descriptors, header and bytes while they are read. What comes out must be one of the
// things that were there: an offload that was judged against the very frame.
#if !defined(__SANITIZE_THREAD__)
TEST_CASE("hostile ring: a guest that changes everything under our eyes changes nothing in our copy") {
  Lie lie{plain()};
  auto& pair = lie.pair;
  pair.state.features.indirect = true;
  pair.apply();
  std::atomic<bool> stop{false};
  std::thread writer{[&] {
    auto* const descriptors = &lie.at(0);
    volatile std::byte* const bytes = pair.memory.at(lie.address);
    for (std::uint32_t x = 12345; !stop.load(std::memory_order_relaxed);) {
      x = x * 1664525U + 1013904223U;
      bytes[x % 12] = static_cast<std::byte>(x >> 24U);
      volatile std::uint32_t* const length = &descriptors[lie.second].length;
      *length = (x & 1U) != 0 ? 100 : 40;
      bytes[12 + (x >> 8U) % 100] = static_cast<std::byte>(x >> 16U);
    }
  }};
  std::size_t frames = 0;
  for (int i = 0; i < 20000; ++i) {
    pair.transmit.available_entry(static_cast<std::uint16_t>(i)) = lie.first;
    std::atomic_ref<std::uint16_t>{pair.transmit.available_index()}.store(static_cast<std::uint16_t>(i + 1));
    const std::size_t n = pair.receive_frames();
    frames += n;
    for (std::size_t k = 0; k < n; ++k) {
      const link::Frame& frame = pair.frames[k];
      const std::size_t size = frame.bytes.size();
      REQUIRE((size == 100 || size == 40));
      const auto& offload = frame.offload;
      REQUIRE_FALSE(offload.checksum_valid);
      if (offload.needs_checksum)
        REQUIRE(std::size_t{offload.checksum_start} + offload.checksum_offset + 2 <= size);
      if (offload.gso != link::Gso::kNone) REQUIRE(offload.gso_size != 0);
      const std::vector<std::byte> before(frame.bytes.begin(), frame.bytes.end());
      REQUIRE(std::ranges::equal(before, frame.bytes));  // nobody writes there any more
    }
  }
  stop = true;
  writer.join();
  CHECK_FALSE(pair.link.dead());
  const auto& stats = pair.link.stats();
  CHECK(stats.chains_from_guest == 20000);
  CHECK(frames == stats.frames_from_guest);
  CHECK(stats.chains_from_guest == stats.frames_from_guest + stats.bad_length + stats.bad_offload);
}
#endif
