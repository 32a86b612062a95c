#include "sandbox/vm_port.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/control_listener.h"

namespace cordon::sandbox {
namespace {

std::string describe_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0)
    return "an unknown process";
  return "process " + std::to_string(peer.pid) + " of user " + std::to_string(peer.uid);
}

}  // namespace

base::Result<VmPort> VmPort::listen(std::string path, bool one_off) {
  const std::string name = path;
  auto file = CORDON_TRY(SocketFile::open("--socket", std::move(path)));
  if (!file)
    return base::fail("--socket", name + ": already in use; stop who listens there, or give another path");
  return VmPort{std::move(*file), one_off};
}

base::Result<VmPort> VmPort::adopt(int number) {
  const std::string name = std::to_string(number);
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(number, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
    return base::fail("--fd",
                      name + (errno == EBADF ? ": no such descriptor is open" : ": this is no socket"));
  sockaddr_storage peer{};
  size = sizeof peer;
  void* const view = &peer;
  if (type != SOCK_STREAM || ::getpeername(number, static_cast<sockaddr*>(view), &size) != 0)
    return base::fail("--fd", name + ": give a connected stream socket");
  base::Fd connection{::fcntl(number, F_DUPFD_CLOEXEC, 3)};
  if (!connection) return base::fail_errno("--fd", name);
  if (number > STDERR_FILENO) {
    ::close(number);
    return VmPort{std::move(connection)};
  }
  const base::Fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  if (!null || ::dup2(null.get(), number) < 0) return base::fail_errno("--fd", name);
  return VmPort{std::move(connection)};
}

int VmPort::poll_fd() const {
  const auto* const file = std::get_if<SocketFile>(&source_);
  return file != nullptr ? file->fd() : -1;
}

VmPort::Visit VmPort::accept() {
  Visit visit;
  if (auto* const connection = std::get_if<base::Fd>(&source_)) {
    visit.client = std::move(*connection);
    visit.who = "a descriptor of the caller";
    return visit;
  }
  base::Fd client{::accept4(poll_fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  visit.more = client || errno == ECONNABORTED || errno == EINTR;
  if (!client) return visit;
  visit.refused = objection_to_user(client.get());
  if (!visit.refused.empty()) return visit;
  visit.who = describe_peer(client.get());
  visit.client = std::move(client);
  return visit;
}

}  // namespace cordon::sandbox
