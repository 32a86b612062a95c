// A front end's messages, one after another, through parser and device, with what must hold after each.
//
// Input: front end and pairs (1 byte), then records: descriptors, flags, request, size (1 byte each; 0xff as
// request stands for 2^32-1), payload. Memory is a piece of this process: offsets beyond it cannot be mapped.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>

#include "core/base/check.h"
#include "core/vhost/device.h"

using namespace cordon;
using namespace cordon::vhost;

namespace {

constexpr std::size_t kMemory = std::size_t{256} << 10U;
alignas(4096) std::array<std::byte, kMemory> memory;

class Machine {
 public:
  explicit Machine(std::uint8_t choice) : options_(choose(choice)), device_(options_) {}

  // False: the connection is over.
  bool take(std::span<const std::byte, kHeaderSize> header_bytes, base::Bytes payload, std::size_t fds) {
    const auto header = parse_header(header_bytes);
    if (!header) return false;
    const auto message = parse(*header, payload, fds);
    if (!message) return false;
    remember();
    const Outcome outcome = step(*message);
    check_answer(*message, outcome);
    check_rings(*message, outcome);
    return outcome.verdict != Outcome::Verdict::kViolation;
  }

 private:
  using Rings = std::array<std::optional<RingConfig>, kMaxQueues>;

  static DeviceOptions choose(std::uint8_t choice) {
    DeviceOptions options;
    options.front_end = static_cast<FrontEnd>(choice % 3);
    options.pairs = 1 + choice / 3 % kMaxPairs;
    return options;
  }

  void remember() {
    for (unsigned i = 0; i < device_.queues(); ++i) {
      before_[i] = device_.ring(i);
      started_[i] = device_.started(i);
    }
  }

  bool add(MemoryTable& table, const MemoryRegion& region) {
    if (region.user.value % 4096 != 0 || region.offset % 4096 != 0) return false;
    if (region.offset > kMemory || region.size > kMemory - region.offset) return false;
    return table.add({region.guest, region.user, std::span(memory).subspan(region.offset, region.size)});
  }

  Outcome step(const Message& message) {
    MemoryTable& next = tables_[1 - table_];
    Findings findings;
    for (unsigned i = 0; i < device_.queues(); ++i)
      if (before_[i]) findings.positions[i] = static_cast<std::uint16_t>(before_[i]->base + steps_);
    ++steps_;
    bool made = true;
    next = {};
    if (const auto* set = std::get_if<SetMemTable>(&message.body)) {
      for (std::size_t i = 0; i < set->count; ++i) made = made && add(next, set->regions[i]);
    } else if (const auto* plug = std::get_if<AddMemReg>(&message.body)) {
      next = tables_[table_];
      made = add(next, plug->region);
    } else if (const auto* unplug = std::get_if<RemMemReg>(&message.body)) {
      next = tables_[table_];
      const auto all = tables_[table_].regions();
      const auto at = std::ranges::find_if(all, [unplug](const Region& region) {
        return region.guest.value == unplug->region.guest.value && region.bytes.size() == unplug->region.size;
      });
      made = at != all.end() && next.remove(*at);
    } else {
      return device_.step(message, findings);
    }
    findings.table = made ? &next : nullptr;
    const Outcome outcome = device_.step(message, findings);
    CORDON_CHECK((outcome.verdict == Outcome::Verdict::kDone) == made);
    if (made) table_ = 1 - table_;
    return outcome;
  }

  static void check_answer(const Message& message, const Outcome& outcome) {
    const bool violation = outcome.verdict == Outcome::Verdict::kViolation;
    CORDON_CHECK((outcome.verdict == Outcome::Verdict::kDone) == outcome.why.empty());
    if (violation) {
      CORDON_CHECK(!outcome.reply && outcome.changed.none());
      return;
    }
    if (message.need_reply) CORDON_CHECK(outcome.reply.has_value());
    if (!outcome.reply) return;
    const base::Bytes bytes = outcome.reply->bytes();
    std::array<std::uint32_t, 3> header;
    CORDON_CHECK(bytes.size() >= sizeof header);
    std::memcpy(header.data(), bytes.data(), sizeof header);
    CORDON_CHECK(header[0] == message.request && header[1] == 5 && header[2] == bytes.size() - sizeof header);
  }

  static bool inside(std::span<const std::byte> bytes) {
    constexpr std::less_equal<> kUpTo;
    return kUpTo(memory.data(), bytes.data()) && kUpTo(bytes.data() + bytes.size(), memory.data() + kMemory);
  }
  static bool same_place(const RingConfig& a, const RingConfig& b) {
    return a.size == b.size && a.descriptors.data() == b.descriptors.data() &&
           a.available.data() == b.available.data() && a.used.data() == b.used.data();
  }

  void check_rings(const Message& message, const Outcome& outcome) const {
    for (unsigned i = 0; i < device_.queues(); ++i) {
      const auto now = device_.ring(i);
      if (now) {
        CORDON_CHECK(now->size > 0 && now->size <= kMaxRingSize && (now->size & (now->size - 1)) == 0);
        CORDON_CHECK(now->descriptors.size() == 16U * now->size && inside(now->descriptors));
        CORDON_CHECK(now->available.size() == 6U + 2U * now->size && inside(now->available));
        CORDON_CHECK(now->used.size() == 6U + 8U * now->size && inside(now->used));
        CORDON_CHECK(device_.started(i));
      }
      const auto& before = before_[i];
      const bool other = now.has_value() != before.has_value() || (now && !same_place(*now, *before));
      if (other) CORDON_CHECK(outcome.changed[i]);
      if (other) CORDON_CHECK(outcome.verdict == Outcome::Verdict::kDone);
      // Frozen: from the kick to the end of the ring only memory may move it.
      const auto request = static_cast<Request>(message.request);
      const bool memory_moves = request == Request::kSetMemTable || request == Request::kAddMemReg ||
                                request == Request::kRemMemReg;
      if (before && now && !memory_moves) CORDON_CHECK(same_place(*now, *before));
      if (started_[i] && !device_.started(i))
        CORDON_CHECK(request == Request::kGetVringBase || request == Request::kResetOwner ||
                     request == Request::kSetStatus);
    }
    for (unsigned i = device_.queues(); i < kMaxQueues; ++i) CORDON_CHECK(!outcome.changed[i]);
  }

  DeviceOptions options_;
  Device device_;
  std::array<MemoryTable, 2> tables_;
  std::size_t table_ = 0;
  Rings before_{};
  std::array<bool, kMaxQueues> started_{};
  std::uint16_t steps_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 16384) return 0;
  Machine machine(data[0]);
  base::Bytes rest = base::as_bytes(data + 1, size - 1);
  while (rest.size() >= 4) {
    const auto byte = [&rest](std::size_t i) { return std::to_integer<std::uint32_t>(rest[i]); };
    const std::size_t length = std::min<std::size_t>(byte(3), rest.size() - 4);
    const std::array<std::uint32_t, 3> words{byte(2) == 0xff ? ~0U : byte(2), byte(1),
                                             static_cast<std::uint32_t>(length)};
    std::array<std::byte, kHeaderSize> header;
    std::memcpy(header.data(), words.data(), sizeof header);
    const std::size_t fds = byte(0) % 10;
    if (!machine.take(header, rest.subspan(4, length), fds)) return 0;
    rest = rest.subspan(4 + length);
  }
  return 0;
}
