// The guest's MAC where nobody has told it: the first unicast source that the guest uses, for as long as this
// link lives. One for all workers, so that they agree.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "core/net/mac_address.h"

namespace cordon::lan {

class GuestMac {
 public:
  [[nodiscard]] std::optional<net::MacAddress> known() const;
  // `candidate`: of a frame's source. What the guest's MAC is from now on: the candidate if it is the first;
  // nothing while only addresses came that cannot be a guest's (a group, zero, `ours`).
  std::optional<net::MacAddress> learn(net::MacAddress candidate, net::MacAddress ours);

 private:
  std::atomic<std::uint64_t> bits_{0};  // 0: not known
};

}  // namespace cordon::lan
