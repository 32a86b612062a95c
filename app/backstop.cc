#include "app/backstop.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/fd.h"
#include "core/net/sockaddr.h"

namespace cordon::app {
namespace {

constexpr int kPatienceMs = 1;

Backstop try_itself(const net::IpAddress& loopback) {
  net::SockAddr own = net::to_sockaddr({loopback, net::Port{0}});
  const base::Fd fd{::socket(own.generic.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!fd || ::bind(fd.get(), &own.generic, own.length) != 0 ||
      ::getsockname(fd.get(), &own.generic, &own.length) != 0 ||
      ::connect(fd.get(), &own.generic, own.length) != 0)
    return Backstop::kUnknown;
  char byte = 0;
  if (::send(fd.get(), &byte, 1, MSG_NOSIGNAL) != 1)
    return errno == EPERM ? Backstop::kActive : Backstop::kUnknown;
  // Loopback delivers inside of send(), as a rule.
  pollfd entry{.fd = fd.get(), .events = POLLIN, .revents = 0};
  const bool arrived = ::poll(&entry, 1, kPatienceMs) == 1 && ::read(fd.get(), &byte, 1) == 1;
  return arrived ? Backstop::kNone : Backstop::kUnknown;
}

}  // namespace

std::string_view to_string(Backstop backstop) {
  switch (backstop) {
    case Backstop::kUnknown: break;
    case Backstop::kNone: return "none";
    case Backstop::kPartial: return "partial";
    case Backstop::kActive: return "active";
  }
  return "unknown";
}

Backstop combine(Backstop v4, Backstop v6) {
  if (v4 == Backstop::kUnknown) return v6;
  if (v6 == Backstop::kUnknown) return v4;
  return v4 == v6 ? v4 : Backstop::kPartial;
}

Backstop look_for_backstop() {
  return combine(try_itself(net::Ipv4Address{{127, 0, 0, 1}}),
                 try_itself(net::Ipv6Address{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}));
}

}  // namespace cordon::app
