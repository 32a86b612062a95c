// Something the broker serves beside its flows, in its own loop: the control socket. Its descriptors are in
// an epoll set of its own, of which the broker watches the one descriptor.
#pragma once

#include "core/base/fd.h"
#include "core/base/time.h"

namespace cordon::sandbox {

class Attendant {
 public:
  virtual ~Attendant() = default;
  [[nodiscard]] virtual int poll_fd() const = 0;
  // Bounded work; called when poll_fd() is readable and at due(). Never blocks.
  virtual void serve(base::Instant now) = 0;
  [[nodiscard]] virtual base::Instant due() const = 0;
  // A control client whom the launcher has let in (same user, not the guest).
  virtual void adopt(base::Fd client, base::Instant now) = 0;
};

}  // namespace cordon::sandbox
