// System calls that lead out of the grants: each must end the process.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "tests/hostile/rogue/attack.h"

namespace cordon::rogue {
namespace {

using When = Attack::When;

// An IPv4 service of the host's, which a socket must not be turned towards.
std::uint64_t host_address(Scene& scene) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(kCanary);
  ::inet_pton(AF_INET, "192.0.2.131", &at.sin_addr);
  return scene.agent().put(at);
}
std::uint64_t text(Scene& scene, std::string_view value) {
  std::string zero{value};
  zero += '\0';
  return scene.agent().put(std::as_bytes(std::span{zero}));
}
std::uint64_t number(Scene& scene, int value) { return scene.agent().put(value); }

// A datagram for the host, by way of an allowed socket.
std::uint64_t message_to_host(Scene& scene) {
  Remote& agent = scene.agent();
  const auto pointer = [](std::uint64_t address) { return reinterpret_cast<void*>(address); };
  const iovec part{pointer(text(scene, "to the host")), 11};
  mmsghdr message{};
  message.msg_hdr.msg_name = pointer(host_address(scene));
  message.msg_hdr.msg_namelen = sizeof(sockaddr_in);
  message.msg_hdr.msg_iov = static_cast<iovec*>(pointer(agent.put(part)));
  message.msg_hdr.msg_iovlen = 1;
  return agent.put(message);
}
std::string to_broker(Scene& scene, long call, long second = 0, long third = 0) {
  return outcome(scene.agent().call(call, scene.world().broker, second, third, 0, 0, 0));
}
std::string made(Scene& scene, long call, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  return outcome(scene.agent().call(call, a, b, c, d, e, 0));
}
template <int kDomain, int kType, int kProtocol>
std::string new_socket(Scene& scene) {
  return made(scene, SYS_socket, kDomain, kType, kProtocol);
}
template <unsigned long kRequest>
std::string device_ioctl(Scene& scene) {
  return outcome(scene.agent().call(SYS_ioctl, scene.udp(), kRequest, scene.agent().room(4096), 0, 0, 0));
}
// Every file of note; the first that can be opened is the answer.
std::string open_file(Scene& scene, const std::string& path) {
  return outcome(scene.agent().call(SYS_openat, AT_FDCWD, text(scene, path), O_RDWR, 0, 0, 0));
}

constexpr Attack kSockets[] = {
    {"sockets", "socket: TCP", "SIGSYS", new_socket<AF_INET, SOCK_STREAM, 0>, "killed by signal 31"},
    {"sockets", "socket: UDP over IPv6", "SIGSYS", new_socket<AF_INET6, SOCK_DGRAM, 0>},
    {"sockets", "socket: raw ICMP", "SIGSYS", new_socket<AF_INET, SOCK_RAW, IPPROTO_ICMP>},
    {"sockets", "socket: packet", "SIGSYS", new_socket<AF_PACKET, SOCK_RAW, 0x300>},
    {"sockets", "socket: netlink", "SIGSYS", new_socket<AF_NETLINK, SOCK_RAW, NETLINK_ROUTE>},
    {"sockets", "socket: UNIX", "SIGSYS", new_socket<AF_UNIX, SOCK_DGRAM, 0>},
    {"sockets", "socket: vsock", "SIGSYS", new_socket<AF_VSOCK, SOCK_STREAM, 0>},
    {"sockets", "socket: AF_ALG", "SIGSYS", new_socket<AF_ALG, SOCK_SEQPACKET, 0>},
    {"sockets", "socket: multipath TCP", "SIGSYS", new_socket<AF_INET, SOCK_STREAM, 262>},
    {"sockets", "socket: SCTP", "SIGSYS", new_socket<AF_INET, SOCK_STREAM, IPPROTO_SCTP>},
    {"sockets", "socketpair", "SIGSYS",
     [](Scene& s) {
       return made(s, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, static_cast<long>(s.agent().room(8)));
     }},
    {"sockets", "accept on a granted socket", "SIGSYS",
     [](Scene& s) { return made(s, SYS_accept4, s.tcp()); }},
    {"sockets", "listen on a granted socket", "SIGSYS",
     [](Scene& s) { return made(s, SYS_listen, s.tcp(), 1); }},
    {"sockets", "bind a granted socket", "SIGSYS",
     [](Scene& s) {
       return made(s, SYS_bind, s.udp(), static_cast<long>(host_address(s)), sizeof(sockaddr_in));
     }},
    {"sockets", "io_uring", "SIGSYS",
     [](Scene& s) { return made(s, SYS_io_uring_setup, 8, static_cast<long>(s.agent().room(256))); }},
    {"sockets", "pass a descriptor on (SCM_RIGHTS)", "SIGSYS",
     [](Scene& s) {
       return made(s, SYS_sendmsg, kChannel, static_cast<long>(s.agent().room(sizeof(msghdr))));
     }},
    {"sockets", "pidfd_getfd of the broker's sockets", "SIGSYS",
     [](Scene& s) { return made(s, SYS_pidfd_getfd, 5, 3); }},
    {"sockets", "pidfd_open of the broker", "SIGSYS", [](Scene& s) { return to_broker(s, SYS_pidfd_open); }},
    {"sockets", "dup a grant", "SIGSYS", [](Scene& s) { return made(s, SYS_dup, s.udp()); }},
    {"sockets", "another network namespace (setns)", "SIGSYS",
     [](Scene& s) { return made(s, SYS_setns, 5, CLONE_NEWNET); }},
    {"sockets", "a new namespace (unshare)", "SIGSYS",
     [](Scene& s) { return made(s, SYS_unshare, CLONE_NEWNET); }},

    {"elsewhere", "connect a granted socket to the host", "SIGSYS",
     [](Scene& s) {
       return made(s, SYS_connect, s.udp(), static_cast<long>(host_address(s)), sizeof(sockaddr_in));
     }},
    {"elsewhere", "connect(AF_UNSPEC)", "SIGSYS",
     [](Scene& s) {
       return made(s, SYS_connect, s.udp(), static_cast<long>(s.agent().room(16)), sizeof(sockaddr_in));
     }},
    {"elsewhere", "sendto with an address", "SIGSYS",
     [](Scene& s) {
       return outcome(
           s.agent().call(SYS_sendto, s.udp(), text(s, "x"), 1, 0, host_address(s), sizeof(sockaddr_in)));
     }},
    {"elsewhere", "sendmsg with an address", "SIGSYS",
     [](Scene& s) { return made(s, SYS_sendmsg, s.udp(), static_cast<long>(message_to_host(s)), 0); }},
    {"elsewhere", "sendmmsg with an address", "SIGSYS",
     [](Scene& s) { return made(s, SYS_sendmmsg, s.udp(), static_cast<long>(message_to_host(s)), 1, 0); }},
    {"elsewhere", "MSG_FASTOPEN", "SIGSYS",
     [](Scene& s) {
       return outcome(s.agent().call(SYS_sendto, s.tcp(), text(s, "x"), 1, MSG_FASTOPEN, 0, 0));
     }},
    {"elsewhere", "MSG_OOB", "SIGSYS",
     [](Scene& s) { return outcome(s.agent().call(SYS_sendto, s.tcp(), text(s, "x"), 1, MSG_OOB, 0, 0)); }},
    {"elsewhere", "MSG_ZEROCOPY", "SIGSYS",
     [](Scene& s) {
       return outcome(s.agent().call(SYS_sendto, s.tcp(), text(s, "x"), 1, MSG_ZEROCOPY, 0, 0));
     }},
    {"elsewhere", "splice between grants", "SIGSYS",
     [](Scene& s) { return made(s, SYS_splice, s.tcp(), 0, s.udp(), 0, 4096); }},

    {"blocking", "F_SETFL: make the broker's socket block", "SIGSYS",
     [](Scene& s) { return made(s, SYS_fcntl, s.tcp(), F_SETFL, 0); }},
    {"blocking", "FIONBIO: the same", "SIGSYS",
     [](Scene& s) { return outcome(s.agent().call(SYS_ioctl, s.tcp(), FIONBIO, number(s, 0), 0, 0, 0)); }},
    {"blocking", "FIOASYNC and F_SETOWN: signals for the broker", "SIGSYS",
     [](Scene& s) { return made(s, SYS_fcntl, s.tcp(), F_SETOWN, s.world().broker); }},
    {"blocking", "F_SETPIPE_SZ on the ready pipe", "SIGSYS",
     [](Scene& s) { return made(s, SYS_fcntl, 1, F_SETPIPE_SZ, 1 << 20); }},

    {"interfaces", "SIOCGIFCONF", "SIGSYS", device_ioctl<SIOCGIFCONF>},
    {"interfaces", "SIOCGIFADDR", "SIGSYS", device_ioctl<SIOCGIFADDR>},
    {"interfaces", "SIOCGIFNAME", "SIGSYS", device_ioctl<SIOCGIFNAME>},
    {"interfaces", "SIOCETHTOOL", "SIGSYS", device_ioctl<SIOCETHTOOL>},
    {"interfaces", "SIOCADDRT", "SIGSYS", device_ioctl<SIOCADDRT>},
    {"interfaces", "getsockname: the host's address", "SIGSYS",
     [](Scene& s) {
       return made(s, SYS_getsockname, s.udp(), static_cast<long>(s.agent().room(128)),
                   static_cast<long>(number(s, 128)));
     }},
    {"interfaces", "getpeername", "SIGSYS",
     [](Scene& s) {
       return made(s, SYS_getpeername, s.udp(), static_cast<long>(s.agent().room(128)),
                   static_cast<long>(number(s, 128)));
     }},
};

constexpr Attack kFiles[] = {
    {"files",
     "/etc/passwd",
     "SIGSYS",
     [](Scene& s) { return open_file(s, "/etc/passwd"); },
     {},
     When::kFiltered},
    {"files",
     "the audit log",
     "SIGSYS",
     [](Scene& s) { return open_file(s, s.world().audit); },
     {},
     When::kFiltered},
    {"files",
     "/dev/net/tun",
     "SIGSYS",
     [](Scene& s) { return open_file(s, "/dev/net/tun"); },
     {},
     When::kFiltered},
    {"files",
     "the broker's memory",
     "SIGSYS",
     [](Scene& s) { return open_file(s, "/proc/" + std::to_string(s.world().broker) + "/mem"); },
     {},
     When::kFiltered},
    {"files",
     "the other guest's descriptors",
     "SIGSYS",
     [](Scene& s) { return open_file(s, "/proc/" + std::to_string(s.world().other) + "/fd/3"); },
     {},
     When::kFiltered},
    {"files", "openat2", "SIGSYS", [](Scene& s) { return made(s, SYS_openat2, AT_FDCWD); }},
    {"files", "open_by_handle_at", "SIGSYS", [](Scene& s) { return made(s, SYS_open_by_handle_at, 3); }},
    {"files", "memfd_create", "SIGSYS",
     [](Scene& s) { return made(s, SYS_memfd_create, static_cast<long>(text(s, "m")), 0); }},
    {"files", "shared memory (shmget)", "SIGSYS",
     [](Scene& s) { return made(s, SYS_shmget, 0, 4096, 0777); }},
    {"files", "a message queue", "SIGSYS", [](Scene& s) { return made(s, SYS_mq_open); }},
    {"files", "mount", "SIGSYS", [](Scene& s) { return made(s, SYS_mount); }},
    {"files", "the control socket", "SIGSYS",
     [](Scene& s) {
       sockaddr_un at{};
       at.sun_family = AF_UNIX;
       s.world().control.copy(at.sun_path, sizeof at.sun_path - 1);
       return made(s, SYS_connect, s.udp(), static_cast<long>(s.agent().put(at)), sizeof at);
     }},
    {"files", "inotify", "SIGSYS", [](Scene& s) { return made(s, SYS_inotify_init1); }},
    {"files", "a key ring", "SIGSYS", [](Scene& s) { return made(s, SYS_keyctl); }},

    {"processes", "kill the broker", "SIGSYS", [](Scene& s) { return to_broker(s, SYS_kill, SIGKILL); }},
    {"processes", "tgkill the broker", "SIGSYS",
     [](Scene& s) { return to_broker(s, SYS_tgkill, s.world().broker, SIGABRT); }},
    {"processes", "tgkill oneself with SIGKILL", "SIGSYS",
     [](Scene& s) { return made(s, SYS_tgkill, 1, 1, SIGKILL); }},
    {"processes", "ptrace the broker", "SIGSYS",
     [](Scene& s) { return made(s, SYS_ptrace, PTRACE_ATTACH, s.world().broker); }},
    {"processes", "read the broker's memory", "SIGSYS",
     [](Scene& s) { return to_broker(s, SYS_process_vm_readv); }},
    {"processes", "write the broker's memory", "SIGSYS",
     [](Scene& s) { return to_broker(s, SYS_process_vm_writev); }},
    {"processes", "signal everybody", "SIGSYS", [](Scene& s) { return made(s, SYS_kill, -1, SIGKILL); }},
    {"processes", "fork", "SIGSYS", [](Scene& s) { return made(s, SYS_fork); }},
    {"processes", "vfork", "SIGSYS", [](Scene& s) { return made(s, SYS_vfork); }},
    {"processes", "clone", "SIGSYS", [](Scene& s) { return made(s, SYS_clone, SIGCHLD); }},
    {"processes", "clone3", "SIGSYS", [](Scene& s) { return made(s, SYS_clone3); }},
    {"processes", "execve", "SIGSYS",
     [](Scene& s) { return made(s, SYS_execve, static_cast<long>(text(s, "/bin/sh"))); }},
    {"processes", "execveat", "SIGSYS", [](Scene& s) { return made(s, SYS_execveat, 3); }},
    {"processes", "priority", "SIGSYS", [](Scene& s) { return made(s, SYS_setpriority, 0, 0, -20); }},
    {"processes", "real-time scheduling", "SIGSYS",
     [](Scene& s) { return made(s, SYS_sched_setscheduler, 0, 1); }},
    {"processes",
     "raise a limit",
     "SIGSYS",
     [](Scene& s) { return made(s, SYS_prlimit64, s.world().broker, 7); },
     {},
     When::kFiltered},
    {"processes",
     "no death signal any more",
     "SIGSYS",
     [](Scene& s) { return made(s, SYS_prctl, 1, 0); },
     {},
     When::kFiltered},
    {"processes", "another filter", "SIGSYS", [](Scene& s) { return made(s, SYS_seccomp, 1); }},
    {"processes", "root again", "SIGSYS", [](Scene& s) { return made(s, SYS_setresuid, 0, 0, 0); }},
    {"processes", "capabilities", "SIGSYS", [](Scene& s) { return made(s, SYS_capset); }},
    {"processes", "a timer that never ends", "SIGSYS", [](Scene& s) { return made(s, SYS_timer_create); }},
    {"processes", "bpf", "SIGSYS", [](Scene& s) { return made(s, SYS_bpf); }},
    {"processes", "perf_event_open", "SIGSYS", [](Scene& s) { return made(s, SYS_perf_event_open); }},
    {"processes", "userfaultfd", "SIGSYS", [](Scene& s) { return made(s, SYS_userfaultfd); }},
#ifdef __x86_64__
    {"processes", "x32: socket", "SIGSYS", [](Scene& s) { return made(s, 0x40000000 + SYS_socket, 2, 1); }},
#endif
};

std::string map(Scene& scene, int protection, int flags, int fd) {
  return outcome(scene.agent().call(SYS_mmap, 0, 4096, protection, flags, fd, 0));
}
constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;

constexpr Attack kMemory[] = {
    {"memory", "executable memory", "SIGSYS",
     [](Scene& s) { return map(s, PROT_READ | PROT_EXEC, kAnonymous, -1); }},
    {"memory",
     "more memory (mmap)",
     "SIGSYS",
     [](Scene& s) { return map(s, PROT_READ | PROT_WRITE, kAnonymous, -1); },
     {},
     When::kFiltered},
    {"memory", "more memory (brk)", "SIGSYS", [](Scene& s) { return made(s, SYS_brk); }, {}, When::kFiltered},
    {"memory", "make the arena executable", "SIGSYS",
     [](Scene& s) {
       return outcome(s.agent().call(SYS_mprotect, s.agent().hello().arena, 4096, PROT_READ | PROT_EXEC));
     }},
    {"memory",
     "run the arena",
     "SIGSEGV",
     [](Scene& s) {
       s.agent().other(Order::kJump, s.agent().hello().arena);
       return std::string{"ran"};
     },
     {},
     When::kFiltered},
    {"memory",
     "run the stack",
     "SIGSEGV",
     [](Scene& s) {
       s.agent().other(Order::kJump, s.agent().hello().stack);
       return std::string{"ran"};
     },
     {},
     When::kFiltered},
    {"memory",
     "change the code",
     "SIGSEGV",
     [](Scene& s) {
       s.agent().other(Order::kTouch, s.agent().hello().code);
       return std::string{"changed"};
     },
     {},
     When::kFiltered},
    {"memory",
     "the whole stack",
     "SIGSEGV",
     [](Scene& s) {
       s.agent().other(Order::kRecurse);
       return std::string{"endless"};
     },
     {},
     When::kFiltered},
    {"memory", "lock memory", "SIGSYS", [](Scene& s) { return made(s, SYS_mlockall, MCL_CURRENT); }},
    {"memory",
     "move a mapping",
     "SIGSYS",
     [](Scene& s) {
       return outcome(s.agent().call(SYS_mremap, s.agent().hello().arena, 4096, 8192, MREMAP_MAYMOVE, 0, 0));
     },
     {},
     When::kFiltered},
};

constexpr auto kCalls = [] {
  std::array<Attack, std::size(kSockets) + std::size(kFiles)> all{};
  auto* end = std::copy(std::begin(kSockets), std::end(kSockets), all.begin());
  std::copy(std::begin(kFiles), std::end(kFiles), end);
  return all;
}();

}  // namespace

std::span<const Attack> call_attacks() { return kCalls; }
std::span<const Attack> memory_attacks() { return kMemory; }

}  // namespace cordon::rogue
