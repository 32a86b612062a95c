// Calls: how a guest is told of used buffers, by eventfds of its front end.
//
// Theory of operation. An eventfd whose counter is full makes a writer wait unless it is non-blocking, and
// that flag belongs to the file, so to the front end as well. A worker that waits there would never notice
// the front end's end. Front ends that mean well have both kinds: KVM takes each. So a blocking one is asked
// first, by an epoll of ours that watches for room; full is as good as told. What remains: a front end that
// takes the flag away later and fills the counter, or fills it between question and write, stops its own
// device.
#pragma once

#include <array>

#include "core/base/fd.h"

namespace cordon::vhost {

class Calls {
 public:
  // Throws std::system_error.
  Calls();
  // From here on these two, -1: none, and no others. What was there before may be closed afterwards.
  void set(int receive, int transmit);
  // False: there is nobody to be told.
  bool receive() { return call(calls_[0]); }
  bool transmit() { return call(calls_[1]); }

 private:
  struct Call {
    int fd = -1;
    bool blocks = false;
  };
  bool call(const Call& call);
  [[nodiscard]] bool has_room(int fd);

  base::Fd rooms_;  // epoll: blocking ones with room
  std::array<Call, 2> calls_;
};

// Full is as good as told; anything else is the front end's loss.
void notify(int event);

}  // namespace cordon::vhost
