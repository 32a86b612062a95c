#pragma once

#include <cstdint>

namespace cordon::wire {

// IANA protocol numbers we name; a value of this type may hold any other number too.
enum class IpProtocol : std::uint8_t {
  kHopByHop = 0,
  kIcmp = 1,
  kTcp = 6,
  kUdp = 17,
  kRouting = 43,
  kFragment = 44,
  kIcmpv6 = 58,
  kNoNextHeader = 59,
  kDestinationOptions = 60,
};

}  // namespace cordon::wire
