// The translator's process: channels to the broker and the guest's end of the link in (descriptors.h),
// lockdown, one worker a thread (translator_lane.h), until a channel closes. Everything is reserved before
// the filter is installed; afterwards it neither opens nor allocates.
#pragma once

#include <optional>

#include "core/base/error.h"
#include "core/link/fault_link.h"
#include "core/plane/worker.h"
#include "core/vhost/features.h"

namespace cordon::sandbox {

// What descriptor 4 is.
enum class LinkKind : std::uint8_t {
  kTap,        // one queue of it; each further worker has its own
  kStream,     // a connection with QEMU's stream protocol, for one worker
  kVhostUser,  // a vhost-user front end's connection; each worker has a queue pair
};

struct TranslatorConfig {
  LinkKind link = LinkKind::kTap;
  bool learn_guest_mac = false;  // worker.lan.guest_mac is not known
  plane::WorkerConfig worker;    // worker.key is replaced by random bytes
  vhost::FrontEnd vhost_front_end = vhost::FrontEnd::kQemu;
  link::Capabilities wanted;  // offloads; link::set_tap_offloads() says what the kernel takes
  std::optional<link::Faults> faults;
  bool capture =
      false;  // write every frame to the standard input, which is a file (core/link/capture_link.h)
  bool verbose = false;  // print the isolation report
  bool strict = false;   // refuse to run when it is not full
};

// Call as the first thing in main() for --role=translator. Returns the exit status: 0 when the channel or the
// link ended, kBrokenLink when the guest's end of it broke its rules, 1 after an error line on stderr.
[[nodiscard]] int run_translator(const TranslatorConfig& config);

}  // namespace cordon::sandbox
