// --control, --no-control and --watch-policy: how a running guest's policy can be looked at and changed.
#pragma once

#include <expected>
#include <string>

#include "app/options.h"

namespace cordon::app {

// As typed.
struct RawControl {
  std::string socket;
  bool off = false;
  bool watch = false;
};

[[nodiscard]] std::expected<void, UsageError> apply(const RawControl& raw, RunOptions& options);

}  // namespace cordon::app
