// What a translator does once it is locked down: its lanes carry frames until the channel or the link ends.
//
// Alone in its file, so that a program of our tests may link another one in its place: attacker's code with
// exactly a translator's descriptors, memory, namespaces and filter (tests/hostile/rogue).
#pragma once

#include "core/plane/worker.h"
#include "sandbox/translator_lane.h"
#include "sandbox/translator_threads.h"
#include "sandbox/translator_vhost.h"

namespace cordon::sandbox {

// SIGTERM from the launcher: an orderly end.
class EndSource final : public plane::PollHandler {
 public:
  void on_ready(std::uint32_t, base::Instant) override { asked_ = true; }
  [[nodiscard]] bool asked() const { return asked_; }

 private:
  bool asked_ = false;
};

struct LanesAtWork {
  Lane& first;
  LaneThreads& threads;  // of the others
  const EndSource& end;
  const VhostPort* vhost;
};

// Ends the process, and never returns to a destructor: giving memory back needs system calls the filter
// forbids, and the kernel is quicker.
[[noreturn]] void run_lanes(const LanesAtWork& work);

}  // namespace cordon::sandbox
