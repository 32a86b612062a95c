// A queue pair in memory that the input has written: its first bytes say what was negotiated, how large the
// rings are and what the worker does; the rest is the memory, rings first.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "core/base/check.h"
#include "core/vhost/dirty_log.h"
#include "core/vhost/vhost_link.h"

using namespace cordon;

namespace {

constexpr std::size_t kRegion = std::size_t{128} << 10U;
constexpr std::uint64_t kFirst = 0x10000, kSecond = 0x100000;  // the input is what lies at kFirst
constexpr std::size_t kProgram = 16;
constexpr std::size_t kReceiveRing = 0x800;

vhost::RingConfig ring_at(std::span<std::byte> memory, std::size_t at, std::uint16_t size) {
  const auto part = [&](std::size_t offset, std::size_t length) {
    return memory.subspan(at + offset, length);
  };
  const std::size_t n = size;
  return {.size = size,
          .descriptors = part(0, 16 * n),
          .available = part(16 * n, 6 + 2 * n),
          .used = part(20 * n, 6 + 8 * n),  // behind the available ring, with room for its event
          .base = 0,
          .used_logged = vhost::GuestAddress{kFirst + at + 20 * n}};
}

vhost::Negotiated features_of(std::uint8_t bits, std::uint8_t more) {
  const auto on = [bits](unsigned i) { return (unsigned{bits} >> i & 1U) != 0; };
  return {.merge_buffers = on(0),
          .guest_checksum = on(1),
          .guest_tso4 = on(1),
          .guest_tso6 = on(2),
          .guest_uso4 = on(2),
          .guest_uso6 = on(2),
          .checksum = on(3),
          .host_tso4 = on(3),
          .host_tso6 = on(4),
          .host_uso = on(4),
          .event_index = on(5),
          .indirect = on(6),
          .log_all = (more & 0x80U) != 0};
}

void check(const vhost::VhostLink& link) {
  const auto& stats = link.stats();
  CORDON_CHECK(stats.chains_from_guest == stats.frames_from_guest + stats.bad_length + stats.bad_offload);
  if (link.dead()) CORDON_CHECK(!link.pending() && !vhost::name(*link.violation()).empty());
}

bool inside(std::span<const std::byte> region, const iovec& piece) {
  const auto* const at = static_cast<const std::byte*>(piece.iov_base);
  return at >= region.data() && at + piece.iov_len <= region.data() + region.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kProgram) return 0;
  std::array<std::uint8_t, kProgram> program;
  std::memcpy(program.data(), data, kProgram);
  // Not on the stack: AddressSanitizer then sees each byte beside it.
  std::vector<std::byte> first(kRegion), second(kRegion);
  std::vector<std::byte> bitmap(256);
  std::memcpy(first.data(), data + kProgram, std::min(size - kProgram, kRegion));

  vhost::MemoryTable table;
  CORDON_CHECK(table.add({{kFirst}, {kFirst}, first}));
  CORDON_CHECK(table.add({{kSecond}, {kSecond}, second}));
  vhost::DirtyLog log{bitmap};
  vhost::PairState state;
  state.features = features_of(program[0], program[1]);
  state.memory = &table;
  state.log = &log;
  const auto ring_size = static_cast<std::uint16_t>(1U << (program[1] % 7));  // 1..64
  state.receive.ring = ring_at(first, kReceiveRing, ring_size);
  state.transmit.ring = ring_at(first, 0, ring_size);
  static vhost::VhostLink* link = nullptr;
  if (link == nullptr || link->dead()) {
    delete link;
    link = new vhost::VhostLink;
  }
  link->apply(state);

  std::array<link::Frame, 64> frames;
  std::vector<std::byte> payload(70000);
  for (std::size_t i = 2; i < kProgram; ++i) {
    const std::uint8_t step = program[i];
    switch (step >> 5U) {
      case 0:
      case 1: {
        const std::size_t n = link->receive(frames);
        for (std::size_t k = 0; k < n; ++k) {
          link::Frame& frame = frames[k];
          std::size_t tail = 0;
          for (const iovec& piece : frame.tail.pieces) {
            CORDON_CHECK(piece.iov_len != 0 && (inside(first, piece) || inside(second, piece)));
            tail += piece.iov_len;
          }
          CORDON_CHECK(tail == frame.tail.size && frame.tail.pieces.size() <= link::kMostPieces);
          const std::size_t whole = frame.bytes.size() + tail;
          if (tail != 0) CORDON_CHECK(frame.offload.needs_checksum && frame.bytes.size() >= 134);
          if ((step & 1U) != 0) link::complete(frame);
          CORDON_CHECK(frame.bytes.size() == ((step & 1U) != 0 ? whole : whole - tail));
          CORDON_CHECK(whole >= 14 && whole < 70000);
          if (frame.offload.needs_checksum)
            CORDON_CHECK(std::size_t{frame.offload.checksum_start} + frame.offload.checksum_offset + 2 <=
                         whole);
        }
        break;
      }
      case 2:
      case 3: {
        const std::array<iovec, 2> parts{iovec{payload.data(), 14},
                                         iovec{payload.data() + 14, std::size_t{step & 31U} * 2100}};
        link::Offload offload;
        if ((step & 32U) != 0) {
          offload = {.needs_checksum = true, .checksum_start = 34, .checksum_offset = 16};
          offload.gso = link::Gso::kTcp4;
          offload.gso_size = 1400;
        }
        static_cast<void>(link->send(offload, parts));
        break;
      }
      case 4: link->flush(); break;
      case 5: static_cast<void>(link->before_sleep()); break;
      case 6:  // the guest goes on: more is available
        for (const std::size_t at : {std::size_t{0}, kReceiveRing}) {
          std::byte& index = first[at + 16 * std::size_t{ring_size} + 2];
          index = static_cast<std::byte>(std::to_integer<unsigned>(index) + 1);
        }
        break;
      default:
        state.receive.ring->base = link->next_available(false);
        state.transmit.ring->base = link->next_available(true);
        link->apply(state);
    }
    check(*link);
  }
  link->apply({});  // the memory goes
  return 0;
}
