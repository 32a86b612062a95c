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

// What is in no row kills the process, or fails with ENOSYS; foreign architectures and x32 kill in any case.
// `own_pid` is what kOwnPid rows mean.
enum class Unlisted : std::uint8_t { kKills, kFails };
[[nodiscard]] base::Result<Bpf> compile_filter(std::span<const Table> profile, pid_t own_pid,
                                               Unlisted unlisted = Unlisted::kKills);
// Needs no_new_privs. Covers every thread of the process.
[[nodiscard]] base::Result<void> install_filter(const Bpf& program);
// For a thread, before install_filter(). Does something in sanitizer builds only, where that one covers
// nothing but its caller.
[[nodiscard]] base::Result<void> install_thread_filter(const Bpf& program);
// The name of a system call on this architecture, for messages.
[[nodiscard]] std::string syscall_name(int number);

}  // namespace cordon::sandbox
