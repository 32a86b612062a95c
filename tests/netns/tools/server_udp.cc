// Datagram service: echo from the very address that was asked, and bursts for the receive-rate benchmark.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <thread>

#include "tests/netns/tools/server.h"

namespace cordon::traffic {
namespace {

// A reply must leave from the address the question was sent to; the interface is the routing table's choice.
void forget_interface(msghdr& message) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) info.ipi6_ifindex = 0;
      std::memcpy(CMSG_DATA(header), &info, sizeof info);
    }
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      info.ipi_spec_dst = info.ipi_addr;
      info.ipi_ifindex = 0;
      std::memcpy(CMSG_DATA(header), &info, sizeof info);
    }
  }
}

void send_burst(int fd, const BurstRequest& request, Datagram to) {
  constexpr std::size_t kBatch = 32;
  std::vector<std::byte> payload(request.size);
  iovec part{.iov_base = payload.data(), .iov_len = payload.size()};
  std::array<mmsghdr, kBatch> batch{};
  for (mmsghdr& entry : batch) {
    entry.msg_hdr = {.msg_name = &to.peer,
                     .msg_namelen = to.peer_length,
                     .msg_iov = &part,
                     .msg_iovlen = 1,
                     .msg_control = to.control,
                     .msg_controllen = to.control_length,
                     .msg_flags = 0};
  }
  const auto until = Clock::now() + std::chrono::milliseconds(request.milliseconds);
  while (Clock::now() < until) {
    if (sendmmsg(fd, batch.data(), kBatch, 0) < 0 && errno != ENOBUFS && errno != EAGAIN) return;
  }
}

}  // namespace

void make_blocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK); }

Fd listen_tcp(const Target& local) {
  Fd fd(socket(local.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int one = 1;
  const int zero = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (local.family() == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  if (bind(fd.get(), local.get(), local.length) != 0) fail_errno("bind (tcp)");
  if (listen(fd.get(), 4096) != 0) fail_errno("listen");
  return fd;
}

Fd bind_udp(const Target& local) {
  Fd fd(socket(local.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  const int zero = 0;
  const int size = 4 << 20;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  if (local.family() == AF_INET6) {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVTCLASS, &one, sizeof one);
  } else {
    setsockopt(fd.get(), IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
  }
  // What comes with a datagram is given back with the answer: DSCP and ECN, too.
  setsockopt(fd.get(), IPPROTO_IP, IP_RECVTOS, &one, sizeof one);
  if (bind(fd.get(), local.get(), local.length) != 0) fail_errno("bind (udp)");
  return fd;
}

bool receive_datagram(int fd, std::span<std::byte> buffer, Datagram& datagram) {
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  msghdr message{.msg_name = &datagram.peer,
                 .msg_namelen = sizeof datagram.peer,
                 .msg_iov = &part,
                 .msg_iovlen = 1,
                 .msg_control = datagram.control,
                 .msg_controllen = sizeof datagram.control,
                 .msg_flags = 0};
  const ssize_t got = recvmsg(fd, &message, 0);
  if (got < 0) return false;
  forget_interface(message);
  datagram.peer_length = message.msg_namelen;
  datagram.control_length = message.msg_controllen;
  datagram.size = static_cast<std::size_t>(got);
  return true;
}

bool send_datagram(int fd, std::span<const std::byte> data, const Datagram& to) {
  Datagram copy = to;
  iovec part{.iov_base = const_cast<std::byte*>(data.data()), .iov_len = data.size()};
  const msghdr message{.msg_name = &copy.peer,
                       .msg_namelen = copy.peer_length,
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = copy.control,
                       .msg_controllen = copy.control_length,
                       .msg_flags = 0};
  return sendmsg(fd, &message, MSG_NOSIGNAL) >= 0;
}

void serve_udp(int fd) {
  std::vector<std::byte> buffer(65536);
  std::set<std::uint32_t> seen;
  while (true) {
    Datagram datagram;
    if (!receive_datagram(fd, buffer, datagram)) continue;
    const auto data = std::span<const std::byte>(buffer).first(datagram.size);
    BurstRequest burst;
    if (data.size() == sizeof burst) std::memcpy(&burst, data.data(), sizeof burst);
    if (data.size() == sizeof burst && burst.magic == BurstRequest::kMagic && burst.size <= 65507) {
      if (seen.insert(burst.nonce).second) std::thread(send_burst, fd, burst, datagram).detach();
      continue;
    }
    send_datagram(fd, data, datagram);
  }
}

}  // namespace cordon::traffic
