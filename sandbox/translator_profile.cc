// The translator's profile: guest frames in and out, granted sockets, one epoll, the channel. It can neither
// make nor retarget a socket, nor change anything of a granted one that would change where its packets go
// (DESIGN 1; the option calls that must stay out are measured in tests/platform).
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "sandbox/profile.h"

namespace cordon::sandbox {
namespace {

constexpr int kSoMeminfo = 55;

constexpr Row kData[] = {
    {SYS_read, "frames from the tap"},
    {SYS_readv, "host data into a ring that wraps"},
    {SYS_write, "single datagrams, diagnostics"},
    {SYS_writev, "frames to the tap, stream data to sockets"},
    {SYS_recvfrom, "host data; MSG_PEEK"},
    {SYS_recvmsg, "grants on the channel, UDP_GRO, the error queue"},
    {SYS_recvmmsg, "datagrams in batches"},
    {SYS_sendto,
     "the channel, datagrams; never an address, never MSG_FASTOPEN, MSG_OOB or MSG_ZEROCOPY",
     {arg_null(4), arg_only(3, MSG_DONTWAIT | MSG_NOSIGNAL)}},
    {SYS_shutdown, "half close towards the host"},
    {SYS_close, "ended flows"},
};

constexpr Row kOptions[] = {
    {SYS_setsockopt, "datagram batches", {arg_is(1, SOL_UDP), arg_is(2, UDP_SEGMENT)}},
    {SYS_setsockopt, "the guest's TTL", {arg_is(1, SOL_IP), arg_is(2, IP_TTL)}},
    {SYS_setsockopt, "the guest's hop limit", {arg_is(1, SOL_IPV6), arg_is(2, IPV6_UNICAST_HOPS)}},
    // Safe: neither names an address, an interface or a table, so a flow's packets still go to its peer
    // through the interface it is bound to. A TOS can choose among that interface's routes (ip-rule tos) and
    // a queue.
    {SYS_setsockopt, "the guest's DSCP and ECN", {arg_is(1, SOL_IP), arg_is(2, IP_TOS)}},
    {SYS_setsockopt, "the guest's DSCP and ECN", {arg_is(1, SOL_IPV6), arg_is(2, IPV6_TCLASS)}},
    {SYS_getsockopt, "why a socket failed", {arg_is(1, SOL_SOCKET), arg_is(2, SO_ERROR)}},
    {SYS_getsockopt, "memory held by a socket", {arg_is(1, SOL_SOCKET), arg_is(2, kSoMeminfo)}},
    {SYS_getsockopt, "what the far end acknowledged", {arg_is(1, SOL_TCP), arg_is(2, TCP_INFO)}},
    {SYS_getsockopt, "path MTU after EMSGSIZE", {arg_is(1, SOL_IP), arg_is(2, IP_MTU)}},
    {SYS_getsockopt, "path MTU after EMSGSIZE", {arg_is(1, SOL_IPV6), arg_is(2, IPV6_MTU)}},
    {SYS_ioctl, "bytes waiting in a socket", {arg_is(1, SIOCINQ)}},
    {SYS_ioctl, "bytes not yet acknowledged", {arg_is(1, SIOCOUTQ)}},
    {SYS_fcntl, "is it non-blocking", {arg_is(1, F_GETFL)}},
};

constexpr Row kLoop[] = {
    {SYS_epoll_ctl, "granted and ended sockets"},
    {SYS_epoll_wait, "the loop"},
    {SYS_epoll_pwait, "the loop (glibc's epoll_wait on some architectures)"},
    {SYS_epoll_pwait2, "the loop, with nanoseconds"},
    {SYS_clock_gettime, "time, where the vDSO cannot"},
    {SYS_madvise, "idle buffers go back to the kernel", {arg_is(2, MADV_DONTNEED)}},
    {SYS_getrandom, "random keys"},
};

constexpr Row kEnd[] = {
    {SYS_exit_group, "the end"},     {SYS_rt_sigreturn, "return from a signal handler"},
    {SYS_rt_sigprocmask, "abort()"}, {SYS_getpid, "abort()"},
    {SYS_gettid, "abort()"},         {SYS_tgkill, "abort()", {arg_own_pid(0), arg_is(2, SIGABRT)}},
};

// With a vhost-user front end, which may come with its memory, take it away, and give other memory, at any
// time. None of it can be made executable, and a new mapping never takes the place of an old one except as
// zeros.
constexpr Row kGuestMemory[] = {
    {SYS_fcntl, "is it memory of the kernel's", {arg_is(1, F_GET_SEALS)}},
    {SYS_fstat, "how long it is; is it an eventfd"},
    {SYS_mmap,
     "the guest's memory and its log",
     {arg_is(2, PROT_READ | PROT_WRITE), arg_is(3, MAP_SHARED | MAP_NORESERVE)}},
    {SYS_mmap,
     "zeros where the guest's memory has gone (SIGBUS)",
     {arg_is(2, PROT_READ | PROT_WRITE), arg_is(3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE)}},
    {SYS_madvise, "none of it in a core file", {arg_is(2, MADV_DONTDUMP)}},
    {SYS_munmap, "memory that was taken back"},
};

}  // namespace

std::span<const Table> memory_translator_profile() {
  static const std::array tables{Table{"data", kData}, Table{"options", kOptions},
                                 Table{"loop", kLoop}, Table{"guest memory", kGuestMemory},
                                 Table{"end", kEnd},   sanitizer_table()};
  return tables;
}

std::span<const Table> translator_profile() {
  static const std::array tables{Table{"data", kData}, Table{"options", kOptions}, Table{"loop", kLoop},
                                 Table{"end", kEnd}, sanitizer_table()};
  return tables;
}

}  // namespace cordon::sandbox
