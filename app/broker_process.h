// The broker's process: fds 3 (control) and 4 (audit sink) in; host state, lockdown, policy, then the loop.
#pragma once

#include "app/options.h"

namespace cordon::app {

// Call as the first thing in main() for --role=broker. The exit status: 0 after Stop, 2 when a policy file is
// wrong (every error is on stderr), 1 for anything else (one line on stderr). `awaits_policy`: the launcher
// sends it; else the built-in one applies.
[[nodiscard]] int run_broker(const RunOptions& options, bool awaits_policy);

}  // namespace cordon::app
