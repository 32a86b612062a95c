// The whole of each profile as a reviewed list: a call that is allowed to somebody new, or with one more
// alternative, shows up here. And the calls that go by their arguments, over whole ranges of these.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "sandbox/filter.h"
#include "tests/sandbox/bpf.h"

namespace cordon::sandbox {
namespace {

using test::Call;
constexpr pid_t kPid = 4711;
constexpr int kNumbers = 512;

struct Filtered {
  long number;
  int rows;  // alternatives
};

#ifdef __x86_64__
constexpr long kTranslatorPlain[] = {SYS_clock_gettime, SYS_close,      SYS_epoll_ctl,  SYS_epoll_pwait,
                                     SYS_epoll_pwait2,  SYS_epoll_wait, SYS_exit_group, SYS_getpid,
                                     SYS_getrandom,     SYS_gettid,     SYS_read,       SYS_readv,
                                     SYS_recvfrom,      SYS_recvmmsg,   SYS_recvmsg,    SYS_rt_sigprocmask,
                                     SYS_rt_sigreturn,  SYS_shutdown,   SYS_write,      SYS_writev};
constexpr Filtered kTranslatorFiltered[] = {{SYS_fcntl, 1},   {SYS_getsockopt, 5}, {SYS_ioctl, 2},
                                            {SYS_madvise, 1}, {SYS_sendto, 1},     {SYS_setsockopt, 5},
                                            {SYS_tgkill, 1}};
constexpr long kMemoryPlain[] = {
    SYS_clock_gettime, SYS_close,    SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_epoll_wait,
    SYS_exit_group,    SYS_fstat,    SYS_getpid,    SYS_getrandom,   SYS_gettid,       SYS_munmap,
    SYS_read,          SYS_readv,    SYS_recvfrom,  SYS_recvmmsg,    SYS_recvmsg,      SYS_rt_sigprocmask,
    SYS_rt_sigreturn,  SYS_shutdown, SYS_write,     SYS_writev};
constexpr Filtered kMemoryFiltered[] = {{SYS_fcntl, 2},      {SYS_getsockopt, 5}, {SYS_ioctl, 2},
                                        {SYS_madvise, 2},    {SYS_mmap, 2},       {SYS_sendto, 1},
                                        {SYS_setsockopt, 5}, {SYS_tgkill, 1}};
constexpr long kBrokerPlain[] = {SYS_bind,
                                 SYS_brk,
                                 SYS_clock_gettime,
                                 SYS_close,
                                 SYS_connect,
                                 SYS_epoll_ctl,
                                 SYS_epoll_pwait,
                                 SYS_epoll_pwait2,
                                 SYS_epoll_wait,
                                 SYS_exit_group,
                                 SYS_futex,
                                 SYS_getpeername,
                                 SYS_getpid,
                                 SYS_getrandom,
                                 SYS_getsockname,
                                 SYS_getsockopt,
                                 SYS_gettid,
                                 SYS_madvise,
                                 SYS_mremap,
                                 SYS_munmap,
                                 SYS_poll,
                                 SYS_ppoll,
                                 SYS_pread64,
                                 SYS_read,
                                 SYS_recvmsg,
                                 SYS_restart_syscall,
                                 SYS_rt_sigprocmask,
                                 SYS_rt_sigreturn,
                                 SYS_sendmsg,
                                 SYS_shutdown,
                                 SYS_timerfd_settime,
                                 SYS_write,
                                 SYS_writev};
constexpr Filtered kBrokerFiltered[] = {{SYS_accept4, 1}, {SYS_fcntl, 4},  {SYS_ioctl, 2},
                                        {SYS_mmap, 1},    {SYS_sendto, 1}, {SYS_setsockopt, 40},
                                        {SYS_socket, 10}, {SYS_tgkill, 1}};
constexpr long kReaderPlain[] = {SYS_brk,    SYS_exit_group, SYS_futex,  SYS_getpid,
                                 SYS_gettid, SYS_mremap,     SYS_munmap, SYS_rt_sigprocmask};
constexpr Filtered kReaderFiltered[] = {
    {SYS_madvise, 1}, {SYS_mmap, 1}, {SYS_read, 1}, {SYS_tgkill, 1}, {SYS_write, 2}};
constexpr long kLauncherPlain[] = {SYS_accept4,
                                   SYS_access,
                                   SYS_arch_prctl,
                                   SYS_brk,
                                   SYS_capget,
                                   SYS_capset,
                                   SYS_chdir,
                                   SYS_clock_gettime,
                                   SYS_clock_nanosleep,
                                   SYS_clone,
                                   SYS_close,
                                   SYS_close_range,
                                   SYS_connect,
                                   SYS_dup,
                                   SYS_dup2,
                                   SYS_dup3,
                                   SYS_epoll_create1,
                                   SYS_epoll_ctl,
                                   SYS_epoll_pwait,
                                   SYS_epoll_pwait2,
                                   SYS_epoll_wait,
                                   SYS_eventfd2,
                                   SYS_exit,
                                   SYS_exit_group,
                                   SYS_faccessat,
                                   SYS_faccessat2,
                                   SYS_fchmod,
                                   SYS_fcntl,
                                   SYS_flock,
                                   SYS_fstat,
                                   SYS_ftruncate,
                                   SYS_futex,
                                   SYS_getcwd,
                                   SYS_getdents64,
                                   SYS_getegid,
                                   SYS_geteuid,
                                   SYS_getgid,
                                   SYS_getpid,
                                   SYS_getppid,
                                   SYS_getrandom,
                                   SYS_getrlimit,
                                   SYS_getsockname,
                                   SYS_getsockopt,
                                   SYS_gettid,
                                   SYS_gettimeofday,
                                   SYS_getuid,
                                   SYS_inotify_add_watch,
                                   SYS_inotify_init1,
                                   SYS_inotify_rm_watch,
                                   SYS_kill,
                                   SYS_landlock_create_ruleset,
                                   SYS_landlock_restrict_self,
                                   SYS_lseek,
                                   SYS_lstat,
                                   SYS_madvise,
                                   SYS_memfd_create,
                                   SYS_mmap,
                                   SYS_mprotect,
                                   SYS_mremap,
                                   SYS_munmap,
                                   SYS_newfstatat,
                                   SYS_open,
                                   SYS_openat,
                                   SYS_pidfd_open,
                                   SYS_pipe2,
                                   SYS_pivot_root,
                                   SYS_poll,
                                   SYS_ppoll,
                                   SYS_pread64,
                                   SYS_prlimit64,
                                   SYS_pwrite64,
                                   SYS_read,
                                   SYS_readlink,
                                   SYS_readlinkat,
                                   SYS_readv,
                                   SYS_recvfrom,
                                   SYS_recvmmsg,
                                   SYS_recvmsg,
                                   SYS_rename,
                                   SYS_renameat,
                                   SYS_renameat2,
                                   SYS_restart_syscall,
                                   SYS_rseq,
                                   SYS_rt_sigaction,
                                   SYS_rt_sigpending,
                                   SYS_rt_sigprocmask,
                                   SYS_rt_sigreturn,
                                   SYS_rt_sigtimedwait,
                                   SYS_sched_getaffinity,
                                   SYS_sched_yield,
                                   SYS_seccomp,
                                   SYS_sendmsg,
                                   SYS_set_robust_list,
                                   SYS_set_tid_address,
                                   SYS_setresgid,
                                   SYS_setresuid,
                                   SYS_setrlimit,
                                   SYS_setsid,
                                   SYS_shutdown,
                                   SYS_sigaltstack,
                                   SYS_signalfd4,
                                   SYS_stat,
                                   SYS_statx,
                                   SYS_sysinfo,
                                   SYS_tgkill,
                                   SYS_timerfd_create,
                                   SYS_timerfd_settime,
                                   SYS_umask,
                                   SYS_uname,
                                   SYS_unlink,
                                   SYS_unlinkat,
                                   SYS_wait4,
                                   SYS_waitid,
                                   SYS_write,
                                   SYS_writev};
constexpr Filtered kLauncherFiltered[] = {{SYS_execveat, 1},   {SYS_ioctl, 4},  {SYS_mount, 2},
                                          {SYS_prctl, 9},      {SYS_sendto, 1}, {SYS_setgroups, 1},
                                          {SYS_setsockopt, 7}, {SYS_socket, 1}, {SYS_socketpair, 1},
                                          {SYS_umount2, 1},    {SYS_unshare, 1}};

struct Profile {
  std::string_view name;
  std::span<const Table> (*tables)();
  std::span<const long> plain;
  std::span<const Filtered> filtered;
  Unlisted unlisted = Unlisted::kKills;
};
const Profile kProfiles[] = {
    {"translator", translator_profile, kTranslatorPlain, kTranslatorFiltered},
    {"translator with guest memory", memory_translator_profile, kMemoryPlain, kMemoryFiltered},
    {"broker", broker_profile, kBrokerPlain, kBrokerFiltered},
    {"policy reader", reader_profile, kReaderPlain, kReaderFiltered},
    {"launcher", launcher_profile, kLauncherPlain, kLauncherFiltered, Unlisted::kFails},
};

// Without what a sanitizer build adds, which is each list's last table.
std::span<const Table> bare(const Profile& profile) {
  return profile.tables().first(profile.tables().size() - 1);
}

Bpf compile(const Profile& profile) {
  auto program = compile_filter(bare(profile), kPid, profile.unlisted);
  REQUIRE(program.has_value());
  return std::move(*program);
}
bool allows(const Bpf& program, const Call& call) {
  const auto verdict = test::interpret(program, call);
  if (!verdict) FAIL("the program is broken");
  return *verdict == SECCOMP_RET_ALLOW;
}

std::vector<Call> odd_arguments(long number) {
  std::vector<Call> calls{{number, {}}, {number, {}}};
  calls[1].args.fill(~std::uint64_t{0});
  std::mt19937_64 random{static_cast<std::uint64_t>(number)};
  for (int i = 0; i < 50; ++i) {
    Call& call = calls.emplace_back(Call{number, {}});
    for (auto& argument : call.args) argument = i % 2 != 0 ? random() : random() % 128;
  }
  return calls;
}

// The verdict of one value of one argument, everything else 0.
std::set<std::uint64_t> allowed_values(const Bpf& program, Call call, std::size_t index, std::uint64_t end) {
  std::set<std::uint64_t> values;
  for (std::uint64_t value = 0; value < end; ++value) {
    call.args.at(index) = value;
    if (allows(program, call)) values.insert(value);
  }
  return values;
}

using Pairs = std::set<std::pair<int, int>>;
Pairs allowed_options(const Bpf& program, long number) {
  Pairs pairs;
  for (int level = 0; level < 300; ++level)
    for (int option = 0; option < 150; ++option)
      if (allows(program,
                 {number, {5, static_cast<std::uint64_t>(level), static_cast<std::uint64_t>(option)}}))
        pairs.emplace(level, option);
  return pairs;
}

}  // namespace

TEST_CASE("profile: each role's calls are the reviewed ones, of all numbers there are") {
  for (const Profile& profile : kProfiles) {
    CAPTURE(profile.name);
    std::map<long, int> rows;
    for (const Table& table : bare(profile))
      for (const Row& row : table.rows) ++rows[row.syscall];
    const Bpf program = compile(profile);
    for (long number = 0; number < kNumbers; ++number) {
      const std::string name = syscall_name(static_cast<int>(number));
      CAPTURE(name);
      const bool plain = std::ranges::find(profile.plain, number) != profile.plain.end();
      const auto filtered = std::ranges::find(profile.filtered, number, &Filtered::number);
      const bool listed = plain || filtered != profile.filtered.end();
      REQUIRE(rows.contains(number) == listed);
      if (filtered != profile.filtered.end()) REQUIRE(rows.at(number) == filtered->rows);
      for (const Call& call : odd_arguments(number)) {
        const bool allowed = allows(program, call);
        if (plain) REQUIRE(allowed);
        if (!listed) REQUIRE_FALSE(allowed);
      }
      // With every bit set no filtered call passes: none of them has a row that asks for nothing.
      if (filtered != profile.filtered.end()) REQUIRE_FALSE(allows(program, odd_arguments(number)[1]));
    }
  }
}

TEST_CASE("profile: the translator's heap cannot grow once it serves") {
  const Bpf stream = compile(kProfiles[0]);
  const Bpf memory = compile(kProfiles[1]);
  for (const long number :
       {SYS_brk, SYS_mremap, SYS_mprotect, SYS_memfd_create, SYS_shmat, SYS_remap_file_pages})
    for (const Call& call : odd_arguments(number)) {
      REQUIRE_FALSE(allows(stream, call));
      REQUIRE_FALSE(allows(memory, call));
    }
  // Of all protections and flags: guest memory, and zeros in its place.
  std::set<std::pair<std::uint64_t, std::uint64_t>> maps;
  for (std::uint64_t protection = 0; protection < 16; ++protection)
    for (std::uint64_t flags = 0; flags < 0x40000; ++flags) {
      const Call call{SYS_mmap, {0, 4096, protection, flags, 7, 0}};
      if (flags < 0x40 && allows(stream, call)) FAIL("mmap by a translator without guest memory");
      if (protection == 3 || flags % 0x1000 < 0x40)
        if (allows(memory, call)) maps.emplace(protection, flags);
    }
  CHECK(maps == decltype(maps){{3, 0x4001}, {3, 0x4032}});
}

TEST_CASE("profile: socket() over families, types and protocols") {
  const int protocols[] = {0, 1, 2, 6, 17, 58, 132, 136, 255, 262};
  std::set<std::tuple<int, int, int>> broker_may;
  std::set<std::pair<int, int>> launcher_may;
  const Bpf broker = compile(kProfiles[2]);
  const Bpf launcher = compile(kProfiles[4]);
  const Bpf translator = compile(kProfiles[0]);
  for (int family = 0; family < 64; ++family)
    for (int type = 0; type < 16; ++type)
      for (const int protocol : protocols) {
        const Call call{SYS_socket,
                        {static_cast<std::uint64_t>(family), static_cast<std::uint64_t>(type) | 02004000U,
                         static_cast<std::uint64_t>(protocol)}};
        if (allows(broker, call)) broker_may.emplace(family, type, protocol);
        if (allows(launcher, call)) launcher_may.emplace(family, 0);
        if (allows(translator, call)) FAIL("socket() by the translator");
      }
  CHECK(broker_may == decltype(broker_may){{2, 1, 0},
                                           {2, 1, 6},
                                           {10, 1, 0},
                                           {10, 1, 6},
                                           {2, 2, 0},
                                           {2, 2, 17},
                                           {10, 2, 0},
                                           {10, 2, 17},
                                           {2, 2, 1},
                                           {10, 2, 58}});
  CHECK(launcher_may == decltype(launcher_may){{1, 0}});
}

TEST_CASE("profile: socket options over levels and numbers") {
  const Pairs translator{{17, 103}, {0, 2}, {41, 16}, {0, 1}, {41, 67}};
  CHECK(allowed_options(compile(kProfiles[0]), SYS_setsockopt) == translator);
  CHECK(allowed_options(compile(kProfiles[1]), SYS_setsockopt) == translator);
  CHECK(allowed_options(compile(kProfiles[0]), SYS_getsockopt) ==
        Pairs{{1, 4}, {1, 55}, {6, 11}, {0, 14}, {41, 24}});
  Pairs launcher = translator;
  launcher.insert({{1, 7}, {1, 83}});
  CHECK(allowed_options(compile(kProfiles[4]), SYS_setsockopt) == launcher);
  // As many as there are rows, and none that changes whose packets they are.
  const Pairs broker = allowed_options(compile(kProfiles[2]), SYS_setsockopt);
  CHECK(broker.size() == 40);
  for (const auto& [level, option] :
       Pairs{{0, 4},   {0, 15},  {0, 19},  {0, 35},  {0, 39},  {1, 6},  {1, 36}, {1, 50},
             {1, 5},   {1, 33},  {1, 60},  {6, 19},  {6, 23},  {6, 30}, {6, 31}, {41, 20},
             {41, 50}, {41, 57}, {41, 54}, {41, 59}, {41, 75}, {255, 1}})
    CHECK_FALSE(broker.contains({level, option}));
}

TEST_CASE("profile: fcntl, ioctl, sendto and tgkill over their arguments") {
  const Bpf translator = compile(kProfiles[0]);
  const Bpf memory = compile(kProfiles[1]);
  using Values = std::set<std::uint64_t>;
  CHECK(allowed_values(translator, {SYS_fcntl, {}}, 1, 1100) == Values{3});
  CHECK(allowed_values(memory, {SYS_fcntl, {}}, 1, 1100) == Values{3, 1034});
  CHECK(allowed_values(translator, {SYS_ioctl, {}}, 1, 0x10000) == Values{0x5411, 0x541b});
  CHECK(allowed_values(compile(kProfiles[2]), {SYS_ioctl, {}}, 1, 0x10000) == Values{0x5411, 0x541b});
  for (const std::uint64_t tun : {0x400454caU, 0x400454cbU, 0x400454d9U, 0x400454d0U, 0x800454d2U})
    CHECK_FALSE(allows(translator, {SYS_ioctl, {4, tun}}));
  CHECK(allowed_values(translator, {SYS_sendto, {}}, 3, 0x10000) == Values{0, 0x40, 0x4000, 0x4040});
  for (unsigned bit = 0; bit < 64; ++bit)
    CHECK_FALSE(allows(translator, {SYS_sendto, {5, 1, 1, 0, std::uint64_t{1} << bit, 16}}));
  for (const Profile& profile : {kProfiles[0], kProfiles[1], kProfiles[2], kProfiles[3]}) {
    CAPTURE(profile.name);
    const Bpf program = compile(profile);
    CHECK(allowed_values(program, {SYS_tgkill, {kPid, kPid, 0}}, 2, 200) == Values{SIGABRT});
    CHECK(allowed_values(program, {SYS_tgkill, {0, kPid, SIGABRT}}, 0, 10'000) == Values{kPid});
  }
}

TEST_CASE("profile: what the launcher may prepare for others, and no more") {
  const Bpf launcher = compile(kProfiles[4]);
  using Values = std::set<std::uint64_t>;
  CHECK(allowed_values(launcher, {SYS_unshare, {}}, 0, 0x10000).empty());
  CHECK(allows(launcher, {SYS_unshare, {0x20000}}));
  CHECK_FALSE(allows(launcher, {SYS_unshare, {0x10000000}}));
  CHECK_FALSE(allows(launcher, {SYS_unshare, {0x40000000}}));
  CHECK(allowed_values(launcher, {SYS_umount2, {}}, 1, 256) == Values{2});
  CHECK(allowed_values(launcher, {SYS_setgroups, {}}, 0, 256) == Values{0});
  CHECK(allowed_values(launcher, {SYS_execveat, {}}, 4, 0x10000) == Values{0x1000});
  Values mounts;
  for (std::uint64_t flags = 0; flags < 0x100000; ++flags)
    if (allows(launcher, {SYS_mount, {1, 1, 1, flags, 1}})) mounts.insert(flags);
  CHECK(mounts == Values{0xf, 0x44000});
  CHECK(allowed_values(launcher, {SYS_ioctl, {}}, 1, 0x10000) == Values{0x5401, 0x5411, 0x541b});
  CHECK(allowed_values(launcher, {SYS_prctl, {}}, 0, 200) == Values{1, 3, 4, 15, 24, 28, 38, 47, 65});
  const auto verdict = test::interpret(launcher, {SYS_ptrace, {}});
  REQUIRE(verdict.has_value());
  CHECK(*verdict == (SECCOMP_RET_ERRNO | 38U));
  CHECK(*test::interpret(launcher, {SYS_read, {}, AUDIT_ARCH_I386}) == SECCOMP_RET_KILL_PROCESS);
}
#endif

}  // namespace cordon::sandbox
