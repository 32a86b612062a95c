// --socket-memory: kernel memory that the guest's sockets may hold together.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "app/options.h"

namespace cordon::app {

// "" is 0: by the machine's own limits, which the broker reads.
[[nodiscard]] std::expected<std::uint64_t, UsageError> parse_socket_memory(const std::string& text);

}  // namespace cordon::app
