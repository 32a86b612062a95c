// The translator's process: channels to the broker and queues of the tap in (descriptors.h), lockdown, one
// worker a thread (translator_lane.h), until a channel closes. Everything is reserved before the filter is
// installed; afterwards it neither opens nor allocates.
#pragma once

#include <optional>

#include "core/base/error.h"
#include "core/link/fault_link.h"
#include "core/plane/worker.h"

namespace cordon::sandbox {

struct TranslatorConfig {
  plane::WorkerConfig worker;  // worker.key is replaced by random bytes
  link::Capabilities wanted;   // offloads; link::set_tap_offloads() says what the kernel takes
  std::optional<link::Faults> faults;
  bool verbose = false;  // print the isolation report
  bool strict = false;   // refuse to run when it is not full
};

// Call as the first thing in main() for --role=translator. Returns the exit status: 0 when the channel or the
// link ended, 1 after an error line on stderr.
[[nodiscard]] int run_translator(const TranslatorConfig& config);

}  // namespace cordon::sandbox
