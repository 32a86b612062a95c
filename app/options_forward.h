// The options that publish ports of the guest: -t, --tcp-ports and -u, --udp-ports.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "app/options.h"

namespace cordon::app {

// Text as typed.
struct ForwardOptions {
  std::vector<std::string> tcp, udp;

  // In the order of the command line. Refuses what overlaps, and targets that are not the guest's.
  [[nodiscard]] std::expected<std::vector<sandbox::ForwardRule>, UsageError> plan(
      const GuestPlan& guest) const;
};

}  // namespace cordon::app
