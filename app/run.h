// `cordon run` and `cordon attach`: the launcher's side of the command line.
#pragma once

#include <string>
#include <vector>

#include "app/options.h"

namespace cordon::app {

// Returns the exit status: the command's own (128 + signal when a signal ended it), 0 for attach, 2 for a
// policy error, 125 when cordon itself failed. `arguments`: argv[1..], for the other roles.
[[nodiscard]] int run(const RunOptions& options, const std::vector<std::string>& arguments);

}  // namespace cordon::app
