// --threads: how many workers the translator has.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "app/options.h"

namespace cordon::app {

// What "auto" gives at most: one guest seldom keeps more processors busy, and each worker costs memory.
inline constexpr std::uint32_t kMostAutomatic = 4;

// "" is the default, "auto" becomes 0.
[[nodiscard]] std::expected<std::uint32_t, UsageError> parse_threads(const std::string& text);
// The broker must be ready for as many; it cannot know what the launcher's "auto" came to.
[[nodiscard]] std::uint32_t most_workers(const RunOptions& options);
// For the launcher: "auto" is decided here, by the processors that we may use.
[[nodiscard]] std::uint32_t queue_count(const RunOptions& options);

}  // namespace cordon::app
