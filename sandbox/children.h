// The end of a process tree.
#pragma once

#include <sys/types.h>
#include <span>

namespace cordon::sandbox {

// Kills and reaps every child of this process. The caller is a subreaper, so orphaned grandchildren become
// children and are ended too. `known`: children that are already killed; waited for first, which spares the
// search.
void end_children(std::span<const pid_t> known);

// It runs or waits for a processor, and for nothing else.
[[nodiscard]] bool is_runnable(pid_t pid);

}  // namespace cordon::sandbox
