// The broker's profile: it makes, binds, connects and judges sockets of four kinds, listens to netlink and
// speaks on its channels. It opens no file, starts no process, and cannot turn a socket into anything raw,
// privileged or broadcasting.
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

constexpr int kTypeFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
constexpr Row socket_row(int domain, int type, int protocol, std::string_view why) {
  return {SYS_socket, why, {arg_is(0, domain), arg_is_but(1, type, kTypeFlags), arg_is(2, protocol)}};
}

constexpr Row kSockets[] = {
    socket_row(AF_INET, SOCK_STREAM, 0, "TCP flows"),
    socket_row(AF_INET, SOCK_STREAM, IPPROTO_TCP, "TCP flows"),
    socket_row(AF_INET6, SOCK_STREAM, 0, "TCP flows"),
    socket_row(AF_INET6, SOCK_STREAM, IPPROTO_TCP, "TCP flows"),
    socket_row(AF_INET, SOCK_DGRAM, 0, "UDP flows"),
    socket_row(AF_INET, SOCK_DGRAM, IPPROTO_UDP, "UDP flows"),
    socket_row(AF_INET6, SOCK_DGRAM, 0, "UDP flows"),
    socket_row(AF_INET6, SOCK_DGRAM, IPPROTO_UDP, "UDP flows"),
    socket_row(AF_INET, SOCK_DGRAM, IPPROTO_ICMP, "ping flows"),
    socket_row(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6, "ping flows"),
    {SYS_bind, "keep the guest's source port"},
    {SYS_connect, "open a flow; AF_UNSPEC revokes it"},
    {SYS_accept4, "connections to published ports", {arg_is(3, kTypeFlags)}},
    {SYS_getsockname, "local address for the audit record"},
    {SYS_getpeername, "is the handshake complete"},
    {SYS_getsockopt, "SO_ERROR, path MTU, volume of a TCP flow"},
    {SYS_shutdown, "revoke datagram sockets"},
    {SYS_close, "ended flows"},
    {SYS_ioctl, "bytes waiting in a socket", {arg_is(1, SIOCINQ)}},
    {SYS_ioctl, "bytes not yet acknowledged", {arg_is(1, SIOCOUTQ)}},
    {SYS_fcntl, "is it non-blocking", {arg_is(1, F_GETFL)}},
    {SYS_fcntl, "make it non-blocking again", {arg_is(1, F_SETFL), arg_only(2, O_NONBLOCK | O_RDWR)}},
    {SYS_fcntl, "is it closed on exec", {arg_is(1, F_GETFD)}},
    {SYS_fcntl, "a second descriptor", {arg_is(1, F_DUPFD_CLOEXEC)}},
};

constexpr Row option(int level, int name, std::string_view why) {
  return {SYS_setsockopt, why, {arg_is(1, level), arg_is(2, name)}};
}

constexpr int kSoBindToIfindex = 62;
constexpr int kIpv6RecvErr = 25;
constexpr int kSoBufLock = 72;

