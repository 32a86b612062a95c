#include "app/audit_open.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string_view>

namespace cordon::app {
namespace {

base::Result<base::Fd> open_file(const std::string& path, Links links) {
  const int flags = O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (links == Links::kRefuse ? O_NOFOLLOW : 0);
  struct stat info{};
  // For writing alone, opening a FIFO that nobody reads would fail.
  const bool fifo = ::stat(path.c_str(), &info) == 0 && S_ISFIFO(info.st_mode);
  base::Fd file{::open(path.c_str(), fifo ? O_RDWR | flags : O_WRONLY | O_CREAT | flags, 0600)};
  if (!file && errno == ELOOP && links == Links::kRefuse)
    return base::fail("--audit-log", path + ": has become a symbolic link, which is not followed");
  if (!file) return base::fail_errno("--audit-log", path);
  return file;
}

base::Result<base::Fd> open_daemon(const char* path, const char* option) {
  base::Fd socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return base::fail_errno(option, "socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string_view{path}.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(socket.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)),
                sizeof address) != 0)
    return base::fail_errno(option, path);
  return socket;
}

}  // namespace

base::Result<base::Fd> open_audit(const AuditChoice& choice, Links links) {
  switch (choice.target) {
    case AuditTarget::kNone: return base::Fd{};
    case AuditTarget::kStderr: {
      base::Fd copy{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)};
      if (!copy) return base::fail_errno("--audit-log stderr", "stderr is closed");
      return copy;
    }
    case AuditTarget::kFile: return open_file(choice.path, links);
    case AuditTarget::kJournald: return open_daemon(kJournalSocket, "--audit-log journald");
    case AuditTarget::kSyslog: return open_daemon(kSyslogSocket, "--audit-log syslog");
  }
  return base::Fd{};
}

Links links_later(const AuditChoice& choice) {
  struct stat info{};
  const bool link = choice.target == AuditTarget::kFile && ::lstat(choice.path.c_str(), &info) == 0 &&
                    S_ISLNK(info.st_mode);
  return link ? Links::kFollow : Links::kRefuse;
}

}  // namespace cordon::app
