#include "netlink/route_socket.h"

#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <cstdlib>

namespace cordon::netlink {
namespace {

constexpr std::size_t kBufferSize = 64 * 1024;  // the kernel's dump packets are at most 32 KiB
constexpr int kQueueBytes = 4 * 1024 * 1024;    // capped by rmem_max without privileges

// libnl's error numbers are coarser than errno, so its own words are the context.
std::unexpected<base::Error> failed(std::string_view op, int error) {
  return base::fail(op, std::string("netlink route: ") + ::nl_geterror(error));
}

}  // namespace

void Request::Free::operator()(nl_msg* message) const { ::nlmsg_free(message); }

Request::Request(std::uint16_t type, std::uint16_t flags) : message_(::nlmsg_alloc_simple(type, flags)) {
  complete_ = message_ != nullptr;
}

void Request::append(const void* fixed, std::size_t size) {
  // libnl copies from the data; its parameter merely lacks the const.
  complete_ = complete_ && ::nlmsg_append(message_.get(), const_cast<void*>(fixed), size, NLMSG_ALIGNTO) == 0;
}

Request& Request::attribute(int type, std::span<const std::uint8_t> value) {
  complete_ = complete_ && ::nla_put(message_.get(), type, static_cast<int>(value.size()), value.data()) == 0;
  return *this;
}

Request& Request::number(int type, std::uint32_t value) {
  complete_ = complete_ && ::nla_put_u32(message_.get(), type, value) == 0;
  return *this;
}

void RouteSocket::Free::operator()(nl_sock* socket) const { ::nl_socket_free(socket); }

base::Result<RouteSocket> RouteSocket::open(std::span<const int> groups) {
  Handle socket{::nl_socket_alloc()};
  if (!socket) return base::fail("socket", "netlink route: no memory");
  if (const int error = ::nl_connect(socket.get(), NETLINK_ROUTE); error < 0) return failed("socket", error);
  if (const int error = ::nl_socket_set_nonblocking(socket.get()); error < 0) return failed("fcntl", error);
  if (const int error = ::nl_socket_set_buffer_size(socket.get(), kQueueBytes, 0); error < 0)
    return failed("setsockopt", error);
  // With privileges (a test's namespace) beyond rmem_max; without them what stands above is what there is.
  static_cast<void>(::setsockopt(::nl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVBUFFORCE, &kQueueBytes,
                                 sizeof kQueueBytes));
  for (const int group : groups)
    if (const int error = ::nl_socket_add_membership(socket.get(), group); error < 0)
      return failed("setsockopt", error);
  // Peeking for the size first would double the system calls; a longer message is reported, not lost in
  // silence.
  ::nl_socket_disable_msg_peek(socket.get());
  if (const int error = ::nl_socket_set_msg_buf_size(socket.get(), kBufferSize); error < 0)
    return failed("socket", error);
  // Who wants an acknowledgement says so in the request's flags.
  ::nl_socket_disable_auto_ack(socket.get());
  return RouteSocket{std::move(socket)};
}

int RouteSocket::fd() const { return ::nl_socket_get_fd(socket_.get()); }

base::Result<std::uint32_t> RouteSocket::send(Request& request) {
  if (!request.complete_) return base::fail("netlink request", "too long");
  nlmsghdr* header = ::nlmsg_hdr(request.message_.get());
  header->nlmsg_seq = NL_AUTO_SEQ;
  header->nlmsg_pid = NL_AUTO_PORT;
  if (const int error = ::nl_send_auto(socket_.get(), request.message_.get()); error < 0)
    return failed("send", error);
  return header->nlmsg_seq;
}

ReceiveResult RouteSocket::receive(const std::function<void(const nlmsghdr&)>& visit) {
  sockaddr_nl sender{};
  unsigned char* bytes = nullptr;
  // The lowest layer that there is: nl_recvmsgs() would go on by itself until a dump is complete.
  int rest = ::nl_recv(socket_.get(), &sender, &bytes, nullptr);
  switch (rest) {
    case -NLE_AGAIN: return ReceiveResult::kEmpty;
    case -NLE_NOMEM:  // ENOBUFS
    case -NLE_MSG_TRUNC: return ReceiveResult::kOverrun;
    default: break;
  }
  if (rest < 0) return ReceiveResult::kFailed;
  struct Release {
    void operator()(unsigned char* p) const { std::free(p); }
  };
  const std::unique_ptr<unsigned char, Release> owner{bytes};
  if (sender.nl_pid != 0) return ReceiveResult::kMessages;  // not the kernel: ignored
  auto* message = static_cast<nlmsghdr*>(static_cast<void*>(bytes));
  for (; ::nlmsg_ok(message, rest) != 0; message = ::nlmsg_next(message, &rest)) visit(*message);
  return ReceiveResult::kMessages;
}

}  // namespace cordon::netlink
