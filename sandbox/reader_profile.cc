// The policy reader's profile: bytes in, bytes out, memory, the end. Whatever subverts the YAML library has
// nothing else to call.
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "sandbox/profile.h"

namespace cordon::sandbox {
namespace {

constexpr Row kData[] = {
    {SYS_read, "the file", {arg_is(0, 0)}},
    {SYS_write, "the answer", {arg_is(0, 1)}},
    {SYS_write, "diagnostics", {arg_is(0, 2)}},
};

constexpr Row kMemory[] = {
    {SYS_brk, "heap"},
    {SYS_mmap, "heap; never executable", {arg_only(2, PROT_READ | PROT_WRITE)}},
    {SYS_munmap, "heap"},
    {SYS_mremap, "heap"},
    {SYS_madvise, "heap", {arg_is(2, MADV_DONTNEED)}},
    {SYS_futex, "exceptions and one-time initialisation in the C++ runtime"},
};

constexpr Row kEnd[] = {
    {SYS_exit_group, "the end"},
    {SYS_rt_sigprocmask, "abort()"},
    {SYS_getpid, "abort()"},
    {SYS_gettid, "abort()"},
    {SYS_tgkill, "abort()", {arg_own_pid(0), arg_is(2, SIGABRT)}},
};

}  // namespace

std::span<const Table> reader_profile() {
  static const std::array tables{Table{"data", kData}, Table{"memory", kMemory}, Table{"end", kEnd},
                                 sanitizer_table()};
  return tables;
}

}  // namespace cordon::sandbox
