// UDP client commands about the IP header: DSCP and ECN, path MTU.
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tests/netns/tools/traffic.h"

namespace cordon::traffic {
namespace {

using Arguments = std::span<const std::string>;

bool set(const Fd& fd, int family, int v4_option, int v6_option, int value) {
  const bool v6 = family == AF_INET6;
  return setsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? v6_option : v4_option, &value,
                    sizeof value) == 0;
}

// The traffic class of the next datagram; -1: none came.
int receive_class(const Fd& fd) {
  std::array<std::byte, 2048> data;
  alignas(cmsghdr) std::array<std::byte, 256> control;
  iovec part{data.data(), data.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (recvmsg(fd.get(), &message, 0) < 0) return -1;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    int value = 0;
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) return *CMSG_DATA(c);
    if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_TCLASS) continue;
    std::memcpy(&value, CMSG_DATA(c), sizeof value);
    return value;
  }
  return -2;
}

// The server answers with the marks it saw: each must come back, so it went both ways.
int marks_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const Fd fd = connect_udp(target, options);
  set_timeout(fd.get(), 1000);
  if (!set(fd, target.family(), IP_RECVTOS, IPV6_RECVTCLASS, 1)) fail_errno("ask for the traffic class");
  for (const int mark : {0x00, 0xb8, 0x01, 0x02, 0x03, 0xbb, 0x00}) {
    if (!set(fd, target.family(), IP_TOS, IPV6_TCLASS, mark)) fail_errno("set the traffic class");
    int got = -1;
    for (int attempt = 0; attempt < 5 && got == -1; ++attempt) {
      if (send(fd.get(), "marks", 5, 0) < 0) fail_errno("send");
      got = receive_class(fd);
    }
    if (got != mark)
      fail("traffic class 0x%02x came back as 0x%02x", static_cast<unsigned>(mark),
           static_cast<unsigned>(got));
  }
  std::puts("{\"command\": \"udp-marks\"}");
  return 0;
}

// A datagram of one byte more than the path takes, not to be fragmented: the guest's kernel must learn the
// MTU, and what fits must come back.
int path_mtu_command(const Options& options, Arguments arguments) {
  const Target target = parse_target(arguments[0], arguments[1]);
  const int want = static_cast<int>(parse_number(arguments[2]));
  const Fd fd = connect_udp(target, options);
  set_timeout(fd.get(), 300);
  if (!set(fd, target.family(), IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO))
    fail_errno("IP_MTU_DISCOVER");
  const std::size_t headers = target.family() == AF_INET6 ? 48 : 28;
  std::vector<std::byte> data(static_cast<std::size_t>(want) + 1 - headers);
  bool refused = false;
  for (int attempt = 0; attempt < 10 && !refused; ++attempt) {
    refused = send(fd.get(), data.data(), data.size(), 0) < 0 && errno == EMSGSIZE;
    if (refused) break;
    if (recv(fd.get(), data.data(), data.size(), 0) >= 0) fail("an answer to what must not pass");
    refused = errno == EMSGSIZE;
  }
  int mtu = 0;
  socklen_t size = sizeof mtu;
  const bool v6 = target.family() == AF_INET6;
  getsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size);
  if (!refused || mtu != want) fail("path MTU %d, not %d", mtu, want);
  data.resize(data.size() - 1);
  for (int attempt = 0; attempt < 5; ++attempt) {
    if (send(fd.get(), data.data(), data.size(), 0) < 0) continue;
    if (recv(fd.get(), data.data(), data.size(), 0) != static_cast<ssize_t>(data.size())) continue;
    std::printf("{\"command\": \"udp-path-mtu\", \"mtu\": %d}\n", mtu);
    return 0;
  }
  fail("no echo of a datagram that fits");
}

constexpr std::array kCommands{
    CommandEntry{"udp-marks", "ADDRESS PORT", marks_command, 2},
    CommandEntry{"udp-path-mtu", "ADDRESS PORT MTU", path_mtu_command, 3},
};

}  // namespace

std::span<const CommandEntry> path_commands() { return kCommands; }

}  // namespace cordon::traffic
