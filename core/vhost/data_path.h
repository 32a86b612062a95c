// What the protocol asks of a pair's data path. All of it is called by lane 0's thread while the pair's own
// worker is paused (pause.h), so an implementation needs no lock.
#pragma once

#include <cstdint>

#include "core/vhost/queue.h"

namespace cordon::vhost {

class DataPath {
 public:
  virtual ~DataPath() = default;
  // The next available entry it would look at: what GET_VRING_BASE is told, and what `base` of a ring's next
  // configuration is when the ring goes on after a change. Only asked for while the ring is there.
  [[nodiscard]] virtual std::uint16_t next_available(bool transmit) const = 0;
  // From here on this holds, and nothing of the state before may be touched: memory and descriptors that are
  // no longer in it are given back right after the call (a kick has to leave its epoll now). A ring that came
  // or changed may have work already: no kick is promised for it.
  virtual void apply(const PairState& state) = 0;
};

}  // namespace cordon::vhost
