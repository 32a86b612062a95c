// From profile tables to BPF. filter.cc is the only user of libseccomp.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "sandbox/profile.h"

namespace cordon::sandbox {

using Bpf = std::vector<sock_filter>;

// Default: kill the process; so do foreign architectures and x32. `own_pid` is what kOwnPid rows mean.
[[nodiscard]] base::Result<Bpf> compile_filter(std::span<const Table> profile, pid_t own_pid);
// Needs no_new_privs. Covers every thread of the process.
[[nodiscard]] base::Result<void> install_filter(const Bpf& program);
// For a thread, before install_filter(). Does something in sanitizer builds only, where that one covers
// nothing but its caller.
[[nodiscard]] base::Result<void> install_thread_filter(const Bpf& program);
// The name of a system call on this architecture, for messages.
[[nodiscard]] std::string syscall_name(int number);

}  // namespace cordon::sandbox
