#include "app/control_connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "sandbox/control_listener.h"

namespace cordon::app {
namespace {

constexpr std::string_view kNotForYou =
    "closed the connection without an answer: only the user who started it, or root, may ask, and never the "
    "guest";

// False: the time is up.
bool wait_for(int fd, short events, base::Instant deadline) {
  while (true) {
    const auto left = deadline - base::monotonic_now();
    if (left.count() <= 0) return false;
    pollfd waiting{.fd = fd, .events = events, .revents = 0};
    const auto rounded = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    const int ready = ::poll(&waiting, 1, static_cast<int>(rounded));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

std::string why_not(const std::string& path, int error) {
  switch (error) {
    case ENOENT: return "no control socket at " + path + ": does it run?";
    case ECONNREFUSED: return path + ": nobody listens there; the cordon that did has ended";
    case EACCES: return path + ": not permitted: only the user who started it, or root, may connect";
    default: return path + ": " + std::strerror(error);
  }
}

// A listener's queue may be full for a moment.
int connect_by(int fd, const sockaddr_un& address, base::Instant deadline) {
  constexpr int kAgainMs = 10;
  while (true) {
    const auto* const plain = static_cast<const void*>(&address);
    if (::connect(fd, static_cast<const sockaddr*>(plain), sizeof address) == 0) return 0;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return errno;
    if (base::monotonic_now() >= deadline) return ETIMEDOUT;
    ::poll(nullptr, 0, kAgainMs);
  }
}

}  // namespace

std::expected<ControlConnection, std::string> ControlConnection::open(const std::string& path,
                                                                      base::Duration patience) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return std::unexpected(path + ": a socket's path has at most " +
                           std::to_string(sizeof address.sun_path - 1) + " bytes");
  std::ranges::copy(path, static_cast<char*>(address.sun_path));
  base::Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!socket) return std::unexpected(std::string{"socket: "} + std::strerror(errno));
  if (const int error = connect_by(socket.get(), address, base::monotonic_now() + patience); error != 0)
    return std::unexpected(why_not(path, error));

  // The guest may be able to put a socket of its own there. For the one who connects, the peer is whoever
  // called listen(): the launcher.
  if (const auto objection = sandbox::objection_to_server(socket.get()); !objection.empty())
    return std::unexpected(
        path + ": not asked, for who listens there is not a cordon of ours: " + std::string{objection});

  ControlConnection connection{std::move(socket), path};
  const auto version = connection.call("version", {}, patience);
  if (!version) return std::unexpected(version.error());
  if (!*version) return connection.fail(version->error().message);
  const std::uint64_t protocol = (*version)->natural_at("protocol");
  if (protocol != kControlProtocol)
    return connection.fail("speaks version " + std::to_string(protocol) +
                           " of the control protocol, and this program " + std::to_string(kControlProtocol) +
                           "; use the cordon that it was started with");
  return connection;
}

std::expected<RpcReply, std::string> ControlConnection::call(std::string_view method, const Json& params,
                                                             base::Duration patience) {
  const base::Instant deadline = base::monotonic_now() + patience;
  const std::uint64_t id = ++serial_;
  if (auto sent = send(write_request(id, method, params) + '\n', deadline); !sent)
    return std::unexpected(std::move(sent.error()));
  auto line = receive(deadline);
  if (!line) return std::unexpected(std::move(line.error()));
  auto reply = read_response(*line, id);
  if (!reply) return fail(reply.error());
  return std::move(*reply);
}

std::expected<void, std::string> ControlConnection::send(std::string_view text, base::Instant deadline) {
  while (!text.empty()) {
    const ssize_t put = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (put >= 0) {
      text.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {};  // it may have said why before it left
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail(std::strerror(errno));
    } else if (!wait_for(socket_.get(), POLLOUT, deadline)) {
      return fail("does not take the question in time");
    }
  }
  return {};
}

std::expected<std::string, std::string> ControlConnection::receive(base::Instant deadline) {
  std::array<char, 64UL * 1024> bytes;
  while (true) {
    if (auto line = input_.next()) return std::move(*line);
    if (input_.overlong()) return fail("the answer is too long");
    const ssize_t got = ::recv(socket_.get(), bytes.data(), std::min(bytes.size(), input_.room()), 0);
    if (got > 0) {
      input_.push({bytes.data(), static_cast<std::size_t>(got)});
    } else if (got == 0 || errno == ECONNRESET) {
      return serial_ == 1 && input_.empty() ? fail(kNotForYou) : fail("ended before it had answered");
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail(std::strerror(errno));
    } else if (!wait_for(socket_.get(), POLLIN, deadline)) {
      return fail("does not answer");
    }
  }
}

}  // namespace cordon::app
