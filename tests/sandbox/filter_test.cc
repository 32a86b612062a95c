#include "sandbox/filter.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <set>
#include <string_view>

#include "tests/sandbox/bpf.h"

namespace cordon::sandbox {
namespace {

using test::Call;
constexpr std::uint32_t kKill = SECCOMP_RET_KILL_PROCESS;
constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr pid_t kPid = 4711;
constexpr std::uint64_t kHighGarbage = 0xdeadbeef00000000U;

Bpf compile(std::span<const Table> profile) {
  auto program = compile_filter(profile, kPid);
  REQUIRE(program.has_value());
  return std::move(*program);
}

// The profile without what a sanitizer build adds, so that the tables below mean the same in every build.
std::span<const Table> bare(std::span<const Table> profile) { return profile.first(profile.size() - 1); }

struct Case {
  std::string_view name;
  Call call;
  std::uint32_t verdict;
};

constexpr Case kReaderCases[] = {
    {"the file", {SYS_read, {0, 1, 100}}, kAllow},
    {"the answer", {SYS_write, {1, 1, 100}}, kAllow},
    {"diagnostics", {SYS_write, {2, 1, 100}}, kAllow},
    {"another descriptor", {SYS_read, {1, 1, 100}}, kKill},
    {"writing to the file", {SYS_write, {0, 1, 100}}, kKill},
    {"a descriptor it has not", {SYS_write, {3, 1, 100}}, kKill},
    {"heap", {SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS}}, kAllow},
    {"executable memory", {SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS}}, kKill},
    {"mprotect", {SYS_mprotect, {0, 4096, PROT_READ | PROT_EXEC}}, kKill},
    {"the end", {SYS_exit_group, {0}}, kAllow},
    {"openat", {SYS_openat, {0}}, kKill},
    {"open", {SYS_open, {0}}, kKill},
    {"socket", {SYS_socket, {AF_INET, SOCK_STREAM, 0}}, kKill},
    {"sendto", {SYS_sendto, {1}}, kKill},
    {"recvmsg", {SYS_recvmsg, {0}}, kKill},
    {"clone3", {SYS_clone3, {0}}, kKill},
    {"fork", {SYS_fork, {}}, kKill},
    {"execve", {SYS_execve, {0}}, kKill},
    {"kill", {SYS_kill, {kPid, SIGKILL}}, kKill},
    {"its own abort()", {SYS_tgkill, {kPid, kPid, SIGABRT}}, kAllow},
    {"a signal to another", {SYS_tgkill, {1, 1, SIGABRT}}, kKill},
    {"prctl", {SYS_prctl, {0}}, kKill},
    {"ioctl", {SYS_ioctl, {0}}, kKill},
    {"ftruncate", {SYS_ftruncate, {1, 0}}, kKill},
    {"fcntl", {SYS_fcntl, {1, F_ADD_SEALS}}, kKill},
};

