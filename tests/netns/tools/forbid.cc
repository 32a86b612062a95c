// Runs a command under a filter such as a container has: calls that make namespaces, or mounts, fail.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

#include "tests/netns/tools/traffic.h"

namespace cordon::traffic {
namespace {

class Filter {
 public:
  Filter() { load(offsetof(seccomp_data, nr)); }
  void fail(long number, unsigned error) {
    program_.push_back(jump(static_cast<unsigned>(number), 0, 1));
    program_.push_back(give(SECCOMP_RET_ERRNO | error));
  }
  // When the first argument has any of `bits`.
  void fail_with(long number, unsigned bits, unsigned error) {
    program_.push_back(jump(static_cast<unsigned>(number), 0, 4));
    load(offsetof(seccomp_data, args));
    program_.push_back(sock_filter{BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits});
    program_.push_back(give(SECCOMP_RET_ERRNO | error));
    load(offsetof(seccomp_data, nr));
  }
  void install() {
    program_.push_back(give(SECCOMP_RET_ALLOW));
    const sock_fprog filter{static_cast<unsigned short>(program_.size()), program_.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail_errno("no_new_privs");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) fail_errno("seccomp");
  }

 private:
  static sock_filter jump(unsigned value, unsigned char yes, unsigned char no) {
    return {BPF_JMP | BPF_JEQ | BPF_K, yes, no, value};
  }
  static sock_filter give(unsigned value) { return {BPF_RET | BPF_K, 0, 0, value}; }
  void load(std::size_t offset) {
    program_.push_back(sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<unsigned>(offset)});
  }
  std::vector<sock_filter> program_;
};

constexpr unsigned kNamespaces =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

// "namespaces": as Docker's default profile; "users", "network": of them that one alone; "mounts".
int forbid_command(const Options&, std::span<const std::string> arguments) {
  Filter filter;
  const std::string& what = arguments[0];
  if (what == "namespaces") {
    filter.fail(SYS_clone3, ENOSYS);
    filter.fail_with(SYS_clone, kNamespaces, EPERM);
    filter.fail_with(SYS_unshare, kNamespaces, EPERM);
    filter.fail(SYS_setns, EPERM);
  } else if (what == "network" || what == "users") {
    const unsigned kind = what == "users" ? CLONE_NEWUSER : CLONE_NEWNET;
    filter.fail(SYS_clone3, ENOSYS);
    filter.fail_with(SYS_clone, kind, ENOSPC);
    filter.fail_with(SYS_unshare, kind, ENOSPC);
  } else if (what != "mounts") {
    fail("namespaces, users, network or mounts");
  }
  if (what == "namespaces" || what == "mounts")
    for (const long number : {SYS_mount, SYS_umount2, SYS_pivot_root}) filter.fail(number, EPERM);
  filter.install();
  std::vector<char*> words;
  for (const auto& word : arguments.subspan(1)) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execvp(words.front(), words.data());
  fail_errno(words.front());
}

constexpr std::array kCommands{
    CommandEntry{"forbid", "namespaces|users|network|mounts COMMAND...", forbid_command, 2}};

}  // namespace

std::span<const CommandEntry> forbid_commands() { return kCommands; }

}  // namespace cordon::traffic
