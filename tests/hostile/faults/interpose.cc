#include "tests/hostile/faults/interpose.h"

#include <sys/syscall.h>

#include <cerrno>
#include <cstdarg>

// None of the headers that declare these: glibc's attributes would have to be repeated.
extern "C" {
long syscall(long number, ...) noexcept;
int socket(int, int, int);
int connect(int, const void*, unsigned);
int bind(int, const void*, unsigned);
int setsockopt(int, int, int, const void*, unsigned);
int getsockopt(int, int, int, void*, unsigned*);
int getsockname(int, void*, unsigned*);
int getpeername(int, void*, unsigned*);
int epoll_ctl(int, int, int, void*);
int epoll_wait(int, void*, int, int);
long send(int, const void*, unsigned long, int);
long sendto(int, const void*, unsigned long, int, const void*, unsigned);
long sendmsg(int, const void*, int);
long recv(int, void*, unsigned long, int);
long recvfrom(int, void*, unsigned long, int, void*, unsigned*);
long recvmsg(int, void*, int);
int accept4(int, void*, unsigned*, int);
int fcntl(int, int, ...);
int fcntl64(int, int, ...);
int ioctl(int, unsigned long, ...);
int timerfd_settime(int, int, const void*, void*);
long write(int, const void*, unsigned long);
long writev(int, const void*, int);
long read(int, void*, unsigned long);
long pread(int, void*, unsigned long, long);
long pread64(int, void*, unsigned long, long);
int shutdown(int, int);
int close(int);
int poll(void*, unsigned long, int);
}

namespace cordon::faults {
namespace {

constexpr int kUnspec = 0;
constexpr int kUnix = 1;
constexpr int kNetlink = 16;

int domain_of(int fd) {
  int domain = -1;
  unsigned size = sizeof domain;
  constexpr int kSolSocket = 1;
  constexpr int kSoDomain = 39;
  const int before = errno;
  ::syscall(SYS_getsockopt, fd, kSolSocket, kSoDomain, &domain, &size);
  errno = before;
  return domain;
}

bool fails(Kind kind) {
  Injection& in = injection();
  if (!in.armed) return false;
  const int number = in.seen[static_cast<std::size_t>(kind)]++;
  if (kind != in.kind || number != in.nth) return false;
  in.hit = true;
  errno = in.error;
  return true;
}

bool send_fails(int fd) { return fails(domain_of(fd) == kNetlink ? Kind::kSendNetlink : Kind::kSendUnix); }
bool receive_fails(int fd) {
  switch (domain_of(fd)) {
    case kNetlink: return fails(Kind::kReceiveNetlink);
    case kUnix: return fails(Kind::kReceiveUnix);
    default: return fails(Kind::kReceiveInet);
  }
}

constexpr int kSocketErrors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EPERM, EAFNOSUPPORT};
constexpr int kConnectErrors[] = {EPERM,    EACCES,       EADDRNOTAVAIL, ENETUNREACH, EHOSTUNREACH,
                                  ENETDOWN, ECONNREFUSED, ECONNRESET,    ETIMEDOUT,   EAGAIN,
                                  ENOBUFS,  ENOMEM,       EINTR,         EINVAL,      EADDRINUSE};
constexpr int kDisconnectErrors[] = {EBUSY, EPERM, EACCES, ENOMEM, EINTR};
constexpr int kBindErrors[] = {EADDRINUSE, EADDRNOTAVAIL, EACCES, EPERM, ENOMEM, EINVAL};
constexpr int kSetsockoptErrors[] = {ENOMEM, ENOBUFS, ENOPROTOOPT, EPERM, EINVAL, ENODEV};
constexpr int kGetsockoptErrors[] = {ENOBUFS, ENOMEM, ENOPROTOOPT, EPERM};
constexpr int kNameErrors[] = {ENOBUFS, ENOTCONN, ENOMEM, EPERM};
constexpr int kEpollErrors[] = {ENOMEM, ENOSPC};
constexpr int kInterrupted[] = {EINTR};
constexpr int kSendErrors[] = {EAGAIN, EINTR, ENOBUFS, ENOMEM, EPIPE, ECONNRESET, ETOOMANYREFS, EPERM};
constexpr int kSendNetlinkErrors[] = {EAGAIN, EINTR, ENOBUFS, ENOMEM, EPERM};
constexpr int kReceiveErrors[] = {EAGAIN, EINTR, ENOBUFS, ENOMEM};
constexpr int kReceiveInetErrors[] = {EAGAIN, EINTR, ENOBUFS, ENOMEM, ECONNREFUSED, EHOSTUNREACH, EPERM};
constexpr int kAcceptErrors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED,
                                 EINTR,  EPERM,  EPROTO,  EAGAIN, ENETDOWN};
