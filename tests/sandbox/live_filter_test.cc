// The filters in live processes: one forked child per call.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "core/base/fd.h"
#include "sandbox/capabilities.h"
#include "sandbox/filter.h"

namespace cordon::sandbox {
namespace {

// What became of a child that made `call` under the filter: its exit status, or minus the signal.
int under_filter(std::span<const Table> profile, const std::function<int()>& call) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    for (const int number : {SIGABRT, SIGSYS, SIGSEGV, SIGTERM})
      ::signal(number, SIG_DFL);  // doctest's handlers
    const auto program = compile_filter(profile, ::getpid());
    if (!program || !set_no_new_privs() || !install_filter(*program)) ::_exit(97);
    ::syscall(SYS_exit_group, call());
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// Two UDP sockets on loopback, connected to each other.
struct Pair {
  Pair() {
    for (auto& fd : ends) {
      fd = base::Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
      sockaddr_in at{};
      at.sin_family = AF_INET;
      at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    }
    for (std::size_t i = 0; i < 2; ++i) {
      sockaddr_in peer{};
      socklen_t length = sizeof peer;
      REQUIRE(::getsockname(ends.at(1 - i).get(), reinterpret_cast<sockaddr*>(&peer), &length) == 0);
      REQUIRE(::connect(ends.at(i).get(), reinterpret_cast<sockaddr*>(&peer), length) == 0);
    }
  }
  std::array<base::Fd, 2> ends;
};

struct Forbidden {
  std::string_view name;
  long number;
  std::array<long, 6> args{};
};

#ifdef CORDON_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

}  // namespace

TEST_CASE("live filter: each call out of the translator's grants kills it") {
  const Pair pair;
  const long fd = pair.ends[0].get();
  int one = 1;
  sockaddr_in other{};
  other.sin_family = AF_INET;
  other.sin_port = htons(9);
  other.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto address = reinterpret_cast<long>(&other);
  const auto value = reinterpret_cast<long>(&one);
  const Forbidden calls[] = {
      {"socket", SYS_socket, {AF_INET, SOCK_DGRAM, 0}},
      {"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, value}},
      {"connect elsewhere", SYS_connect, {fd, address, sizeof other}},
      {"bind", SYS_bind, {fd, address, sizeof other}},
      {"listen", SYS_listen, {fd, 1}},
      {"accept4", SYS_accept4, {fd, 0, 0, 0}},
      {"sendto with an address", SYS_sendto, {fd, value, 1, 0, address, sizeof other}},
      {"send MSG_OOB", SYS_sendto, {fd, value, 1, MSG_OOB, 0, 0}},
      {"send MSG_FASTOPEN", SYS_sendto, {fd, value, 1, MSG_FASTOPEN, 0, 0}},
      {"sendmsg", SYS_sendmsg, {fd, 0, 0}},
      {"sendmmsg", SYS_sendmmsg, {fd, 0, 0, 0}},
      {"IPV6_RTHDR", SYS_setsockopt, {fd, SOL_IPV6, IPV6_RTHDR, value, 4}},
      {"SO_BINDTOIFINDEX", SYS_setsockopt, {fd, SOL_SOCKET, 62, value, 4}},
      {"SO_BROADCAST", SYS_setsockopt, {fd, SOL_SOCKET, SO_BROADCAST, value, 4}},
      {"SO_LINGER", SYS_setsockopt, {fd, SOL_SOCKET, SO_LINGER, value, 4}},
      {"SO_DETACH_FILTER", SYS_setsockopt, {fd, SOL_SOCKET, SO_DETACH_FILTER, value, 4}},
      {"IP_OPTIONS", SYS_setsockopt, {fd, SOL_IP, IP_OPTIONS, value, 4}},
      {"IP_ADD_MEMBERSHIP", SYS_setsockopt, {fd, SOL_IP, IP_ADD_MEMBERSHIP, value, 4}},
      {"SIOCGIFCONF", SYS_ioctl, {fd, 0x8912, 0}},
      {"TUNSETPERSIST", SYS_ioctl, {fd, 0x400454cb, 0}},
      {"F_SETFL", SYS_fcntl, {fd, F_SETFL, 0}},
      {"F_DUPFD", SYS_fcntl, {fd, F_DUPFD, 0}},
      {"execve", SYS_execve, {0, 0, 0}},
      {"execveat", SYS_execveat, {0, 0, 0, 0, 0}},
      {"fork", SYS_fork, {}},
      {"clone3", SYS_clone3, {0, 0}},
      {"ptrace", SYS_ptrace, {0, 0, 0, 0}},
      {"process_vm_readv", SYS_process_vm_readv, {1, 0, 0, 0, 0, 0}},
      {"pidfd_getfd", SYS_pidfd_getfd, {0, 0, 0}},
      {"io_uring_setup", SYS_io_uring_setup, {1, 0}},
      {"userfaultfd", SYS_userfaultfd, {0}},
      {"openat2", SYS_openat2, {0, 0, 0, 0}},
      {"open_by_handle_at", SYS_open_by_handle_at, {0, 0, 0}},
      {"memfd_create", SYS_memfd_create, {0, 0}},
      {"mount", SYS_mount, {0, 0, 0, 0, 0}},
      {"setns", SYS_setns, {0, 0}},
      {"unshare", SYS_unshare, {0}},
      {"seccomp", SYS_seccomp, {0, 0, 0}},
      {"splice", SYS_splice, {0, 0, 0, 0, 0, 0}},
      {"kill", SYS_kill, {1, 0}},
      {"SIGABRT to the parent", SYS_tgkill, {::getpid(), ::getpid(), SIGABRT}},
      {"executable memory", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
      {"x32 getpid", 0x40000000 + SYS_getpid, {}},
      {"no system call at all", 100'000, {}},
  };
  for (const auto& call : calls) {
    CAPTURE(call.name);
    CHECK(under_filter(translator_profile(), [&] {
            const auto& a = call.args;
            ::syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
            return 0;
          }) == -SIGSYS);
  }
  if (kSanitized) return;  // a sanitizer's runtime gets EACCES here, and may map memory
  CHECK(under_filter(translator_profile(), [] { return ::open("/", O_RDONLY) < 0 ? 1 : 0; }) == -SIGSYS);
  CHECK(under_filter(translator_profile(), [] { return ::prctl(PR_GET_DUMPABLE); }) == -SIGSYS);
  CHECK(under_filter(translator_profile(), [] { return ::sbrk(4096) == nullptr ? 1 : 0; }) == -SIGSYS);
}

TEST_CASE("live filter: what the translator does every day works") {
  const Pair pair;
  const int a = pair.ends[0].get();
  const int b = pair.ends[1].get();
  const base::Fd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  struct Case {
    std::string_view name;
    std::function<int()> works;  // 0: yes
  };
  std::array<char, 64> buffer{};
  const Case cases[] = {
      {"write and read",
       [&] { return ::write(a, "x", 1) == 1 && ::read(b, buffer.data(), 64) == 1 ? 0 : 1; }},
      {"send and recv",
       [&] {
         return ::send(a, "xy", 2, MSG_DONTWAIT | MSG_NOSIGNAL) == 2 && ::recv(b, buffer.data(), 64, 0) == 2
                    ? 0
                    : 1;
       }},
      {"recvmsg",
       [&] {
         iovec part{buffer.data(), buffer.size()};
         msghdr message{};
         message.msg_iov = &part;
         message.msg_iovlen = 1;
         return ::write(a, "x", 1) == 1 && ::recvmsg(b, &message, MSG_DONTWAIT) == 1 ? 0 : 1;
       }},
      {"the error queue",
       [&] {
         msghdr message{};
         return ::recvmsg(b, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0 && errno == EAGAIN ? 0 : 1;
       }},
      {"an empty datagram",
       [&] { return ::write(a, "", 0) == 0 && ::read(b, buffer.data(), 64) == 0 ? 0 : 1; }},
      {"UDP_SEGMENT",
       [&] {
         const int size = 8;
         return ::setsockopt(a, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
       }},
      {"IP_TTL",
       [&] {
         const int ttl = 7;
         return ::setsockopt(a, SOL_IP, IP_TTL, &ttl, sizeof ttl);
       }},
      {"IP_TOS",
       [&] {
         const int tos = 0xb8;
         return ::setsockopt(a, SOL_IP, IP_TOS, &tos, sizeof tos);
       }},
      {"SO_ERROR",
       [&] {
         int error = 1;
         socklen_t size = sizeof error;
         return ::getsockopt(a, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : 1;
       }},
      {"epoll",
       [&] {
         epoll_event event{.events = EPOLLIN, .data = {.fd = b}};
         if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, b, &event) != 0 || ::write(a, "x", 1) != 1) return 1;
         return ::epoll_wait(epoll.get(), &event, 1, 1000) == 1 ? 0 : 1;
       }},
      {"shutdown and close", [&] { return ::shutdown(a, SHUT_WR) == 0 && ::close(a) == 0 ? 0 : 1; }},
      {"time",
       [] {
         timespec now{};
         return static_cast<int>(::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now));
       }},
      {"stdio without a buffer", [] { return std::fprintf(stderr, "%s", "") == 0 ? 0 : 1; }},
  };
  for (const auto& row : cases) {
    CAPTURE(row.name);
    CHECK(under_filter(translator_profile(), row.works) == 0);
  }
  CHECK(under_filter(translator_profile(), [] {
          std::abort();
          return 0;
        }) == -SIGABRT);
}

TEST_CASE("live filter: the broker makes four kinds of socket and no other") {
  for (const int domain : {AF_INET, AF_INET6})
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      CAPTURE(domain);
      CAPTURE(type);
      CHECK(under_filter(broker_profile(), [&] {
              const int fd = ::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
              return fd >= 0 || errno == EAFNOSUPPORT ? 0 : 1;
            }) == 0);
    }
  for (const int domain : {AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG}) {
    CAPTURE(domain);
    CHECK(under_filter(broker_profile(), [&] { return ::socket(domain, SOCK_DGRAM, 0) < 0 ? 1 : 0; }) ==
          -SIGSYS);
  }
  CHECK(under_filter(broker_profile(),
                     [] { return ::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0 ? 1 : 0; }) == -SIGSYS);
  CHECK(under_filter(broker_profile(), [] { return ::fork() < 0 ? 1 : 0; }) == -SIGSYS);
  // A heap it has, and may use.
  CHECK(under_filter(broker_profile(),
                     [] { return std::string(8U << 20U, 'x').size() == 8U << 20U ? 0 : 1; }) == 0);
}

}  // namespace cordon::sandbox
