#include "sandbox/filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "core/base/fd.h"

namespace cordon::sandbox {
namespace {

struct Release {
  void operator()(void* context) const { ::seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

scmp_arg_cmp masked(unsigned index, std::uint64_t mask, std::uint64_t value) {
  return {index, SCMP_CMP_MASKED_EQ, mask, value};
}

scmp_arg_cmp lower(const ArgumentTest& test, pid_t own_pid) {
  constexpr std::uint64_t kLow = 0xffffffffU;
  switch (test.op) {
    case ArgumentTest::Op::kEqual32: return masked(test.index, kLow, test.value);
    case ArgumentTest::Op::kOnlyBits32: return masked(test.index, kLow & ~std::uint64_t{test.value}, 0);
    case ArgumentTest::Op::kEqualBut32:
      return masked(test.index, kLow & ~std::uint64_t{test.ignored}, test.value);
    case ArgumentTest::Op::kNull: return {test.index, SCMP_CMP_EQ, 0, 0};
    case ArgumentTest::Op::kOwnPid: return masked(test.index, kLow, static_cast<std::uint32_t>(own_pid));
  }
  return {};
}

base::Result<void> add_row(scmp_filter_ctx context, const Row& row, pid_t own_pid) {
  std::array<scmp_arg_cmp, 3> arguments{};
  for (unsigned i = 0; i < row.test_count; ++i) arguments.at(i) = lower(row.tests.at(i), own_pid);
  const std::uint32_t action = row.verdict == Row::Verdict::kAllow
                                   ? SCMP_ACT_ALLOW
                                   : SCMP_ACT_ERRNO(static_cast<unsigned>(row.error) & 0xffffU);
  const int rc =
      ::seccomp_rule_add_exact_array(context, action, row.syscall, row.test_count, arguments.data());
  if (rc == 0 || rc == -EEXIST) return {};
  errno = -rc;
  return base::fail_errno("seccomp_rule_add", syscall_name(row.syscall) + ": " + std::string{row.why});
}

// libseccomp 2.5 exports to a descriptor only, with one write. A file of any kind would be cut short by a
// file size limit (ulimit -f) without an error.
base::Result<Bpf> export_program(scmp_filter_ctx context) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0)
    return base::fail_errno("socketpair", "seccomp filter");
  const base::Fd to{ends[0]};
  const base::Fd from{ends[1]};
  if (const int rc = ::seccomp_export_bpf(context, to.get()); rc != 0) {
    errno = -rc;
    return base::fail_errno("seccomp_export_bpf");
  }
  Bpf program(BPF_MAXINSNS);
  const ssize_t size = ::read(from.get(), program.data(), program.size() * sizeof(sock_filter));
  if (size <= 0) return base::fail_errno("read", "seccomp filter");
  program.resize(static_cast<std::size_t>(size) / sizeof(sock_filter));
  return program;
}

}  // namespace

std::string syscall_name(int number) {
  const std::unique_ptr<char, decltype(&std::free)> name{
      ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number), &std::free};
  return name ? std::string{name.get()} : "syscall " + std::to_string(number);
}

base::Result<Bpf> compile_filter(std::span<const Table> profile, pid_t own_pid, Unlisted unlisted) {
  const std::uint32_t otherwise =
      unlisted == Unlisted::kKills ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(ENOSYS);
  const Context context{::seccomp_init(otherwise)};
  if (!context) return base::fail("seccomp_init", "libseccomp refused");
  ::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  for (const auto& table : profile)
    for (const auto& row : table.rows) CORDON_TRY(add_row(context.get(), row, own_pid));
  return export_program(context.get());
}

base::Result<void> install_filter(const Bpf& program) {
  const sock_fprog filter{static_cast<unsigned short>(program.size()),
                          const_cast<sock_filter*>(program.data())};  // NOLINT: the kernel's type lacks const
#ifdef CORDON_SANITIZED
  constexpr unsigned kFlags = 0;  // the runtime's own threads need more than the process does
#else
  constexpr unsigned kFlags = SECCOMP_FILTER_FLAG_TSYNC;
#endif
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, &filter) != 0)
    return base::fail_errno("seccomp", "the kernel needs CONFIG_SECCOMP_FILTER");
  return {};
}

base::Result<void> install_thread_filter(const Bpf& program) {
#ifdef CORDON_SANITIZED
  return install_filter(program);
#else
  static_cast<void>(program);
  return {};
#endif
}

}  // namespace cordon::sandbox
