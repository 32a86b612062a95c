// What the sanitizer runtimes need on top, in sanitizer builds only.
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "sandbox/profile.h"

namespace cordon::sandbox {

#ifdef CORDON_SANITIZED
namespace {
constexpr Row kSanitizer[] = {
    {SYS_mmap, "shadow memory and allocator", {arg_only(2, PROT_READ | PROT_WRITE)}},
    {SYS_munmap, "allocator"},
    {SYS_mremap, "allocator"},
    {SYS_mprotect, "allocator", {arg_only(2, PROT_READ | PROT_WRITE)}},
    {SYS_madvise, "allocator returns pages"},
    {SYS_brk, "libc heap"},
    {SYS_futex, "allocator locks"},
    {SYS_sched_yield, "allocator locks"},
    {SYS_clock_nanosleep, "report locks"},
    {SYS_nanosleep, "report locks"},
    {SYS_sigaltstack, "report of a stack overflow"},
    {SYS_rt_sigaction, "report of a fault"},
    {SYS_getrlimit, "stack bounds"},
    {SYS_prlimit64, "stack bounds"},
    {SYS_sched_getaffinity, "stack bounds"},
    {SYS_exit, "end of a runtime thread"},
    {SYS_rseq, "runtime threads"},
    {SYS_set_robust_list, "runtime threads"},
    {SYS_getuid, "names of report files"},
    {SYS_geteuid, "names of report files"},
    {SYS_fstat, "report output"},
    Row::failing(SYS_newfstatat, EACCES, "symboliser"),
    Row::failing(SYS_open, EACCES, "/proc/self/maps, symboliser"),
    Row::failing(SYS_openat, EACCES, "/proc/self/maps, symboliser"),
    Row::failing(SYS_readlink, EACCES, "/proc/self/exe"),
    Row::failing(SYS_readlinkat, EACCES, "/proc/self/exe"),
    Row::failing(SYS_stat, EACCES, "symboliser"),
    Row::failing(SYS_access, EACCES, "symboliser"),
    Row::failing(SYS_pipe, EACCES, "symboliser"),
    Row::failing(SYS_pipe2, EACCES, "symboliser and pointer probes"),
    Row::failing(SYS_prctl, EPERM, "mapping and thread names"),
    Row::failing(SYS_personality, EPERM, "address layout probe"),
};
}  // namespace
Table sanitizer_table() { return {"sanitizer runtime", kSanitizer}; }
#else
Table sanitizer_table() { return {"sanitizer runtime", {}}; }
#endif

}  // namespace cordon::sandbox
