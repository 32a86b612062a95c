// Descriptors of a role: 0-2 standard, 3 and 4 its two ends (control.h), 5 a pidfd of the launcher until
// begin. The translator's 4 is a queue of the tap or a virtual machine's connection. From 6 on, of a
// translator: the first worker's bulk queue, then channel, tap and bulk queue of each further worker; of a
// broker: the listening sockets that the launcher had to open for it. A translator's standard output is a
// pipe on which it says once what confines it, and then that its loop begins.
#pragma once

#include <string>

#include "core/base/error.h"

namespace cordon::sandbox {

inline constexpr int kLauncherFd = 5;
inline constexpr int kFirstFreeFd = 6;
// A translator's exit status: the guest's end of the link did what it may not, and said so on stderr.
inline constexpr int kBrokenLink = 3;

// The ends of one of the translator's workers.
struct WorkerFds {
  int channel;
  int tap;   // or nothing, where one connection serves all workers
  int bulk;  // a second queue of the tap, or nothing
};
[[nodiscard]] WorkerFds worker_fds(unsigned worker);
// How many the launcher has laid out for us.
[[nodiscard]] unsigned count_workers();
// Internet sockets from kFirstFreeFd on.
[[nodiscard]] int count_listeners();

// 0, 1 and 2 exist (else /dev/null), so that no later descriptor takes their meaning.
[[nodiscard]] base::Result<void> ensure_standard_fds();
// Marks or closes everything from `first` on.
enum class Rest { kClose, kCloseOnExec };
[[nodiscard]] base::Result<void> close_from(int first, Rest rest);
// In the translator, before the filter: one line for the launcher, which reads it as "full ..." or "part
// ...".
void tell_isolation(const std::string& line);
// In the translator, as the last thing before its loop: frames that come now are carried.
void tell_ready();
// An interface whose queue this is has been removed, by whomever; a descriptor of another kind never is.
[[nodiscard]] bool is_interface_gone(int tap);
// The process that `pidfd` names is still there.
[[nodiscard]] bool is_alive(int pidfd);
[[nodiscard]] int open_pidfd(int pid);
[[nodiscard]] bool is_packet_socket(int fd);
// Sets soft and hard limit to `wanted`, or to the hard limit if that is lower; returns what it is now.
[[nodiscard]] base::Result<unsigned> limit_fds(unsigned wanted);

}  // namespace cordon::sandbox
