// Guest memory that vanishes under us (the front end shortens the file) ends that device, not the process
// by a signal.
//
// Theory of operation. A load from a shared mapping behind the end of its file raises SIGBUS. Our handler
// finds the mapping in a small table, notes the loss and puts zero pages over all of it; the worker's load
// then succeeds, its batch ends by itself with whatever zeros mean, and the lane closes the device when it
// sees the note. The note comes first: who has read such a zero and looks then finds it. Any other SIGBUS is
// fatal. The table is written by one thread while the others are outside of guest memory (pause.h), so a
// handler never sees it change. It is the one global of this folder: a signal handler has no argument of
// ours.
#pragma once

#include <cstddef>
#include <span>

#include "core/base/error.h"

namespace cordon::vhost::fault_guard {

// Before any thread is started and before the lockdown.
[[nodiscard]] base::Result<void> install();
// `mapping`: whole, as mmap() gave it. False: too many.
[[nodiscard]] bool watch(std::span<std::byte> mapping);
void forget(std::span<std::byte> mapping);
// Memory has been lost since the process began.
[[nodiscard]] bool memory_lost();
// The kernel has found it out: it raises no signal for itself.
void lose_memory();

}  // namespace cordon::vhost::fault_guard
