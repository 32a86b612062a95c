// The values of a `limits` mapping. Zero means: not limited. The compiler makes them, LimitScopes
// (policy/limit_scopes.h) says which of them a flow falls under.
#pragma once

#include <cstdint>

#include "policy/document.h"

namespace cordon::policy {

// `count` new flows per `seconds` (1 or 60), and no more than `count` at once after a pause.
struct NewFlows {
  std::uint32_t count = 0;
  std::uint32_t seconds = 1;
  friend constexpr bool operator==(const NewFlows&, const NewFlows&) = default;
};

struct Limits {
  std::uint32_t connections = 0;  // flows of any protocol at a time, pending ones included
  NewFlows fresh;
  std::uint64_t rate = 0;   // bytes per second, in each direction
  std::uint64_t bytes = 0;  // payload of both directions together, for the life of the guest
  Position at;              // of the key `limits`

  [[nodiscard]] constexpr bool empty() const {
    return connections == 0 && fresh.count == 0 && rate == 0 && bytes == 0;
  }
};

}  // namespace cordon::policy
