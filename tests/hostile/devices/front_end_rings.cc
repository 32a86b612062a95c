// VU-11 to VU-14, VU-16, VU-17, VU-21: what lies in guest memory. The rules of chains are tested one by one
// in tests/vhost; here they meet the process.
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/hostile/devices/front_end_rows.h"

namespace cordon::hostile {
namespace {

using vhost_client::kIndirect;
using vhost_client::kNext;
using vhost_client::kWrite;

// Rings start anew, so that descriptor 0 is free and the next available entry is 0.
void lay(Visit& visit, const std::vector<RawDescriptor>& chain) {
  static_cast<void>(visit.front->stop(kTransmit));
  visit.transmit->reset();
  for (std::uint16_t i = 0; i < chain.size(); ++i) visit.transmit->descriptor(i) = chain[i];
  visit.transmit->available_entry(0) = 0;
  visit.front->start(kTransmit, *visit.transmit);
  visit.transmit->available_index() = 1;
  visit.front->kick(kTransmit);
}

// The chain of lay() comes back; then the ring is a driver's again.
bool comes_back(Visit& visit) {
  const auto end = std::chrono::steady_clock::now() + FrontEnd::kPatience;
  while (std::atomic_ref<std::uint16_t>{visit.transmit->used_index()}.load() != 1) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  static_cast<void>(visit.front->stop(kTransmit));
  visit.transmit->reset();
  visit.front->start(kTransmit, *visit.transmit);
  return true;
}

// Addresses are relative to the scratch memory, but for the impossible ones.
FrontEndRow chain(std::string_view id, std::string_view name, End end, std::vector<RawDescriptor> descriptors,
                  bool relative = true) {
  return {id, name, end, [=](Visit& visit) {
            std::vector<RawDescriptor> laid = descriptors;
            if (relative)
              for (RawDescriptor& d : laid) d.address += visit.scratch;
            lay(visit, laid);
            return end != End::kKept || comes_back(visit);
          }};
}

constexpr std::uint16_t kSize = 256;

// An indirect table in the scratch memory, and the descriptor that names it.
FrontEndRow table(std::string_view name, End end, RawDescriptor head, std::vector<RawDescriptor> entries,
                  const Visit::Options& options = {}) {
  return {"VU-14", name, end,
          [=](Visit& visit) {
            auto* const at = reinterpret_cast<RawDescriptor*>(visit.memory.at(visit.scratch));
            for (std::size_t i = 0; i < entries.size(); ++i) {
              at[i] = entries[i];
              at[i].address += visit.scratch;
            }
            RawDescriptor first = head;
            first.address += visit.scratch;
            lay(visit, {first});
            return true;
          },
          options};
}

// A frame with this header in front is dropped, alone.
FrontEndRow net_header(std::string_view name, std::array<std::uint8_t, 12> header, std::size_t frame = 60,
                       const Visit::Options& options = {}) {
  return {"VU-16", name, End::kKept,
          [=](Visit& visit) {
            std::vector<std::byte> bytes(12 + frame, std::byte{0x5a});
            std::memcpy(bytes.data(), header.data(), header.size());
            visit.put(bytes);
            return visit.given_back();
          },
          options};
}

constexpr Visit::Options kPlain{.features = 0};

bool split_over(Visit& visit, std::size_t pieces) {
  std::vector<std::byte> bytes(12 + 60);
  std::memset(bytes.data() + 12, 0xff, 12);
  std::memcpy(visit.memory.at(visit.scratch), bytes.data(), bytes.size());
  std::vector<Buffer> buffers;
  for (std::size_t i = 0; i + 1 < pieces; ++i) buffers.push_back({visit.scratch + i, 1});
  buffers.push_back({visit.scratch + pieces - 1, static_cast<std::uint32_t>(bytes.size() - pieces + 1)});
  if (!visit.transmit->add(buffers, false)) return false;
  visit.offer();
  return visit.given_back();
}

// Another thread of the guest rewrites descriptors and frames while they are read.
bool race(Visit& visit) {
  std::atomic<bool> stop{false};
  std::thread other{[&] {
    for (std::uint32_t i = 0; !stop; ++i) {
      auto* const at =
          reinterpret_cast<RawDescriptor*>(visit.memory.at(visit.transmit->descriptors_address()));
      RawDescriptor& one = at[i % kSize];
      std::atomic_ref<std::uint32_t>{one.length}.store(i % 3 == 0 ? 0xffffffff : 64 + i % 2000);
      std::atomic_ref<std::uint64_t>{one.address}.store(i % 5 == 0 ? ~0ULL : visit.scratch + i % 4096);
      auto* const words = reinterpret_cast<std::uint32_t*>(visit.memory.at(visit.scratch));
      std::atomic_ref<std::uint32_t>{words[i % 1024]}.store(i * 2654435761U);
    }
  }};
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{300};
  while (std::chrono::steady_clock::now() < end) {
    for (std::uint16_t i = 0; i < 64; ++i) {
      visit.transmit->available_entry(static_cast<std::uint16_t>(visit.transmit->available_index() + i)) = i;
    }
    visit.transmit->available_index() = static_cast<std::uint16_t>(visit.transmit->used_index() + 64);
    visit.front->kick(kTransmit);
    std::this_thread::yield();
  }
  stop = true;
  other.join();
  return true;
}

const FrontEndRow kRows[] = {
    {"VU-11", "the available index jumps", End::kViolated,
     [](Visit& visit) {
       visit.transmit->available_index() =
           static_cast<std::uint16_t>(visit.transmit->available_index() + kSize + 1);
       visit.front->kick(kTransmit);
       return true;
     }},
    {"VU-11", "it goes backwards", End::kViolated,
     [](Visit& visit) {
       visit.transmit->available_index() = static_cast<std::uint16_t>(visit.transmit->available_index() - 1);
       visit.front->kick(kTransmit);
       return true;
     }},
    {"VU-11", "an entry that no ring has", End::kViolated,
     [](Visit& visit) {
       visit.transmit->available_entry(visit.transmit->available_index()) = kSize;
       ++visit.transmit->available_index();
       visit.front->kick(kTransmit);
       return true;
     }},
    {"VU-11", "nonsense in the event indexes", End::kKept,
     [](Visit& visit) {
       visit.transmit->used_event() = 0xdead;
       visit.receive->used_event() = 0xdead;
       visit.transmit->available_event() = 0xbeef;
       visit.transmit->used_flags() = 0xffff;
       return true;
     }},

    chain("VU-12", "length 0", End::kKept, {{0, 0, 0, 0}}),
    chain("VU-12", "length 2^32-1", End::kViolated, {{0, ~0U, 0, 0}}),
    chain("VU-12", "address 0", End::kViolated, {{0, 100, 0, 0}}, false),
    chain("VU-12", "address and length wrap", End::kViolated, {{~0ULL - 10, 100, 0, 0}}, false),
    chain("VU-12", "written by us, on the way from the guest", End::kViolated, {{0, 100, kWrite, 0}}),
    chain("VU-12", "written by us before read by us", End::kViolated,
          {{0, 100, kWrite | kNext, 1}, {100, 100, 0, 0}}),
    {"VU-12", "read by us, on the way to the guest", End::kViolated,
     [](Visit& visit) {
       static_cast<void>(visit.front->stop(kReceive));
       visit.receive->reset();
       visit.receive->descriptor(0) = {visit.scratch, 2000, 0, 0};
       visit.receive->available_entry(0) = 0;
       visit.front->start(kReceive, *visit.receive);
       visit.receive->available_index() = 1;
       visit.front->kick(kReceive);
       visit.ask_and_leave();
       return true;
     }},

    chain("VU-13", "a chain that is its own next", End::kViolated, {{0, 1, kNext, 0}}),
    chain("VU-13", "a loop of two", End::kViolated, {{0, 1, kNext, 1}, {0, 1, kNext, 0}}),
    chain("VU-13", "a next that no ring has", End::kViolated, {{0, 1, kNext, kSize}}),
    {"VU-13", "a chain of the whole ring", End::kKept,
     [](Visit& visit) {
       std::vector<RawDescriptor> all;
       for (std::uint16_t i = 0; i < kSize; ++i)
         all.push_back({visit.scratch + i, 1, static_cast<std::uint16_t>(i + 1 < kSize ? kNext : 0),
                        static_cast<std::uint16_t>(i + 1)});
       lay(visit, all);
       return comes_back(visit);
     }},
    {"VU-13", "a header split byte by byte", End::kKept, [](Visit& visit) { return split_over(visit, 13); }},
    chain("VU-13", "shorter than its header", End::kKept, {{0, 11, 0, 0}}),

    table("a table in a table", End::kViolated, {0, 32, kIndirect, 0}, {{0, 16, kIndirect, 0}}),
    table("a table and a next", End::kViolated, {0, 32, kIndirect | kNext, 1}, {{64, 100, 0, 0}}),
    table("a table of 17 bytes", End::kViolated, {0, 17, kIndirect, 0}, {{64, 100, 0, 0}}),
    table("a table of no bytes", End::kViolated, {0, 0, kIndirect, 0}, {}),
    table("2^20 entries", End::kViolated, {0, 1U << 24U, kIndirect, 0}, {}),
    table("a loop in the table", End::kViolated, {0, 16, kIndirect, 0}, {{64, 1, kNext, 0}}),
    table("a table that was not negotiated", End::kViolated, {0, 16, kIndirect, 0}, {{64, 100, 0, 0}},
          kPlain),
    {"VU-14", "a table over the end of memory", End::kViolated,
     [](Visit& visit) {
       lay(visit, {{visit.end() - 16, 32, kIndirect, 0}});
       return true;
     }},

    net_header("a checksum behind the frame", {1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}),
    net_header("a checksum field over the end", {1, 0, 0, 0, 0, 0, 59, 0, 1, 0}),
    net_header("an unknown kind of segmentation", {1, 9, 0, 0, 0xb4, 5, 34, 0, 16, 0}, 3000),
    net_header("segments of size 0", {1, 1, 54, 0, 0, 0, 34, 0, 16, 0}, 3000),
    net_header("segments of one byte", {1, 1, 54, 0, 1, 0, 34, 0, 16, 0}, 3000),
    net_header("segments of 65,535 bytes", {1, 1, 54, 0, 0xff, 0xff, 34, 0, 16, 0}, 3000),
    net_header("headers longer than the frame", {1, 1, 0xff, 0xff, 0xb4, 5, 34, 0, 16, 0}, 3000),
    net_header("offloads that were not negotiated", {1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0}, 3000, kPlain),
    net_header("every bit", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}),

    {"VU-17", "everything changes while it is read", End::kEither, race},

    {"VU-21", "no buffers at all", End::kKept,
     [](Visit& visit) {
       visit.restart_receive();
       for (int i = 0; i < 200; ++i) visit.ask_and_leave();
       if (!visit.given_back()) return false;
       visit.post_buffers(2048);
       return true;
     }},
    {"VU-21", "buffers of one byte", End::kKept,
     [](Visit& visit) {
       visit.restart_receive();
       visit.post_buffers(1);
       for (int i = 0; i < 200; ++i) visit.ask_and_leave();
       if (!visit.given_back()) return false;
       visit.restart_receive();
       visit.post_buffers(2048);
       return true;
     }},
    {"VU-21", "buffers of one byte, not merged", End::kLeft,
     [](Visit& visit) {
       visit.restart_receive();
       visit.post_buffers(1);
       for (int i = 0; i < 200; ++i) visit.ask_and_leave();
       return visit.given_back();
     },
     kPlain},
};

}  // namespace

std::span<const FrontEndRow> ring_rows() { return kRows; }

}  // namespace cordon::hostile