constexpr Case kTranslatorCases[] = {
    {"read", {SYS_read, {4, 1, 100}}, kAllow},
    {"writev", {SYS_writev, {4}}, kAllow},
    {"recvmsg", {SYS_recvmsg, {3}}, kAllow},
    {"recvmmsg", {SYS_recvmmsg, {5}}, kAllow},
    {"shutdown", {SYS_shutdown, {5, SHUT_WR}}, kAllow},
    {"epoll_pwait2", {SYS_epoll_pwait2, {6}}, kAllow},
    {"exit_group", {SYS_exit_group, {0}}, kAllow},
    // sendto: no address, only two flags
    {"send without flags", {SYS_sendto, {5, 1, 10, 0, 0, 0}}, kAllow},
    {"send DONTWAIT|NOSIGNAL", {SYS_sendto, {5, 1, 10, 0x4040, 0, 0}}, kAllow},
    {"sendto with an address", {SYS_sendto, {5, 1, 10, 0x4040, 0x7fff0000, 16}}, kKill},
    {"sendto with an address above 4 GiB only", {SYS_sendto, {5, 1, 10, 0, 0x100000000, 16}}, kKill},
    {"send MSG_FASTOPEN", {SYS_sendto, {5, 1, 10, 0x20000000, 0, 0}}, kKill},
    {"send MSG_OOB", {SYS_sendto, {5, 1, 10, 0x1, 0, 0}}, kKill},
    {"send MSG_DONTROUTE", {SYS_sendto, {5, 1, 10, 0x4, 0, 0}}, kKill},
    {"send MSG_ZEROCOPY", {SYS_sendto, {5, 1, 10, 0x4000000, 0, 0}}, kKill},
    // setsockopt: five pairs, as 32 bits
    {"UDP_SEGMENT", {SYS_setsockopt, {5, 17, 103}}, kAllow},
    {"IP_TTL", {SYS_setsockopt, {5, 0, 2}}, kAllow},
    {"IPV6_UNICAST_HOPS", {SYS_setsockopt, {5, 41, 16}}, kAllow},
    {"IP_TOS", {SYS_setsockopt, {5, 0, 1}}, kAllow},
    {"IPV6_TCLASS", {SYS_setsockopt, {5, 41, 67}}, kAllow},
    {"IPV6_PKTINFO", {SYS_setsockopt, {5, 41, 50}}, kKill},
    {"IP_PKTINFO", {SYS_setsockopt, {5, 0, 8}}, kKill},
    {"SO_PRIORITY", {SYS_setsockopt, {5, 1, 12}}, kKill},
    {"SO_MARK", {SYS_setsockopt, {5, 1, 36}}, kKill},
    {"UDP_SEGMENT with garbage above bit 31", {SYS_setsockopt, {5, kHighGarbage | 17, 103}}, kAllow},
    {"a pair mixed from two rows", {SYS_setsockopt, {5, 17, 2}}, kKill},
    {"IPV6_RTHDR", {SYS_setsockopt, {5, 41, 57}}, kKill},
    {"IP_OPTIONS", {SYS_setsockopt, {5, 0, 4}}, kKill},
    {"IP_ADD_MEMBERSHIP", {SYS_setsockopt, {5, 0, 35}}, kKill},
    {"SO_BINDTOIFINDEX", {SYS_setsockopt, {5, 1, 62}}, kKill},
    {"SO_BROADCAST", {SYS_setsockopt, {5, 1, 6}}, kKill},
    {"SO_LINGER", {SYS_setsockopt, {5, 1, 13}}, kKill},
    {"SO_PEEK_OFF", {SYS_setsockopt, {5, 1, 42}}, kKill},
    {"SO_DETACH_FILTER", {SYS_setsockopt, {5, 1, 27}}, kKill},
    {"SO_RCVBUF", {SYS_setsockopt, {5, 1, 8}}, kKill},
    {"TCP_CONGESTION", {SYS_setsockopt, {5, 6, 13}}, kKill},
    {"TCP_REPAIR", {SYS_setsockopt, {5, 6, 19}}, kKill},
    {"TCP_ULP", {SYS_setsockopt, {5, 6, 31}}, kKill},
    // getsockopt
    {"SO_ERROR", {SYS_getsockopt, {5, 1, 4}}, kAllow},
    {"TCP_INFO", {SYS_getsockopt, {5, 6, 11}}, kAllow},
    {"SO_PEERCRED", {SYS_getsockopt, {3, 1, 17}}, kKill},
    {"IPT_SO_GET_ENTRIES", {SYS_getsockopt, {5, 0, 65}}, kKill},
    // ioctl, fcntl, madvise
    {"SIOCINQ", {SYS_ioctl, {5, 0x541b}}, kAllow},
    {"SIOCOUTQ", {SYS_ioctl, {5, 0x5411}}, kAllow},
    {"SIOCGIFCONF", {SYS_ioctl, {5, 0x8912}}, kKill},
    {"SIOCSIFHWADDR", {SYS_ioctl, {4, 0x8924}}, kKill},
    {"TUNSETPERSIST", {SYS_ioctl, {4, 0x400454cb}}, kKill},
    {"TUNSETIFF", {SYS_ioctl, {4, 0x400454ca}}, kKill},
    {"FIONBIO", {SYS_ioctl, {5, 0x5421}}, kKill},
    {"F_GETFL", {SYS_fcntl, {5, F_GETFL}}, kAllow},
    {"F_SETFL", {SYS_fcntl, {5, F_SETFL, 0}}, kKill},
    {"F_DUPFD", {SYS_fcntl, {5, F_DUPFD, 0}}, kKill},
    {"F_SETOWN", {SYS_fcntl, {5, F_SETOWN, 1}}, kKill},
    {"MADV_DONTNEED", {SYS_madvise, {4096, 4096, 4}}, kAllow},
    {"MADV_HUGEPAGE", {SYS_madvise, {4096, 4096, 14}}, kKill},
    // abort() only to itself
    {"abort", {SYS_tgkill, {4711, 4711, SIGABRT}}, kAllow},
    {"SIGABRT to another process", {SYS_tgkill, {4712, 4712, SIGABRT}}, kKill},
    {"SIGKILL to itself", {SYS_tgkill, {4711, 4711, SIGKILL}}, kKill},
    // never
    {"socket", {SYS_socket, {2, 1, 0}}, kKill},
    {"socketpair", {SYS_socketpair, {1, 1, 0}}, kKill},
    {"connect", {SYS_connect, {5}}, kKill},
    {"bind", {SYS_bind, {5}}, kKill},
    {"listen", {SYS_listen, {5}}, kKill},
    {"accept4", {SYS_accept4, {5}}, kKill},
    {"sendmsg", {SYS_sendmsg, {5}}, kKill},
    {"sendmmsg", {SYS_sendmmsg, {5}}, kKill},
    {"open", {SYS_open}, kKill},
    {"openat", {SYS_openat}, kKill},
    {"openat2", {SYS_openat2}, kKill},
    {"open_by_handle_at", {SYS_open_by_handle_at}, kKill},
    {"execve", {SYS_execve}, kKill},
    {"execveat", {SYS_execveat}, kKill},
    {"clone", {SYS_clone}, kKill},
    {"clone3", {SYS_clone3}, kKill},
    {"fork", {SYS_fork}, kKill},
    {"vfork", {SYS_vfork}, kKill},
    {"ptrace", {SYS_ptrace}, kKill},
    {"process_vm_writev", {SYS_process_vm_writev}, kKill},
    {"io_uring_setup", {SYS_io_uring_setup}, kKill},
    {"io_uring_enter", {SYS_io_uring_enter}, kKill},
    {"io_submit", {SYS_io_submit}, kKill},
    {"userfaultfd", {SYS_userfaultfd}, kKill},
    {"pidfd_getfd", {SYS_pidfd_getfd}, kKill},
    {"mmap", {SYS_mmap}, kKill},
    {"mprotect", {SYS_mprotect}, kKill},
    {"splice", {SYS_splice}, kKill},
    {"bpf", {SYS_bpf}, kKill},
    {"seccomp", {SYS_seccomp}, kKill},
    {"prctl", {SYS_prctl}, kKill},
    {"setns", {SYS_setns}, kKill},
    {"unshare", {SYS_unshare}, kKill},
    {"kill", {SYS_kill}, kKill},
    // other system call tables
    {"x32 read", {0x40000000 + SYS_read}, kKill},
    {"x32 of an unknown number", {0x40000000 + 4095}, kKill},
    {"a negative number", {-1}, kKill},
    {"i386: 3 is read there, close here", {3, {}, AUDIT_ARCH_I386}, kKill},
    {"aarch64", {SYS_read, {}, AUDIT_ARCH_AARCH64}, kKill},
};

