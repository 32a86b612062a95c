#include "sandbox/control_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "sandbox/descriptors.h"

namespace cordon::sandbox {

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

base::Result<std::optional<ControlListener>> ControlListener::open(std::string path, Limits limits) {
  auto file = CORDON_TRY(SocketFile::open("control socket", std::move(path)));
  if (!file) return std::nullopt;
  return std::optional<ControlListener>{ControlListener{std::move(*file), limits}};
}

ControlListener::Visit ControlListener::accept(base::Instant now) {
  if (held_) return admit(std::move(held_), now);
  base::Fd client{::accept4(file_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
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

std::string_view objection_to_user(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return "unknown peer";
  return peer.uid != ::geteuid() && peer.uid != 0 ? "another user" : std::string_view{};
}

std::string_view objection_to_peer(int socket) {
  if (const auto objection = objection_to_user(socket); !objection.empty()) return objection;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return "unknown peer";
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
