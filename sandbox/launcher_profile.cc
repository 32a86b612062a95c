// The launcher's profile once the guest runs, and a policy loader's. Filters are inherited, so beside its own
// loop it covers what a translator, a loader or a policy reader does from clone() to its own filter, which is
// much; those add theirs on top. What none of them needs fails with ENOSYS instead of killing: the launcher
// parses no foreign bytes, and its end would be the guest's.
//
// Out by purpose: sockets other than UNIX ones, listen and bind, execve (the binary is executed by its
// descriptor, which no path can change), joining a namespace, tracing and other processes' memory and
// descriptors, modules, BPF, keys, io_uring, userfaultfd, mounts of anything but the roles' empty root,
// device nodes, new programs in the kernel's reach (performance counters, kexec, swap), clocks, host names,
// reboot.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "sandbox/profile.h"

namespace cordon::sandbox {
namespace {

constexpr int kSoPassRights = 83;

constexpr Row kFiles[] = {
    {SYS_openat, "resolv.conf, rotated logs, policy files, /proc of children; libraries of roles"},
#ifdef SYS_open
    {SYS_open, "the same, by an older libc"},
    {SYS_stat, "watched names"},
    {SYS_lstat, "watched names"},
    {SYS_readlink, "watched names; a control client's user namespace"},
    {SYS_access, "libraries of roles"},
    {SYS_unlink, "socket and pid files at the end"},
    {SYS_rename, "rotation of the drop-in log"},
    {SYS_dup2, "a role's descriptors"},
    {SYS_poll, "waits for a role's word or end"},
    {SYS_epoll_wait, "the loop"},
    {SYS_arch_prctl, "start of a role: thread pointer"},
    {SYS_getrlimit, "limits of roles"},
    {SYS_setrlimit, "limits of roles"},
#endif
    {SYS_read, "everything that is read"},
    {SYS_readv, "translator's frames"},
    {SYS_pread64, "libraries of roles; policy bundles"},
    {SYS_write, "messages, id maps, logs"},
    {SYS_writev, "logs; translator's frames"},
    {SYS_pwrite64, "drop-in log"},
    {SYS_lseek, "file lengths"},
    {SYS_close, "descriptors"},
    {SYS_close_range, "roles keep only what is laid out"},
    {SYS_dup, "descriptors"},
    {SYS_dup3, "a role's descriptors"},
    {SYS_fcntl, "descriptors, seals, locks"},
    {SYS_fstat, "kinds and lengths of files"},
    {SYS_newfstatat, "watched names"},
    {SYS_statx, "watched names"},
    {SYS_readlinkat, "watched names"},
    {SYS_getdents64, "children of children, at the end"},
    {SYS_faccessat, "libraries of roles"},
    {SYS_faccessat2, "libraries of roles"},
    {SYS_unlinkat, "socket and pid files at the end"},
    {SYS_renameat, "rotation of the drop-in log"},
    {SYS_renameat2, "rotation of the drop-in log"},
    {SYS_fchmod, "mode of a fresh log"},
    {SYS_ftruncate, "drop-in log; a memory file"},
    {SYS_flock, "socket names"},
    {SYS_umask, "roles"},
    {SYS_getcwd, "names of watched files"},
    {SYS_chdir, "a role's empty root"},
    {SYS_inotify_init1, "watched names"},
    {SYS_inotify_add_watch, "watched names"},
    {SYS_inotify_rm_watch, "watched names"},
    {SYS_memfd_create, "policy bundles"},
    {SYS_ioctl, "a restarted translator's tap", {arg_is(1, TUNSETOFFLOAD)}},
    {SYS_ioctl, "bytes waiting", {arg_is(1, SIOCINQ)}},
    {SYS_ioctl, "bytes not yet acknowledged", {arg_is(1, SIOCOUTQ)}},
    {SYS_ioctl, "is stderr a terminal", {arg_is(1, TCGETS)}},
};

constexpr Row kSockets[] = {
    {SYS_socket, "journald, syslog; is a socket's name in use", {arg_is(0, AF_UNIX)}},
    {SYS_socketpair, "channels; libseccomp's program", {arg_is(0, AF_UNIX)}},
    {SYS_connect, "journald, syslog; is a socket's name in use"},
    {SYS_accept4, "control clients, virtual machines"},
    {SYS_sendmsg, "descriptors for the broker"},
    {SYS_sendto, "control messages, records", {arg_null(4)}},
    {SYS_recvfrom, "control messages"},
    {SYS_recvmsg, "control messages, a virtual machine's first ones"},
    {SYS_recvmmsg, "translator's datagrams"},
    {SYS_getsockopt, "who a peer is; what a descriptor is"},
    {SYS_getsockname, "what a descriptor is"},
    {SYS_shutdown, "a client's end"},
    {SYS_setsockopt, "room in channels", {arg_is(1, SOL_SOCKET), arg_is(2, SO_SNDBUF)}},
    {SYS_setsockopt, "no descriptors from the translator", {arg_is(1, SOL_SOCKET), arg_is(2, kSoPassRights)}},
    {SYS_setsockopt, "translator: datagram batches", {arg_is(1, SOL_UDP), arg_is(2, UDP_SEGMENT)}},
    {SYS_setsockopt, "translator: TTL", {arg_is(1, SOL_IP), arg_is(2, IP_TTL)}},
    {SYS_setsockopt, "translator: TOS", {arg_is(1, SOL_IP), arg_is(2, IP_TOS)}},
    {SYS_setsockopt, "translator: hop limit", {arg_is(1, SOL_IPV6), arg_is(2, IPV6_UNICAST_HOPS)}},
    {SYS_setsockopt, "translator: traffic class", {arg_is(1, SOL_IPV6), arg_is(2, IPV6_TCLASS)}},
};

constexpr Row kLoop[] = {
    {SYS_epoll_create1, "the loop; a role's loop"},
    {SYS_epoll_ctl, "the loop"},
    {SYS_epoll_pwait, "the loop"},
    {SYS_epoll_pwait2, "a translator's loop"},
    {SYS_ppoll, "waits for a role's word or end"},
    {SYS_signalfd4, "signals of a role"},
    {SYS_eventfd2, "a translator's threads"},
    {SYS_pipe2, "a role's start and words"},
    {SYS_timerfd_create, "a role's timers"},
    {SYS_timerfd_settime, "a role's timers"},
    {SYS_restart_syscall, "a wait goes on after SIGSTOP and SIGCONT"},
    {SYS_clock_gettime, "time, where the vDSO cannot"},
    {SYS_clock_nanosleep, "locks of a runtime library"},
    {SYS_gettimeofday, "time of a record, where the vDSO cannot"},
    {SYS_getrandom, "hash keys, allocator"},
    {SYS_uname, "start of a role"},
    {SYS_sysinfo, "size of a role's tables"},
};

constexpr Row kMemory[] = {
    {SYS_brk, "heap"},
    {SYS_mmap, "heap, a role's libraries; MDWE keeps it from becoming executable later"},
    {SYS_mprotect, "a role's relocations; MDWE"},
    {SYS_munmap, "heap"},
    {SYS_mremap, "heap"},
    {SYS_madvise, "heap"},
    {SYS_futex, "runtime libraries"},
};

constexpr Row kProcesses[] = {
    {SYS_clone, "roles, in namespaces of their own; a translator's threads"},
    {SYS_execveat, "a role: our own binary, by descriptor", {arg_is(4, AT_EMPTY_PATH)}},
    {SYS_wait4, "ends"},
    {SYS_waitid, "ends"},
    {SYS_kill, "translators that are late; the end of everything"},
    {SYS_tgkill, "abort(), raise()"},
    {SYS_pidfd_open, "a role's launcher; control clients before Linux 6.5"},
    {SYS_setsid, "a role leaves the terminal"},
    {SYS_set_tid_address, "start of a role"},
    {SYS_set_robust_list, "start of a role"},
    {SYS_rseq, "start of a role"},
    {SYS_rt_sigaction, "signals"},
    {SYS_rt_sigprocmask, "signals"},
    {SYS_rt_sigreturn, "signals"},
    {SYS_rt_sigpending, "a SIGPIPE of our own"},
    {SYS_rt_sigtimedwait, "a SIGPIPE of our own"},
    {SYS_sigaltstack, "start of a thread"},
    {SYS_prlimit64, "limits of roles"},
    {SYS_sched_getaffinity, "number of threads"},
    {SYS_sched_yield, "runtime libraries"},
    {SYS_getpid, "own number"},
    {SYS_gettid, "own number"},
    {SYS_getppid, "own number"},
    {SYS_getuid, "identity"},
    {SYS_geteuid, "identity"},
    {SYS_getgid, "identity"},
    {SYS_getegid, "identity"},
    {SYS_exit, "end of a thread"},
    {SYS_exit_group, "the end"},
};

constexpr unsigned long kOwnTree = MS_REC | MS_PRIVATE;
constexpr unsigned long kEmptyRoot = MS_NODEV | MS_NOEXEC | MS_NOSUID | MS_RDONLY;
constexpr int kSetMdwe = 65;  // PR_SET_MDWE

constexpr Row kLocking[] = {
    {SYS_unshare, "a role's mount namespace", {arg_is(0, CLONE_NEWNS)}},
    {SYS_mount, "its own tree", {arg_is(3, static_cast<int>(kOwnTree))}},
    {SYS_mount, "its empty root", {arg_is(3, static_cast<int>(kEmptyRoot))}},
    {SYS_pivot_root, "its empty root"},
    {SYS_umount2, "the old root", {arg_is(1, MNT_DETACH)}},
    {SYS_setresuid, "a lesser user"},
    {SYS_setresgid, "a lesser user"},
    {SYS_setgroups, "no groups", {arg_is(0, 0)}},
    {SYS_capget, "which capabilities there are"},
    {SYS_capset, "none"},
    {SYS_landlock_create_ruleset, "its Landlock domain: rules are never added"},
    {SYS_landlock_restrict_self, "its Landlock domain"},
    {SYS_seccomp, "its own filter"},
    {SYS_prctl, "dies with the launcher", {arg_is(0, PR_SET_PDEATHSIG)}},
    {SYS_prctl, "not dumpable", {arg_is(0, PR_SET_DUMPABLE)}},
    {SYS_prctl, "not dumpable", {arg_is(0, PR_GET_DUMPABLE)}},
    {SYS_prctl, "its name", {arg_is(0, PR_SET_NAME)}},
    {SYS_prctl, "the bounding set", {arg_is(0, PR_CAPBSET_DROP)}},
    {SYS_prctl, "the ambient set", {arg_is(0, PR_CAP_AMBIENT)}},
    {SYS_prctl, "uid 0 means nothing", {arg_is(0, PR_SET_SECUREBITS)}},
    {SYS_prctl, "no new privileges", {arg_is(0, PR_SET_NO_NEW_PRIVS)}},
    {SYS_prctl, "no new code", {arg_is(0, kSetMdwe)}},
};

#ifdef CORDON_SANITIZED
constexpr Row kRuntime[] = {
    {SYS_personality, "address layout"},
    {SYS_execve, "again, with another layout"},
    {SYS_prctl, "names"},
    {SYS_ptrace, "leak detection stops its own threads"},
#ifdef SYS_getdents
    {SYS_getdents, "leak detection lists its own threads"},
#endif
};
#else
constexpr std::span<const Row> kRuntime{};
#endif

}  // namespace

std::span<const Table> launcher_profile() {
  static const std::array tables{Table{"files", kFiles},
                                 Table{"sockets", kSockets},
                                 Table{"loop", kLoop},
                                 Table{"memory", kMemory},
                                 Table{"processes", kProcesses},
                                 Table{"locking", kLocking},
                                 Table{"sanitizer runtime", kRuntime}};
  return tables;
}

}  // namespace cordon::sandbox