constexpr int kDescriptorErrors[] = {EMFILE, ENOMEM, EPERM};
constexpr int kIoctlErrors[] = {ENOMEM, EPERM, ENOTTY};
constexpr int kTimerErrors[] = {ECANCELED, ENOMEM};
constexpr int kWriteErrors[] = {EAGAIN, EINTR, ENOSPC, EIO, EPIPE, EFBIG, EDQUOT, EROFS};
constexpr int kReadErrors[] = {EAGAIN, EINTR, EIO};
constexpr int kShutdownErrors[] = {ENOTCONN, ENOBUFS, EPERM};
constexpr int kCloseErrors[] = {EIO, EINTR, ENOSPC, EDQUOT};
constexpr int kPollErrors[] = {EINTR, ENOMEM};

}  // namespace

Injection& injection() {
  static Injection one;
  return one;
}

std::string_view to_string(Kind kind) {
  constexpr std::array<std::string_view, kKinds> kNames{"socket",       "connect",      "connect(AF_UNSPEC)",
                                                        "bind",         "setsockopt",   "getsockopt",
                                                        "getsockname",  "getpeername",  "epoll add",
                                                        "epoll change", "epoll delete", "epoll_wait",
                                                        "send unix",    "send netlink", "recv unix",
                                                        "recv netlink", "recv inet",    "accept4",
                                                        "fcntl",        "ioctl",        "timerfd_settime",
                                                        "write",        "read",         "pread",
                                                        "shutdown",     "close",        "poll"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::span<const int> plausible_errors(Kind kind) {
  switch (kind) {
    case Kind::kSocket: return kSocketErrors;
    case Kind::kConnect: return kConnectErrors;
    case Kind::kDisconnect: return kDisconnectErrors;
    case Kind::kBind: return kBindErrors;
    case Kind::kSetsockopt: return kSetsockoptErrors;
    case Kind::kGetsockopt: return kGetsockoptErrors;
    case Kind::kGetsockname:
    case Kind::kGetpeername: return kNameErrors;
    case Kind::kEpollAdd: return kEpollErrors;
    case Kind::kEpollChange:
    case Kind::kEpollDelete: return std::span{kEpollErrors}.first(1);
    case Kind::kEpollWait: return kInterrupted;
    case Kind::kSendUnix: return kSendErrors;
    case Kind::kSendNetlink: return kSendNetlinkErrors;
    case Kind::kReceiveUnix:
    case Kind::kReceiveNetlink: return kReceiveErrors;
    case Kind::kReceiveInet: return kReceiveInetErrors;
    case Kind::kAccept: return kAcceptErrors;
    case Kind::kFcntl: return kDescriptorErrors;
    case Kind::kIoctl: return kIoctlErrors;
    case Kind::kTimer: return kTimerErrors;
    case Kind::kWrite: return kWriteErrors;
    case Kind::kRead:
    case Kind::kPread: return kReadErrors;
    case Kind::kShutdown: return kShutdownErrors;
    case Kind::kClose: return kCloseErrors;
    case Kind::kPoll: return kPollErrors;
    case Kind::kCount: break;
  }
  return {};
}

}  // namespace cordon::faults

using cordon::faults::fails;
using cordon::faults::Kind;
using cordon::faults::receive_fails;
using cordon::faults::send_fails;

extern "C" {

int socket(int domain, int type, int protocol) {
  if (fails(Kind::kSocket)) return -1;
  return static_cast<int>(::syscall(SYS_socket, domain, type, protocol));
}
int connect(int fd, const void* address, unsigned size) {
  const bool unspec = size >= 2 && *static_cast<const unsigned short*>(address) == cordon::faults::kUnspec;
  if (fails(unspec ? Kind::kDisconnect : Kind::kConnect)) return -1;
  return static_cast<int>(::syscall(SYS_connect, fd, address, size));
}
int bind(int fd, const void* address, unsigned size) {
  if (fails(Kind::kBind)) return -1;
  return static_cast<int>(::syscall(SYS_bind, fd, address, size));
}
int setsockopt(int fd, int level, int option, const void* value, unsigned size) {
  if (fails(Kind::kSetsockopt)) return -1;
  return static_cast<int>(::syscall(SYS_setsockopt, fd, level, option, value, size));
}
int getsockopt(int fd, int level, int option, void* value, unsigned* size) {
  if (fails(Kind::kGetsockopt)) return -1;
  return static_cast<int>(::syscall(SYS_getsockopt, fd, level, option, value, size));
}
int getsockname(int fd, void* address, unsigned* size) {
  if (fails(Kind::kGetsockname)) return -1;
  return static_cast<int>(::syscall(SYS_getsockname, fd, address, size));
}
int getpeername(int fd, void* address, unsigned* size) {
  if (fails(Kind::kGetpeername)) return -1;
  return static_cast<int>(::syscall(SYS_getpeername, fd, address, size));
}
int epoll_ctl(int set, int operation, int fd, void* event) {
  constexpr int kAdd = 1;
  constexpr int kDelete = 2;
  if (fails(operation == kAdd      ? Kind::kEpollAdd
            : operation == kDelete ? Kind::kEpollDelete
                                   : Kind::kEpollChange))
    return -1;
  return static_cast<int>(::syscall(SYS_epoll_ctl, set, operation, fd, event));
}
int epoll_wait(int set, void* events, int most, int wait) {
  if (fails(Kind::kEpollWait)) return -1;
  return static_cast<int>(::syscall(SYS_epoll_wait, set, events, most, wait));
}
long send(int fd, const void* bytes, unsigned long size, int flags) {
  return sendto(fd, bytes, size, flags, nullptr, 0);
}
long sendto(int fd, const void* bytes, unsigned long size, int flags, const void* to, unsigned length) {
  if (send_fails(fd)) return -1;
  return ::syscall(SYS_sendto, fd, bytes, size, flags, to, length);
}
long sendmsg(int fd, const void* message, int flags) {
  if (send_fails(fd)) return -1;
  return ::syscall(SYS_sendmsg, fd, message, flags);
}
long recv(int fd, void* bytes, unsigned long size, int flags) {
  return recvfrom(fd, bytes, size, flags, nullptr, nullptr);
}
long recvfrom(int fd, void* bytes, unsigned long size, int flags, void* from, unsigned* length) {
  if (receive_fails(fd)) return -1;
  return ::syscall(SYS_recvfrom, fd, bytes, size, flags, from, length);
}
long recvmsg(int fd, void* message, int flags) {
  if (receive_fails(fd)) return -1;
  return ::syscall(SYS_recvmsg, fd, message, flags);
}
int accept4(int fd, void* address, unsigned* size, int flags) {
  if (fails(Kind::kAccept)) return -1;
  return static_cast<int>(::syscall(SYS_accept4, fd, address, size, flags));
}
int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* const argument = va_arg(list, void*);
  va_end(list);
  if (fails(Kind::kFcntl)) return -1;
  return static_cast<int>(::syscall(SYS_fcntl, fd, command, argument));
}
int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* const argument = va_arg(list, void*);
  va_end(list);
  if (fails(Kind::kFcntl)) return -1;
  return static_cast<int>(::syscall(SYS_fcntl, fd, command, argument));
}
int ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void* const argument = va_arg(list, void*);
  va_end(list);
  if (fails(Kind::kIoctl)) return -1;
  return static_cast<int>(::syscall(SYS_ioctl, fd, request, argument));
}
int timerfd_settime(int fd, int flags, const void* fresh, void* old) {
  if (fails(Kind::kTimer)) return -1;
  return static_cast<int>(::syscall(SYS_timerfd_settime, fd, flags, fresh, old));
}
long write(int fd, const void* bytes, unsigned long size) {
  if (fails(Kind::kWrite)) return -1;
  return ::syscall(SYS_write, fd, bytes, size);
}
long writev(int fd, const void* parts, int count) {
  if (fails(Kind::kWrite)) return -1;
  return ::syscall(SYS_writev, fd, parts, count);
}
long read(int fd, void* bytes, unsigned long size) {
  if (fails(Kind::kRead)) return -1;
  return ::syscall(SYS_read, fd, bytes, size);
}
long pread(int fd, void* bytes, unsigned long size, long at) { return pread64(fd, bytes, size, at); }
long pread64(int fd, void* bytes, unsigned long size, long at) {
  if (fails(Kind::kPread)) return -1;
  return ::syscall(SYS_pread64, fd, bytes, size, at);
}
int shutdown(int fd, int how) {
  if (fails(Kind::kShutdown)) return -1;
  return static_cast<int>(::syscall(SYS_shutdown, fd, how));
}
int close(int fd) {
  const long result = ::syscall(SYS_close, fd);
  if (fails(Kind::kClose)) return -1;
  return static_cast<int>(result);
}
int poll(void* entries, unsigned long count, int wait) {
  if (fails(Kind::kPoll)) return -1;
  return static_cast<int>(::syscall(SYS_poll, entries, count, wait));
}

}  // extern "C"
