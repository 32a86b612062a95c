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
// Opens them. The limit of descriptors must have been raised.
[[nodiscard]] base::Result<Published> open_published(const RunOptions& options);

}  // namespace cordon::app
