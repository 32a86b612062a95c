#include "sandbox/socket_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <memory>

namespace cordon::sandbox {
namespace {

constexpr int kBacklog = 128;
constexpr int kMostStale = 256;

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

base::Result<sockaddr_un> address_of(std::string_view what, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  static_assert(sizeof address.sun_path == kMostSocketName + 1);
  if (path.empty() || path.size() > kMostSocketName)
    return base::fail(what, path + ": a socket's name has at most " + std::to_string(kMostSocketName) +
                                " bytes; give a shorter one");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

enum class Found { kNothing, kLive, kStale, kOther, kOutOfReach };

Found look_at(const sockaddr_un& address) {
  struct stat info{};
  if (::lstat(address.sun_path, &info) != 0) return errno == ENOENT ? Found::kNothing : Found::kOutOfReach;
  if (!S_ISSOCK(info.st_mode)) return Found::kOther;
  const base::Fd probe{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!probe) return Found::kOutOfReach;
  const void* const view = &address;
  if (::connect(probe.get(), static_cast<const sockaddr*>(view), sizeof address) == 0) return Found::kLive;
  if (errno == EACCES) return Found::kOutOfReach;
  return errno == ECONNREFUSED ? Found::kStale : Found::kLive;
}

// Two starts at once must not take the same dead socket for theirs. Whoever can lock the directory for long
// can also write to it; so nobody waits for it for ever.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& path)
      : directory_(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    for (int i = 0; i < 100 && directory_ && ::flock(directory_.get(), LOCK_EX | LOCK_NB) != 0; ++i)
      ::poll(nullptr, 0, 10);
  }

 private:
  base::Fd directory_;
};

base::Result<base::Fd> listen_at(std::string_view what, const sockaddr_un& address, const std::string& path) {
  base::Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return base::fail_errno("socket", path);
  // The file gets the mode of the socket (unix_bind()), so it is never open to others.
  if (::fchmod(socket.get(), 0600) != 0) return base::fail_errno("fchmod", path);
  const void* const view = &address;
  if (::bind(socket.get(), static_cast<const sockaddr*>(view), sizeof address) != 0)
    return base::fail_errno(what, path);
  if (::listen(socket.get(), kBacklog) != 0) return base::fail_errno("listen", path);
  return socket;
}

}  // namespace

base::Result<std::optional<SocketFile>> SocketFile::open(std::string_view what, std::string path) {
  const sockaddr_un address = CORDON_TRY(address_of(what, path));
  const DirectoryLock lock{parent_of(path)};
  switch (look_at(address)) {
    case Found::kNothing: break;
    case Found::kLive: return std::nullopt;
    case Found::kStale: ::unlink(address.sun_path); break;
    case Found::kOther: return base::fail(what, path + ": there is something else that is no socket");
    case Found::kOutOfReach: return base::fail_errno(what, path);
  }
  base::Fd socket = CORDON_TRY(listen_at(what, address, path));
  SocketFile file{std::move(path), std::move(socket)};
  struct stat info{};
  if (::lstat(file.path_.c_str(), &info) == 0) {
    file.device_ = info.st_dev;
    file.inode_ = info.st_ino;
  }
  return std::optional<SocketFile>{std::move(file)};
}

SocketFile::~SocketFile() {
  struct stat info{};
  if (socket_ && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_)
    ::unlink(path_.c_str());
}

void remove_stale_sockets(const std::string& directory) {
  const DirectoryLock lock{directory};
  const std::unique_ptr<DIR, int (*)(DIR*)> entries{::opendir(directory.c_str()), &::closedir};
  if (!entries) return;
  for (int i = 0; i < kMostStale; ++i) {
    const dirent* const entry = ::readdir(entries.get());
    if (entry == nullptr) return;
    if (!std::string_view{entry->d_name}.ends_with(".sock")) continue;
    const auto address = address_of("control socket", directory + "/" + entry->d_name);
    if (address && look_at(*address) == Found::kStale) ::unlink(address->sun_path);
  }
}

}  // namespace cordon::sandbox
