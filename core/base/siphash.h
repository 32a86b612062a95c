// SipHash-2-4 (Aumasson, Bernstein 2012): the keyed hash behind the flow table, the flow owner and the
// initial sequence numbers. The key is random per process, so a guest cannot aim at one bucket.
#pragma once

#include <array>
#include <cstdint>

#include "core/base/bytes.h"

namespace cordon::base {

struct SipKey {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;
};

[[nodiscard]] std::uint64_t siphash24(SipKey key, Bytes data);

}  // namespace cordon::base