constexpr Case kBrokerCases[] = {
    {"TCP", {SYS_socket, {2, 1, 0}}, kAllow},
    {"TCP, non-blocking and close-on-exec", {SYS_socket, {2, 1 | 02000000 | 04000, 6}}, kAllow},
    {"UDP over IPv6", {SYS_socket, {10, 2 | 04000, 17}}, kAllow},
    {"ping", {SYS_socket, {2, 2, 1}}, kAllow},
    {"ping over IPv6", {SYS_socket, {10, 2, 58}}, kAllow},
    {"ICMP over IPv6", {SYS_socket, {10, 2, 1}}, kKill},
    {"raw", {SYS_socket, {2, 3, 1}}, kKill},
    {"packet", {SYS_socket, {17, 3, 0x300}}, kKill},
    {"unix", {SYS_socket, {1, 5, 0}}, kKill},
    {"netlink", {SYS_socket, {16, 3, 0}}, kKill},
    {"vsock", {SYS_socket, {40, 1, 0}}, kKill},
    {"alg", {SYS_socket, {38, 5, 0}}, kKill},
    {"MPTCP", {SYS_socket, {2, 1, 262}}, kKill},
    {"SCTP", {SYS_socket, {2, 1, 132}}, kKill},
    {"UDP-Lite", {SYS_socket, {2, 2, 136}}, kKill},
    {"an unknown type flag", {SYS_socket, {2, 1 | 0x100, 0}}, kKill},
    {"connect", {SYS_connect, {5}}, kAllow},
    {"bind", {SYS_bind, {5}}, kAllow},
    {"listen", {SYS_listen, {5, 1}}, kKill},
    {"accept4", {SYS_accept4, {5}}, kKill},
    {"sendmsg", {SYS_sendmsg, {3}}, kAllow},
    {"sendto with an address", {SYS_sendto, {5, 1, 1, 0, 1, 16}}, kKill},
    {"SO_LINGER", {SYS_setsockopt, {5, 1, 13}}, kAllow},
    {"SO_BINDTOIFINDEX", {SYS_setsockopt, {5, 1, 62}}, kAllow},
    {"SO_ATTACH_FILTER", {SYS_setsockopt, {5, 1, 26}}, kAllow},
    {"SO_ATTACH_BPF", {SYS_setsockopt, {5, 1, 50}}, kKill},
    {"SO_BROADCAST", {SYS_setsockopt, {5, 1, 6}}, kKill},
    {"SO_MARK", {SYS_setsockopt, {5, 1, 36}}, kKill},
    {"SO_RCVBUFFORCE", {SYS_setsockopt, {5, 1, 33}}, kKill},
    {"IP_TRANSPARENT", {SYS_setsockopt, {5, 0, 19}}, kKill},
    {"IP_OPTIONS", {SYS_setsockopt, {5, 0, 4}}, kKill},
    {"IPV6_RTHDR", {SYS_setsockopt, {5, 41, 57}}, kKill},
    {"TCP_FASTOPEN_CONNECT", {SYS_setsockopt, {5, 6, 30}}, kKill},
    {"TCP_REPAIR", {SYS_setsockopt, {5, 6, 19}}, kKill},
    {"O_NONBLOCK", {SYS_fcntl, {5, F_SETFL, O_RDWR | O_NONBLOCK}}, kAllow},
    {"O_ASYNC", {SYS_fcntl, {5, F_SETFL, O_ASYNC}}, kKill},
    {"heap", {SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE}}, kAllow},
    {"executable memory", {SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC}}, kKill},
    {"openat", {SYS_openat}, kKill},
    {"execve", {SYS_execve}, kKill},
    {"clone", {SYS_clone}, kKill},
    {"ptrace", {SYS_ptrace}, kKill},
    {"SIOCGIFCONF", {SYS_ioctl, {5, 0x8912}}, kKill},
    {"x32 read", {0x40000000 + SYS_read}, kKill},
    {"i386", {3, {}, AUDIT_ARCH_I386}, kKill},
};

