#include "sandbox/descriptors.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "sandbox/control.h"

namespace cordon::sandbox {

base::Result<void> ensure_standard_fds() {
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free number is `fd` itself.
    if (::open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
      return base::fail_errno("open", "/dev/null");
  }
  return {};
}

WorkerFds worker_fds(unsigned worker) {
  const int first = kFirstFreeFd + 3 * static_cast<int>(worker) - 2;
  if (worker == 0) return {control::kControlFd, control::kSecondFd, kFirstFreeFd};
  return {first, first + 1, first + 2};
}

unsigned count_workers() {
  unsigned workers = 1;
  while (workers < control::kMaxWorkers && is_packet_socket(worker_fds(workers).channel)) ++workers;
  return workers;
}

int count_listeners() {
  int count = 0;
  for (;; ++count) {
    int domain = 0;
    socklen_t size = sizeof domain;
    const bool socket = ::getsockopt(kFirstFreeFd + count, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0;
    if (!socket || (domain != AF_INET && domain != AF_INET6)) return count;
  }
}

base::Result<void> close_from(int first, Rest rest) {
  const unsigned flags = rest == Rest::kCloseOnExec ? CLOSE_RANGE_CLOEXEC : 0U;
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, flags) != 0)
    return base::fail_errno("close_range", "Linux 5.11 or newer is needed");
  return {};
}

void tell_isolation(const std::string& line) {
  const std::string text = line + "\n";
  static_cast<void>(!::write(STDOUT_FILENO, text.data(), text.size()));
}

void tell_ready() { static_cast<void>(!::write(STDOUT_FILENO, "1", 1)); }

bool is_interface_gone(int tap) {
  // A queue without its device is an error at once (tun_chr_poll()).
  pollfd queue{tap, 0, 0};
  return ::poll(&queue, 1, 0) == 1 && (queue.revents & POLLERR) != 0;
}

bool is_alive(int pidfd) {
  pollfd process{pidfd, POLLIN, 0};
  return ::poll(&process, 1, 0) == 0;
}

int open_pidfd(int pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

bool is_packet_socket(int fd) {
  int type = 0;
  socklen_t length = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET;
}

base::Result<unsigned> limit_fds(unsigned wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return base::fail_errno("getrlimit", "RLIMIT_NOFILE");
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, wanted);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return base::fail_errno("setrlimit", "RLIMIT_NOFILE");
  return static_cast<unsigned>(limit.rlim_cur);
}

}  // namespace cordon::sandbox
