// `cordon ctl`: its command line.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>

#include "app/options.h"

namespace cordon::app {

[[nodiscard]] std::expected<Invocation, UsageError> parse_ctl(std::span<const std::string> arguments);

}  // namespace cordon::app
