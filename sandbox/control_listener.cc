#include "sandbox/control_listener.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>

#include "sandbox/descriptors.h"

namespace cordon::sandbox {
namespace {

constexpr int kBacklog = 128;
constexpr int kMostStale = 256;

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

base::Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  static_assert(sizeof address.sun_path == kMostSocketName + 1);
  if (path.empty() || path.size() > kMostSocketName)
    return base::fail("control socket", path + ": a socket's name has at most " +
                                            std::to_string(kMostSocketName) +
                                            " bytes; give a shorter --control");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

enum class Found { kNothing, kLive, kStale, kOther };

int connect_to(int socket, const sockaddr_un& address) {
  const void* const view = &address;
  return ::connect(socket, static_cast<const sockaddr*>(view), sizeof address);
}

Found look_at(const sockaddr_un& address) {
  struct stat info{};
  if (::lstat(address.sun_path, &info) != 0) return errno == ENOENT ? Found::kNothing : Found::kOther;
  if (!S_ISSOCK(info.st_mode)) return Found::kOther;
  const base::Fd probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!probe) return Found::kOther;
  if (connect_to(probe.get(), address) == 0 || errno == EAGAIN) return Found::kLive;  // or its queue is full
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

base::Result<base::Fd> listen_at(const sockaddr_un& address, const std::string& path) {
  base::Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return base::fail_errno("socket", path);
  // The file gets the mode of the socket (unix_bind()), so it is never open to others.
  if (::fchmod(socket.get(), 0600) != 0) return base::fail_errno("fchmod", path);
  const void* const view = &address;
  if (::bind(socket.get(), static_cast<const sockaddr*>(view), sizeof address) != 0)
    return base::fail_errno("control socket", path);
  if (::listen(socket.get(), kBacklog) != 0) return base::fail_errno("listen", path);
  return socket;
}

}  // namespace

base::Result<void> make_socket_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return base::fail_errno("mkdir", path);
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return base::fail_errno("stat", path);
  if (!S_ISDIR(info.st_mode)) return base::fail("control socket", path + " is not a directory");
  if (info.st_uid != ::geteuid())
    return base::fail("control socket", path + " belongs to user " + std::to_string(info.st_uid));
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return base::fail("control socket", "others may write to " + path + "; run chmod 0700 on it");
  return {};
}

void remove_stale_sockets(const std::string& directory) {
  const DirectoryLock lock{directory};
  const std::unique_ptr<DIR, int (*)(DIR*)> entries{::opendir(directory.c_str()), &::closedir};
  if (!entries) return;
  for (int i = 0; i < kMostStale; ++i) {
    const dirent* const entry = ::readdir(entries.get());
    if (entry == nullptr) return;
    if (!std::string_view{entry->d_name}.ends_with(".sock")) continue;
    const auto address = address_of(directory + "/" + entry->d_name);
    if (address && look_at(*address) == Found::kStale) ::unlink(address->sun_path);
  }
}

base::Result<std::optional<ControlListener>> ControlListener::open(std::string path, Limits limits) {
  const sockaddr_un address = CORDON_TRY(address_of(path));
  const DirectoryLock lock{parent_of(path)};
  switch (look_at(address)) {
    case Found::kNothing: break;
    case Found::kLive: return std::nullopt;
    case Found::kStale: ::unlink(address.sun_path); break;
    case Found::kOther:
      return base::fail("control socket",
                        path + ": there is something else that is no socket, or out of reach");
  }
  base::Fd socket = CORDON_TRY(listen_at(address, path));
  ControlListener listener{std::move(path), std::move(socket), limits};
  struct stat info{};
  if (::lstat(listener.path_.c_str(), &info) == 0) {
    listener.device_ = info.st_dev;
    listener.inode_ = info.st_ino;
  }
  return std::optional<ControlListener>{std::move(listener)};
}

ControlListener::~ControlListener() {
  struct stat info{};
  if (socket_ && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_)
    ::unlink(path_.c_str());
}

ControlListener::Visit ControlListener::accept(base::Instant now) {
  if (held_) return admit(std::move(held_), now);
  base::Fd client{::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  if (!client) return {.client = {}, .more = errno == ECONNABORTED || errno == EINTR};
  if (const auto objection = objection_to_peer(client.get()); !objection.empty())
    return {.client = {}, .more = true, .refused = objection};
  return admit(std::move(client), now);
}

// After the check: whoever may not come in cannot use up what is for those who may.
ControlListener::Visit ControlListener::admit(base::Fd client, base::Instant now) {
  if (bucket_.take(now)) return {.client = std::move(client), .more = true};
  held_ = std::move(client);
  return {.client = {}, .too_many = true};
}

namespace {

std::string link_text(const std::string& path) {
  std::array<char, 64> text{};
  const ssize_t size = ::readlink(path.c_str(), text.data(), text.size());
  return size > 0 ? std::string{text.data(), static_cast<std::size_t>(size)} : std::string{};
}

// Of the process that connected, as the kernel remembers it: then its number cannot have become another's.
base::Fd peer_process(int socket, pid_t pid) {
  constexpr int kPeerPidfd = 77;  // SO_PEERPIDFD, Linux 6.5
  int fd = -1;
  socklen_t size = sizeof fd;
  if (::getsockopt(socket, SOL_SOCKET, kPeerPidfd, &fd, &size) == 0) return base::Fd{fd};
  // Older kernels: the best there is. A peer that ended before this line, and whose number another process
  // got since, is judged by that one.
  if (errno == ENOPROTOOPT) return base::Fd{open_pidfd(pid)};
  return {};
}

}  // namespace

namespace {

std::string_view objection_to_namespace(int socket, pid_t pid) {
  const base::Fd process = peer_process(socket, pid);
  if (!process) return "the peer is gone";
  const std::string theirs = link_text("/proc/" + std::to_string(pid) + "/ns/user");
  const std::string ours = link_text("/proc/self/ns/user");
  // The number is that process's while it lives, so what was read is of it.
  if (!is_alive(process.get())) return "the peer is gone";
  if (theirs.empty() || theirs != ours) return "inside of another user namespace";
  return {};
}

}  // namespace

std::string_view objection_to_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return "unknown peer";
  if (peer.uid != ::geteuid() && peer.uid != 0) return "another user";
  if (peer.pid <= 0) return "outside of our process namespace";
  // Root of our own user namespace, and we are somebody else: no namespace below ours has that user.
  if (peer.uid != ::geteuid()) return {};
  return objection_to_namespace(socket, peer.pid);
}

std::string_view objection_to_server(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return "unknown peer";
  // Root asks anybody's; no other user gets an answer from root's.
  if (peer.uid != ::geteuid() && ::geteuid() != 0) return "another user";
  if (peer.pid <= 0) return "outside of our process namespace";
  return objection_to_namespace(socket, peer.pid);
}

}  // namespace cordon::sandbox
