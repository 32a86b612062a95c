#include "netlink/socket.h"

#include <sys/socket.h>

#include <array>
#include <cstring>

namespace cordon::netlink {
namespace {

constexpr std::size_t kBufferSize = 64 * 1024;  // the kernel's dump packets are at most 32 KiB
constexpr int kQueueBytes = 4 * 1024 * 1024;    // capped by rmem_max without privileges
constexpr std::size_t kMaxRequest = 256;

constexpr std::size_t aligned(std::size_t length) { return (length + 3U) & ~std::size_t{3}; }

}  // namespace

base::Result<Socket> Socket::open(std::span<const unsigned> groups) {
  base::Fd fd{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)};
  if (!fd) return base::fail_errno("socket", "netlink route");
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kQueueBytes, sizeof kQueueBytes) != 0 &&
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kQueueBytes, sizeof kQueueBytes) != 0)
    return base::fail_errno("setsockopt", "netlink receive buffer");
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  sockaddr generic{};
  static_assert(sizeof self <= sizeof generic);
  std::memcpy(&generic, &self, sizeof self);
  if (::bind(fd.get(), &generic, sizeof self) != 0) return base::fail_errno("bind", "netlink route");
  for (const unsigned group : groups)
    if (::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
      return base::fail_errno("setsockopt", "netlink group " + std::to_string(group));
  return Socket{std::move(fd), kBufferSize};
}

base::Result<std::uint32_t> Socket::request(std::uint16_t type, std::uint16_t flags, base::Bytes payload) {
  std::array<std::byte, kMaxRequest> packet{};
  nlmsghdr header{};
  if (payload.size() > packet.size() - sizeof header) return base::fail("netlink request", "too long");
  header.nlmsg_len = static_cast<std::uint32_t>(sizeof header + payload.size());
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  header.nlmsg_seq = ++sequence_;
  std::memcpy(packet.data(), &header, sizeof header);
  std::memcpy(packet.data() + sizeof header, payload.data(), payload.size());
  if (::send(fd_.get(), packet.data(), header.nlmsg_len, MSG_NOSIGNAL) < 0)
    return base::fail_errno("send", "netlink request");
  return sequence_;
}

ReceiveResult Socket::receive(const std::function<void(const Message&)>& visit) {
  sockaddr_nl sender{};
  iovec part{buffer_.get(), size_};
  msghdr packet{};
  packet.msg_name = &sender;
  packet.msg_namelen = sizeof sender;
  packet.msg_iov = &part;
  packet.msg_iovlen = 1;
  const ssize_t received = ::recvmsg(fd_.get(), &packet, MSG_DONTWAIT);
  if (received < 0) {
    if (errno == EAGAIN || errno == EINTR) return ReceiveResult::kEmpty;
    return errno == ENOBUFS ? ReceiveResult::kOverrun : ReceiveResult::kFailed;
  }
  if ((packet.msg_flags & MSG_TRUNC) != 0) return ReceiveResult::kOverrun;
  if (sender.nl_pid != 0) return ReceiveResult::kMessages;  // not the kernel: ignored

  base::Bytes rest{buffer_.get(), static_cast<std::size_t>(received)};
  while (rest.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, rest.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) break;
    visit(Message{header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq,
                  rest.subspan(sizeof header, header.nlmsg_len - sizeof header)});
    rest = rest.subspan(std::min(aligned(header.nlmsg_len), rest.size()));
  }
  return ReceiveResult::kMessages;
}

}  // namespace cordon::netlink
