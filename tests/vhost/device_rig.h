// A device with a guest's memory, spoken to in bytes.
#pragma once

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "core/vhost/device.h"
#include "tests/vhost/wire.h"

namespace cordon::vhost::test {

inline constexpr std::uint64_t kUser = 0x7f12'3400'0000;  // where the front end has its memory
inline constexpr std::uint64_t kMemorySize = 0x40000;

struct Answer {
  Outcome outcome;
  [[nodiscard]] bool done() const { return outcome.verdict == Outcome::Verdict::kDone; }
  [[nodiscard]] bool refused() const { return outcome.verdict == Outcome::Verdict::kRefused; }
  [[nodiscard]] bool violation() const { return outcome.verdict == Outcome::Verdict::kViolation; }
  [[nodiscard]] std::optional<Bytes> payload() const {
    if (!outcome.reply) return std::nullopt;
    const base::Bytes all = outcome.reply->bytes();
    return Bytes(all.begin() + 12, all.end());
  }
  [[nodiscard]] bool silent() const { return done() && !outcome.reply; }
  [[nodiscard]] bool says(std::uint64_t value) const { return payload() == number(value); }
};

class DeviceRig {
 public:
  explicit DeviceRig(const DeviceOptions& options = {}) : device(options), memory_(kMemorySize) {
    REQUIRE(table.add({{0}, {kUser}, memory_}));
  }
  Answer say(std::uint32_t request, const Bytes& payload = {}, std::size_t fds = 0,
             std::uint32_t flags = kPlain) {
    const Bytes bytes = message_bytes(request, flags, payload);
    const auto header = parse_header(std::span(bytes).first<12>());
    REQUIRE(header);
    const auto message = parse(*header, std::span(bytes).subspan(12), fds);
    REQUIRE(message);
    return {device.step(*message, findings)};
  }
  // With NEED_REPLY, as most front ends do when they can.
  Answer ask(std::uint32_t request, const Bytes& payload = {}, std::size_t fds = 0) {
    return say(request, payload, fds, kNeedReply);
  }
  void give_memory() {
    findings.table = &table;
    REQUIRE(say(5, mem_table({{0, kMemorySize, kUser, 0}}), 1).done());
  }
  // Addresses for the ring of `queue`, apart from all others.
  static Bytes ring_addr(std::uint32_t queue, std::uint32_t flags = 0, std::uint64_t log = 0) {
    const std::uint64_t at = kUser + queue * 0x8000ULL;
    return addr(queue, flags, at, at + 0x5000, at + 0x4000, log);
  }
  void set_up(std::uint32_t queue, std::uint32_t size = 256, std::uint32_t base = 0) {
    REQUIRE(say(8, state(queue, size)).done());
    REQUIRE(say(10, state(queue, base)).done());
    REQUIRE(say(9, ring_addr(queue)).done());
  }
  void start(std::uint32_t queue) {
    set_up(queue);
    REQUIRE(say(12, number(queue), 1).done());
    REQUIRE(say(18, state(queue, 1)).done());
  }
  [[nodiscard]] bool runs(unsigned queue) const { return device.ring(queue).has_value(); }

  Device device;
  MemoryTable table;
  Findings findings;

 private:
  std::vector<std::byte> memory_;
};

}  // namespace cordon::vhost::test
