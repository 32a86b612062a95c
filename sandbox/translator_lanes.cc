#include "sandbox/translator_lanes.h"

#include <unistd.h>

#include <cstdio>
#include <string>

#include "sandbox/descriptors.h"

namespace cordon::sandbox {

void run_lanes(const LanesAtWork& work) {
  work.threads.begin();
  tell_ready();
  while (work.first.turn() && !work.end.asked() && (work.vhost == nullptr || work.vhost->open())) {
  }
  work.first.finish();
  // By the clock: a tap that is gone is an event at once, each time.
  const base::Instant patience = base::monotonic_now() + std::chrono::milliseconds{50};
  while (work.threads.running() && base::monotonic_now() < patience)
    work.first.worker().run_once(std::chrono::milliseconds{1});
  const std::string violation =
      work.vhost != nullptr ? work.vhost->violation() : work.first.guest_link().violation();
  if (!violation.empty())
    std::fprintf(stderr, "cordon: translator: the guest's link: %s\n", violation.c_str());
  ::_exit(violation.empty() ? 0 : kBrokenLink);
}

}  // namespace cordon::sandbox
