// Oracle O8: an independent reader of what is sent to the guest. Every length, checksum, address and flag is
// looked at; nothing of the product's parsers is used.
#pragma once

#include <string>

#include "core/link/link.h"
#include "tests/hostile/frames/place.h"

namespace cordon::hostile {

enum class Kind : std::uint8_t {
  kArp,
  kDiscovery,
  kAdvertisement,
  kEcho,
  kError,
  kReset,
  kTcp,
  kUdp,
  kFragment
};

struct Seen {
  std::string wrong;  // empty: well-formed
  Kind kind = Kind::kTcp;
  // TCP
  std::uint16_t from = 0, to = 0;
  std::uint32_t seq = 0, ack = 0;
  std::uint16_t flags = 0, window = 0;
  std::uint8_t scale = 0;  // of a SYN
  Buffer payload = {};     // TCP and UDP
};

Seen read_frame(const Place& place, base::Bytes frame, const link::Offload& offload);

}  // namespace cordon::hostile