// What a translator may do on top when it maps a virtual machine's memory.
constexpr Case kMemoryCases[] = {
    {"F_GET_SEALS", {SYS_fcntl, {7, F_GET_SEALS}}, kAllow},
    {"fstat", {SYS_fstat, {7}}, kAllow},
    {"shared memory",
     {SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, 7, 0}},
     kAllow},
    {"zeros in its place",
     {SYS_mmap,
      {4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE}},
     kAllow},
    {"MADV_DONTDUMP", {SYS_madvise, {4096, 4096, MADV_DONTDUMP}}, kAllow},
    {"munmap", {SYS_munmap, {4096, 4096}}, kAllow},
};
constexpr Case kNeverMemory[] = {
    {"executable shared memory",
     {SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, 7, 0}},
     kKill},
    {"a file at a chosen place",
     {SYS_mmap, {4096, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, 7, 0}},
     kKill},
    {"a private file",
     {SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, 7, 0}},
     kKill},
    {"F_ADD_SEALS", {SYS_fcntl, {7, F_ADD_SEALS, 1}}, kKill},
    {"newfstatat", {SYS_newfstatat, {7, 1, 1, AT_EMPTY_PATH}}, kKill},
    {"mprotect", {SYS_mprotect, {4096, 4096, PROT_READ | PROT_EXEC}}, kKill},
    {"mremap", {SYS_mremap, {4096, 4096, 8192, MREMAP_MAYMOVE}}, kKill},
    {"ftruncate", {SYS_ftruncate, {7, 0}}, kKill},
    {"sendmsg", {SYS_sendmsg, {4}}, kKill},
    {"memfd_create", {SYS_memfd_create, {0}}, kKill},
    {"futex", {SYS_futex, {0}}, kKill},
    {"userfaultfd", {SYS_userfaultfd, {0}}, kKill},
    {"rt_sigaction", {SYS_rt_sigaction, {SIGBUS}}, kKill},
};

