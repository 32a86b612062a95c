// Published ports in the broker's process: sockets before the lockdown, and what the broker must know of the
// guest's side.
#pragma once

#include "app/options.h"
#include "sandbox/broker.h"

namespace cordon::app {

struct Published {
  sandbox::InboundOptions options;
  std::vector<sandbox::Listener> listeners;
};

// How many descriptors the published ports take.
[[nodiscard]] std::uint32_t listeners_of(const RunOptions& options);
// In the launcher: ports that need a privilege this process has, to be left to the broker. A busy one is an
// error here already.
[[nodiscard]] base::Result<std::vector<base::Fd>> open_privileged_ports(const RunOptions& options);
// Opens them. `inherited`: from the launcher, taken before anything else was opened. The limit of descriptors
// must have been raised.
[[nodiscard]] base::Result<Published> open_published(const RunOptions& options,
                                                     std::vector<base::Fd> inherited);

}  // namespace cordon::app
