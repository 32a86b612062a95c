// What must be the same after a hostile visitor as before.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>

namespace cordon::hostile {

// Of this process, or of another one. nullopt: there is no such process, or it may not be looked at.
[[nodiscard]] std::optional<std::size_t> open_descriptors(pid_t pid = 0);
// Of memfds: what the allocator maps is its own business.
[[nodiscard]] std::optional<std::size_t> memory_mappings(pid_t pid = 0);
[[nodiscard]] std::optional<std::size_t> resident_bytes(pid_t pid = 0);
// Bytes handed out by malloc() and not given back; 0 where another allocator counts (sanitizers).
[[nodiscard]] std::size_t heap_bytes();

}  // namespace cordon::hostile