void check(std::span<const Table> profile, std::span<const Case> cases) {
  const Bpf program = compile(bare(profile));
  for (const Case& row : cases) {
    CAPTURE(row.name);
    const auto verdict = test::interpret(program, row.call);
    REQUIRE(verdict.has_value());
    CHECK(*verdict == row.verdict);
  }
}

}  // namespace

TEST_CASE("filter: what the translator's program says to each call") {
  check(translator_profile(), kTranslatorCases);
}
TEST_CASE("filter: only a translator that maps a guest's memory may map, and no more than that") {
  check(memory_translator_profile(), kTranslatorCases);
  check(memory_translator_profile(), kMemoryCases);
  check(memory_translator_profile(), kNeverMemory);
  check(translator_profile(), kNeverMemory);
  const Bpf without = compile(bare(translator_profile()));
  for (const Case& row : kMemoryCases) {
    CAPTURE(row.name);
    CHECK(test::interpret(without, row.call) == kKill);
  }
}
TEST_CASE("filter: what the policy reader's program says to each call") {
  check(reader_profile(), kReaderCases);
}
TEST_CASE("filter: what the broker's program says to each call") { check(broker_profile(), kBrokerCases); }

TEST_CASE("filter: a call without a row is killed whatever its number") {
  for (const auto profile :
       {translator_profile(), memory_translator_profile(), broker_profile(), reader_profile()}) {
    const Bpf program = compile(bare(profile));
    std::set<long> rows;
    for (const auto& table : bare(profile))
      for (const auto& row : table.rows) rows.insert(row.syscall);
    for (long number = 0; number < 600; ++number) {
      if (rows.contains(number)) continue;
      CAPTURE(number);
      CHECK(test::interpret(program, {number}) == kKill);
    }
  }
}

TEST_CASE("filter: every row of a profile can be reached") {
  for (const auto profile :
       {translator_profile(), memory_translator_profile(), broker_profile(), reader_profile()}) {
    const Bpf program = compile(bare(profile));
    for (const auto& table : bare(profile))
      for (const auto& row : table.rows) {
        Call call{row.syscall};
        for (unsigned i = 0; i < row.test_count; ++i) {
          const auto& test = row.tests.at(i);
          const bool pid = test.op == ArgumentTest::Op::kOwnPid;
          call.args.at(test.index) = pid ? std::uint64_t{kPid} : test.value;
        }
        CAPTURE(row.why);
        CAPTURE(syscall_name(row.syscall));
        CHECK(test::interpret(program, call) == kAllow);
        CHECK_FALSE(row.why.empty());
      }
  }
}

TEST_CASE("filter: a failing row gives its errno") {
  const Row rows[] = {Row::failing(SYS_openat, EACCES, "probe")};
  const Table tables[] = {{"probe", rows}};
  const Bpf program = compile(tables);
  CHECK(test::interpret(program, {SYS_openat}) == (SECCOMP_RET_ERRNO | EACCES));
  CHECK(test::interpret(program, {SYS_open}) == kKill);
}

TEST_CASE("filter: the programs stay far below the kernel's 4,096 instructions") {
  CHECK(compile(translator_profile()).size() < 1024);
  CHECK(compile(memory_translator_profile()).size() < 1024);
  CHECK(compile(broker_profile()).size() < 1024);
  CHECK(compile(reader_profile()).size() < 256);
}

}  // namespace cordon::sandbox
