#include "sandbox/packet_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace cordon::sandbox {
namespace {

SendStatus status_of_errno() {
  switch (errno) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
    case ETOOMANYREFS:  // descriptors in flight: bounded by RLIMIT_NOFILE, drains as the other end reads
    case EINTR: return SendStatus::kFull;
    default: return SendStatus::kClosed;
  }
}

// Room for three descriptors though at most one is legal, so that surprises are seen and closed. The kernel
// counts whole ints in msg_controllen, hence CMSG_LEN.
constexpr std::size_t kFdRoom = 3;
union ControlBuffer {
  std::array<char, CMSG_SPACE(kFdRoom * sizeof(int))> bytes;
  cmsghdr align;
};

}  // namespace

base::Result<PacketPair> make_packet_pair() {
  std::array<int, 2> fds{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) != 0)
    return base::fail_errno("socketpair");
  PacketPair pair{base::Fd{fds[0]}, base::Fd{fds[1]}};
  // Best effort: the host's wmem_max may cap it, and a smaller channel only means earlier back-pressure.
  const int wanted = 1 << 20;
  for (const int fd : fds) ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
  return pair;
}

SendStatus send_packet(int socket, base::Bytes bytes, Wait wait) {
  for (;;) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return SendStatus::kSent;  // SEQPACKET sends all or nothing
    const SendStatus status = status_of_errno();
    if (status != SendStatus::kFull || wait == Wait::kNever) return status;
    pollfd room{socket, POLLOUT, 0};
    if (::poll(&room, 1, -1) < 0 && errno != EINTR) return SendStatus::kClosed;
  }
}

SendStatus send_packet_with_fd(int socket, base::Bytes bytes, int passed, base::Bytes tail) {
  union {
    std::array<char, CMSG_SPACE(sizeof(int))> room;
    cmsghdr align;
  } control{};
  std::array<iovec, 2> parts{iovec{const_cast<std::byte*>(bytes.data()), bytes.size()},
                             iovec{const_cast<std::byte*>(tail.data()), tail.size()}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = tail.empty() ? 1 : 2;
  if (passed >= 0) {
    message.msg_control = control.room.data();
    message.msg_controllen = control.room.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ? SendStatus::kSent
                                                                       : status_of_errno();
}

Packet receive_packet(int socket, base::MutableBytes buffer, AcceptFd accept) {
  ControlBuffer control{};
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  // Without a control buffer the kernel drops what was passed and says MSG_CTRUNC: nothing is ever installed.
  if (accept == AcceptFd::kAtMostOne) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_LEN(kFdRoom * sizeof(int));
  }
  // MSG_TRUNC makes the result the true size of an oversized message.
  const ssize_t size = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
  Packet packet;
  if (size < 0) {
    // What passes: the socket stays readable, and is read again.
    const bool passes = errno == EAGAIN || errno == EINTR || errno == ENOMEM || errno == ENOBUFS;
    packet.status = passes ? PacketStatus::kEmpty : PacketStatus::kClosed;
    return packet;
  }
  std::size_t received = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i, ++received) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      base::Fd owned{fd};
      if (received == 0) packet.fd = std::move(owned);
    }
  }
  // End of file is a zero-size read; no message of ours is empty, and an empty one is as wrong as none.
  packet.size = static_cast<std::size_t>(size);
  packet.status = size == 0 ? PacketStatus::kClosed : PacketStatus::kReceived;
  if (received > 1 || (message.msg_flags & MSG_CTRUNC) != 0) {
    packet.fd.reset();
    packet.status = PacketStatus::kBadFds;
  }
  return packet;
}

}  // namespace cordon::sandbox