constexpr Row kOptions[] = {
    option(SOL_SOCKET, SO_LINGER, "reset on close; never wait in close"),
    option(SOL_SOCKET, kSoBindToIfindex, "the interface the FIB names"),
    option(SOL_SOCKET, SO_BINDTODEVICE, "the interface the FIB names, before Linux 5.7"),
    option(SOL_SOCKET, SO_ATTACH_FILTER, "drop-all around bind..connect and at revocation"),
    option(SOL_SOCKET, SO_DETACH_FILTER, "after connect"),
    option(SOL_SOCKET, SO_LOCK_FILTER, "at revocation"),
    option(SOL_SOCKET, SO_REUSEADDR, "second flow of one guest port"),
    option(SOL_SOCKET, SO_RCVBUF, "memory limit of a flow"),
    option(SOL_SOCKET, SO_SNDBUF, "memory limit of a flow; channel depth"),
    option(SOL_SOCKET, kSoBufLock, "back to automatic buffers"),
    option(SOL_SOCKET, SO_RCVLOWAT, "fewer wake-ups"),
    option(SOL_SOCKET, SO_KEEPALIVE, "held flows"),
    option(SOL_SOCKET, SO_MAX_PACING_RATE, "a flow's share of a rate limit"),
    option(SOL_TCP, TCP_NODELAY, "the guest has done Nagle"),
    option(SOL_TCP, TCP_MAXSEG, "the guest's segment size"),
    option(SOL_TCP, TCP_NOTSENT_LOWAT, "little unsent data in the kernel"),
    option(SOL_TCP, TCP_USER_TIMEOUT, "dead peers"),
    option(SOL_TCP, TCP_KEEPIDLE, "held flows"),
    option(SOL_TCP, TCP_KEEPINTVL, "held flows"),
    option(SOL_TCP, TCP_KEEPCNT, "held flows"),
    option(SOL_TCP, TCP_WINDOW_CLAMP, "receive window of a flow"),
    option(SOL_TCP, TCP_QUICKACK, "delayed acknowledgements"),
    option(SOL_TCP, TCP_SYNCNT, "connect time-out"),
    option(SOL_UDP, UDP_GRO, "datagram batches"),
    option(SOL_UDP, UDP_SEGMENT, "datagram batches"),
    option(SOL_IP, IP_RECVERR, "ICMP errors to the guest"),
    option(SOL_IP, IP_MTU_DISCOVER, "the guest does path MTU discovery"),
    option(SOL_IP, IP_TTL, "the guest's TTL"),
    option(SOL_IP, IP_TOS, "the guest's ECN and DSCP"),
    option(SOL_IP, IP_RECVTTL, "TTL of echo replies"),
    option(SOL_IP, IP_RECVTOS, "ECN of datagrams"),
    option(SOL_IP, IP_BIND_ADDRESS_NO_PORT, "source port chosen at connect"),
    option(SOL_IPV6, kIpv6RecvErr, "ICMPv6 errors to the guest"),
    option(SOL_IPV6, IPV6_V6ONLY, "one family per socket"),
    option(SOL_IPV6, IPV6_MTU_DISCOVER, "the guest does path MTU discovery"),
    option(SOL_IPV6, IPV6_UNICAST_HOPS, "the guest's hop limit"),
    option(SOL_IPV6, IPV6_TCLASS, "the guest's ECN and DSCP"),
    option(SOL_IPV6, IPV6_RECVHOPLIMIT, "hop limit of echo replies"),
    option(SOL_IPV6, IPV6_RECVTCLASS, "ECN of datagrams"),
    option(SOL_IPV6, IPV6_DONTFRAG, "the guest does path MTU discovery"),
};

constexpr Row kChannels[] = {
    {SYS_sendmsg, "grants with their socket; netlink requests"},
    {SYS_sendto, "channel and control; never an address", {arg_null(4)}},
    {SYS_recvmsg, "channel, control, netlink, error queue"},
    {SYS_read, "timers, signals"},
    {SYS_pread64, "the kernel's socket memory"},
    {SYS_write, "audit lines, diagnostics"},
    {SYS_writev, "audit lines"},
    {SYS_poll, "wait for room in the control channel"},
    {SYS_ppoll, "wait for room in the control channel"},
    {SYS_restart_syscall, "that wait goes on after SIGSTOP and SIGCONT (the kernel's doing)"},
    {SYS_epoll_ctl, "the loop"},
    {SYS_epoll_wait, "the loop"},
    {SYS_epoll_pwait, "the loop"},
    {SYS_epoll_pwait2, "the loop"},
    {SYS_timerfd_settime, "connect and aggregation timers"},
    {SYS_clock_gettime, "time, where the vDSO cannot"},
    {SYS_getrandom, "hash keys"},
};

constexpr Row kMemory[] = {
    {SYS_brk, "heap"},     {SYS_mmap, "heap; never executable", {arg_only(2, PROT_READ | PROT_WRITE)}},
    {SYS_munmap, "heap"},  {SYS_mremap, "heap"},
    {SYS_madvise, "heap"}, {SYS_futex, "exceptions and one-time initialisation in the C++ runtime"},
};

constexpr Row kEnd[] = {
    {SYS_exit_group, "the end"},     {SYS_rt_sigreturn, "return from a signal handler"},
    {SYS_rt_sigprocmask, "abort()"}, {SYS_getpid, "abort()"},
    {SYS_gettid, "abort()"},         {SYS_tgkill, "abort()", {arg_own_pid(0), arg_is(2, SIGABRT)}},
};

}  // namespace

std::span<const Table> broker_profile() {
  static const std::array tables{Table{"sockets", kSockets},   Table{"options", kOptions},
                                 Table{"channels", kChannels}, Table{"memory", kMemory},
                                 Table{"end", kEnd},           sanitizer_table()};
  return tables;
}

}  // namespace cordon::sandbox
