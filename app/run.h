// `cordon run`: policy files, audit sink and guest child come together here and are handed to the launcher.
#pragma once

#include <string>
#include <vector>

#include "app/options.h"

namespace cordon::app {

// The operator's file of every start, if it exists, then `--policy` in order.
[[nodiscard]] std::vector<std::string> effective_policy_files(const RunOptions& options);

// Returns the exit status: the command's own (128 + signal when a signal ended it), 2 for a policy or usage
// error, 125 when cordon itself failed.
[[nodiscard]] int run(const RunOptions& options, const std::vector<std::string>& arguments);

}  // namespace cordon::app
