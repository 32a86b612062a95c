// The drop-in passt: its command line, and the manners that its clients rely on.
//
// Theory of operation. What is launched parses, opens the files, and forks: the child becomes cordon's
// launcher in a session of its own, with standard error on a pipe that it reads itself (drop_in_log.h). What
// was launched shows what comes by that pipe until the child is ready: the socket listens (or the caller's
// connection is served), the policy is in force, the ports are open, the pid file is complete. Then it exits
// with 0, and nobody holds any of its descriptors. Every failure before that is its message and exit status
// 1.
//
// QEMU waits for the exit without a limit, reads the pid file, and starts the same line again the moment its
// connection ends, while we may still be ending; libvirt and Go programs read the standard descriptors to
// their end; muvm wants no fork and any number for its descriptor.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cordon::app {

// `arguments`: without the program's name. Returns the exit status.
[[nodiscard]] int run_passt(const std::vector<std::string>& arguments);
// By the name it was started as: one that says so, or one that says nothing while the line looks like a
// client's (QEMU's path= may lead to any name).
[[nodiscard]] bool is_started_as_passt(std::string_view program, const std::vector<std::string>& arguments);

}  // namespace cordon::app
