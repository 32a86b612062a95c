// Options of `cordon policy check`, `show`, `explain` and `snapshot`.
#pragma once

#include <expected>
#include <span>
#include <string>

#include "app/options.h"

namespace cordon::app {

// `arguments`: what follows `cordon policy`.
[[nodiscard]] std::expected<Invocation, UsageError> parse_policy(std::span<const std::string> arguments);

}  // namespace cordon::app
