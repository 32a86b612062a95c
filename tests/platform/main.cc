// Enters a private user and network namespace, then runs the tests there; works as root and as an ordinary
// user.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

#include "tests/platform/support.h"

namespace {

int fault_fd = -1;

bool write_file(const char* path, const std::string& text) {
  const cordon::base::Fd fd(open(path, O_WRONLY | O_CLOEXEC));
  return write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool enter_namespaces() {
  const uid_t user = getuid();
  const gid_t group = getgid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  write_file("/proc/self/setgroups", "deny");
  return write_file("/proc/self/uid_map", "0 " + std::to_string(user) + " 1") &&
         write_file("/proc/self/gid_map", "0 " + std::to_string(group) + " 1") &&
         cordon::platform::link_up("lo") && write_file("/proc/sys/net/ipv4/ping_group_range", "0 0");
}

}  // namespace

namespace cordon::platform {
int privileged_userfaultfd() { return fault_fd; }
}  // namespace cordon::platform

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  fault_fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (!enter_namespaces()) {
    std::fprintf(stderr,
                 "platform_test: no private user and network namespace: %s; "
                 "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, "
                 "user.max_user_namespaces)\n",
                 std::strerror(errno));
    return 1;
  }
  if (!cordon::base::Fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC)).valid()) {
    std::fprintf(stderr, "platform_test: open /dev/net/tun: %s; run modprobe tun, chmod 666 /dev/net/tun\n",
                 std::strerror(errno));
    return 1;
  }
  doctest::Context context(argc, argv);
  const int status = context.run();
  std::printf("platform features missing on this kernel: %d\n", cordon::platform::skipped());
  return status;
}
