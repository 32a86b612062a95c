// FaultLink: a diagnostic decorator that loses, duplicates and reorders frames, both directions, from a
// seeded generator: the same seed and traffic give the same faults.
//
// Theory of operation. Towards the guest a reordered frame is held in a buffer and leaves after the next one
// (or at flush()); from the guest a reordered frame changes places with the next frame of its batch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "core/base/reserved.h"
#include "core/link/forwarding_link.h"

namespace cordon::link {

struct Faults {  // parts per million
  std::uint32_t loss = 0;
  std::uint32_t duplicate = 0;
  std::uint32_t reorder = 0;
  std::uint64_t seed = 1;
};

// "loss=1%,duplicate=0.5%,reorder=1%,seed=7"; the error says which item and what is expected.
[[nodiscard]] std::expected<Faults, std::string> parse_faults(std::string_view text);

struct FaultStats {
  std::uint64_t lost = 0, duplicated = 0, reordered = 0;
};

class FaultLink final : public ForwardingLink {
 public:
  FaultLink(Link& inner, const Faults& faults);

  [[nodiscard]] std::size_t receive(std::span<Frame> frames) override;
  [[nodiscard]] std::size_t receive_bulk(std::span<Frame> frames) override;
  [[nodiscard]] SendStatus send(const Offload& offload, std::span<const iovec> parts) override;
  void flush() override;
  [[nodiscard]] const FaultStats& stats() const { return stats_; }

 private:
  [[nodiscard]] bool chance(std::uint32_t ppm);
  SendStatus release_held();
  // Half of the room, so that each frame may come twice.
  static std::span<Frame> half(std::span<Frame> frames) {
    return frames.first(std::max<std::size_t>(frames.size() / 2, 1));
  }
  // Harms the first `n`.
  std::size_t harm(std::span<Frame> frames, std::size_t n);

  struct Held {
    Offload offload;
    std::size_t size = 0;  // 0: empty
  };
  Faults faults_;
  std::uint64_t state_;
  base::Reserved<std::byte> held_bytes_;
  Held held_;
  FaultStats stats_;
};

}  // namespace cordon::link
