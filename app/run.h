// `cordon run` and `cordon attach`: the launcher's side of the command line.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "app/options.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

// What a front end adds to a start.
struct RunHooks {
  std::function<void()> on_ready;  // traffic can flow
  base::Fd capture;  // what open_capture() gave while it was still allowed; invalid: run() opens
  int log = -1;      // watched with everything else; on_log when there is something to read
  std::function<void()> on_log;
};

// The file of --pcap, emptied, with its header.
[[nodiscard]] base::Result<base::Fd> open_capture(const std::string& path);

// Returns the exit status: the command's own (128 + signal when a signal ended it), 0 for attach, 2 for a
// policy error, 125 when cordon itself failed. `arguments`: argv[1..], for the other roles.
[[nodiscard]] int run(const RunOptions& options, const std::vector<std::string>& arguments,
                      RunHooks hooks = {});

}  // namespace cordon::app
