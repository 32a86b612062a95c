#include "app/options_threads.h"

#include <sched.h>

#include <algorithm>

#include "app/option_values.h"
#include "sandbox/control.h"

namespace cordon::app {
namespace {

constexpr std::uint32_t kDefault = 1;

}  // namespace

std::expected<std::uint32_t, UsageError> parse_threads(const std::string& text) {
  if (text.empty()) return kDefault;
  if (text == "auto") return 0;
  const auto threads = parse_number(text);
  if (!threads || *threads < 1 || *threads > sandbox::control::kMaxWorkers)
    return std::unexpected(UsageError{"--threads " + text + ": give auto, or a number from 1 to " +
                                      std::to_string(sandbox::control::kMaxWorkers)});
  return static_cast<std::uint32_t>(*threads);
}

std::uint32_t most_workers(const RunOptions& options) {
  return options.threads == 0 ? kMostAutomatic : options.threads;
}

std::uint32_t queue_count(const RunOptions& options) {
  if (options.threads != 0) return options.threads;
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::clamp(static_cast<std::uint32_t>(CPU_COUNT(&set)), 1U, kMostAutomatic);
}

}  // namespace cordon::app
