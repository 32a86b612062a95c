#include "sandbox/broker_socket.h"

#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/base/bytes.h"
#include "core/net/sockaddr.h"

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

namespace cordon::sandbox {
namespace {

// Unsent bytes the kernel takes per TCP socket before it stops us: deep enough for 64 KiB segments at full
// speed, shallow enough that a slow path does not queue seconds of data.
constexpr int kNotSentLowWater = 512 * 1024;

bool set(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

int connect_to(int fd, const net::Endpoint& dial, std::uint32_t scope_id) {
  const net::SockAddr to = net::to_sockaddr(dial, scope_id);
  return ::connect(fd, &to.generic, to.length) == 0 ? 0 : errno;
}

bool attach(int fd, std::span<sock_filter> instructions) {
  const sock_fprog program{static_cast<unsigned short>(instructions.size()), instructions.data()};
  return ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

bool refuse_all(int fd) {
  sock_filter nothing{BPF_RET | BPF_K, 0, 0, 0};
  return attach(fd, {&nothing, 1});
}

// Only the peer's datagrams, whatever the socket is bound or connected to. In place before bind() and for
// good: a socket that is bound and not yet connected takes datagrams from anybody, one that was looked up for
// a stranger's datagram may be handed it after connect() (so a filter that is removed then, or a queue
// emptied then, leaves a gap), and echo replies are delivered by identifier alone.
//
// Of a `remote` peer nothing that comes by a loopback device: that is this host answering, as it has become
// the peer. A guest would hear it until the flow is cut.
bool accept_only(int fd, const net::Endpoint& peer, flow::Protocol protocol, bool remote) {
  constexpr std::uint32_t kSourceV4 = 12;  // offsets in the network header: RFC 791, RFC 8200
  constexpr std::uint32_t kSourceV6 = 8;
  const auto network = static_cast<std::uint32_t>(SKF_NET_OFF);
  const std::uint32_t source = network + (peer.address.is_v4() ? kSourceV4 : kSourceV6);
  const auto bytes = std::as_bytes(peer.address.bytes());
  const auto words = bytes.size() / 4;
  const bool udp = protocol == flow::Protocol::kUdp;
  std::array<sock_filter, 14> program{};
  // Index of the last instruction.
  const std::size_t refusal = 2 * (words + (udp ? 1U : 0U) + (remote ? 1U : 0U)) + 1;
  std::size_t length = 0;
  const auto require_equal = [&](std::uint16_t width, std::uint32_t offset, std::uint32_t value) {
    program[length++] = {static_cast<std::uint16_t>(BPF_LD | width | BPF_ABS), 0, 0, offset};
    const auto skip = static_cast<std::uint8_t>(refusal - length - 1);
    program[length++] = {BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value};
  };
  if (remote) {
    constexpr auto kDeviceType = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_HATYPE);
    program[length++] = {BPF_LD | BPF_W | BPF_ABS, 0, 0, kDeviceType};
    program[length++] = {BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint8_t>(refusal - 2), 0,
                         ARPHRD_LOOPBACK};
  }
  for (std::size_t i = 0; i < words; ++i)
    require_equal(BPF_W, source + 4U * static_cast<std::uint32_t>(i),
                  base::load_be<std::uint32_t>(bytes.subspan(4U * i).first<4>()));
  if (udp) require_equal(BPF_H, 0, peer.port.number());  // source port, RFC 768
  program[length++] = {BPF_RET | BPF_K, 0, 0, 0xffffffffU};
  program[length++] = {BPF_RET | BPF_K, 0, 0, 0};
  return attach(fd, std::span{program}.first(length));
}

// A UDP socket that nobody answers: connected to an address that is nobody's (RFC 1112 section 4, RFC 6666),
// then shut. Our half of a flow's regular end; no filter, see above.
bool strand(int fd, net::Family family) {
  constexpr std::uint16_t kDiscard = 9;
  const net::IpAddress nobody = family == net::Family::kIpv4 ? net::IpAddress{net::Ipv4Address{240, 0, 0, 1}}
                                                             : net::IpAddress{net::Ipv6Address{{0x01, 0x00}}};
  return connect_to(fd, {nobody, net::Port{kDiscard}}, 0) == 0 && ::shutdown(fd, SHUT_RDWR) == 0;
}

net::IpAddress any_of(net::Family family) {
  return family == net::Family::kIpv4 ? net::IpAddress{net::Ipv4Address{}}
                                      : net::IpAddress{net::Ipv6Address{}};
}

bool bind_port(int fd, const net::IpAddress& address, net::Port port) {
  const net::SockAddr at = net::to_sockaddr({address, port});
  return ::bind(fd, &at.generic, at.length) == 0;
}

bool stop_sharing(std::span<const int> sockets) {
  bool all = true;
  for (const int socket : sockets)
    all &= set(socket, SOL_SOCKET, SO_REUSEADDR, 0) || set(socket, SOL_SOCKET, SO_REUSEADDR, 0);
  return all;
}

// Two flows of one guest port to different remotes: SO_REUSEADDR on all of ours, only around the bind, so
// that a stranger who asks for the port later is still refused.
// nullopt: the port would stay open to others.
std::optional<bool> bind_shared_port(int fd, const net::IpAddress& address, net::Port port,
                                     std::span<const int> ours) {
  for (const int other : ours) set(other, SOL_SOCKET, SO_REUSEADDR, 1);
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  const bool bound = bind_port(fd, address, port);
  if (!stop_sharing(ours) || !set(fd, SOL_SOCKET, SO_REUSEADDR, 0)) return std::nullopt;
  return bound;
}

// Ports below 1024 are not tried: they need a privilege, and a service of the host may want them.
std::optional<bool> keep_port(int fd, const flow::Tuple& tuple, const net::IpAddress& address,
                              std::span<const int> ours) {
  constexpr std::uint16_t kFirstUnprivileged = 1024;
  const bool echo = tuple.protocol == flow::Protocol::kIcmpEcho;
  if (tuple.guest.port.number() == 0 || (!echo && tuple.guest.port.number() < kFirstUnprivileged))
    return false;
  if (ours.empty()) return bind_port(fd, address, tuple.guest.port);
  return bind_shared_port(fd, address, tuple.guest.port, ours);
}

bool set_family_options(int fd, net::Family family, bool datagram) {
  const bool v6 = family == net::Family::kIpv6;
  if (v6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) return false;
  if (!datagram) return true;
  return v6 ? set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1) : set(fd, IPPROTO_IP, IP_RECVERR, 1);
}

int socket_protocol(flow::Protocol protocol, net::Family family) {
  if (protocol == flow::Protocol::kTcp) return IPPROTO_TCP;
  if (protocol == flow::Protocol::kUdp) return IPPROTO_UDP;
  return family == net::Family::kIpv6 ? int{IPPROTO_ICMPV6} : int{IPPROTO_ICMP};
}

// A path MTU is left to the kernel (IP_PMTUDISC_WANT is the default): it fragments what is too long; the
// translator tells a guest that forbade it (datagram_marks.cc).
void set_datagram_options(int fd, flow::Protocol protocol, net::Family family) {
  // What the guest sees of the answers' IP headers.
  const bool v6 = family == net::Family::kIpv6;
  set(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVTCLASS : IP_RECVTOS, 1);
  if (protocol == flow::Protocol::kIcmpEcho)
    set(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL, 1);
  if (protocol == flow::Protocol::kUdp) set(fd, SOL_UDP, UDP_GRO, 1);  // absent before Linux 5.0: no matter
  set(fd, SOL_SOCKET, SO_RCVBUF, kDatagramBuffer);
  set(fd, SOL_SOCKET, SO_SNDBUF, kDatagramBuffer);
}

void set_stream_options(int fd) {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kNotSentLowWater);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

std::optional<net::Endpoint> peer_of(int fd) {
  net::SockAddr name;
  name.length = sizeof name.storage;
  if (::getpeername(fd, &name.generic, &name.length) != 0) return std::nullopt;
  return net::from_sockaddr(name);
}

// Reads a queue of the socket until it is empty; bounded, in case somebody still fills it.
void read_away(int socket, int queue, bool stream) {
  constexpr int kMostReads = 1 << 16;
  std::array<std::byte, 1 << 16> nowhere;  // a datagram's rest is dropped
  int errors = 0;
  for (int i = 0; i < kMostReads && errors < 2; ++i) {
    iovec part{nowhere.data(), nowhere.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t got = ::recvmsg(socket, &message, MSG_DONTWAIT | queue);
    if ((got == 0 && stream) || (got < 0 && errno == EAGAIN)) return;
    if (got < 0) ++errors;  // the socket's own is told once
  }
}

}  // namespace

OpenedSocket open_socket(const flow::Tuple& tuple, const Verdict& verdict, std::span<const int> same_port) {
  const net::Family family = verdict.dial.address.family();
  const bool stream = tuple.protocol == flow::Protocol::kTcp;
  OpenedSocket out;
  base::Fd fd{::socket(family == net::Family::kIpv6 ? AF_INET6 : AF_INET,
                       (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC,
                       socket_protocol(tuple.protocol, family))};
  const auto failed = [&out] {
    out.error = errno == 0 ? EIO : errno;
    return std::move(out);
  };
  if (!fd) return failed();
  if (!set_family_options(fd.get(), family, !stream)) return failed();
  if (verdict.bind_interface != 0 && !verdict.local_service &&
      !set(fd.get(), SOL_SOCKET, SO_BINDTOIFINDEX, static_cast<int>(verdict.bind_interface)))
    return failed();
  // A service of this host is not left by the wanted address.
  const bool chosen = verdict.source && !verdict.local_service && verdict.source->family() == family;
  const net::IpAddress from = chosen ? *verdict.source : any_of(family);
  if (stream) {
    set_stream_options(fd.get());
  } else {
    if (!accept_only(fd.get(), verdict.dial, tuple.protocol, !verdict.local_service)) return failed();
    set_datagram_options(fd.get(), tuple.protocol, family);
    const auto kept = keep_port(fd.get(), tuple, from, same_port);
    if (!kept) return failed();
    out.kept_port = *kept;
  }
  if (chosen && !out.kept_port && !bind_port(fd.get(), from, net::Port{})) return failed();
  out.error = connect_to(fd.get(), verdict.dial, verdict.scope_id);
  // A handshake with a near peer is often over before the call returns, and is then seen without epoll: the
  // kernel names no peer before that.
  if (out.error == EINPROGRESS) {
    if (const auto peer = peer_of(fd.get()); !peer) {
      out.error = connect_outcome(fd.get(), verdict.dial, verdict.scope_id);
    } else if (peer->address == verdict.dial.address) {
      out.error = 0;
      out.peer_seen = true;
    }
  }
  out.socket = std::move(fd);
  return out;
}

void prepare_accepted(int socket) { set_stream_options(socket); }

// SO_REUSEADDR stays on: whoever else wants the port meets the listener, which has it only around this bind.
OpenedSocket open_reply_socket(const ReplyPath& path, std::span<const int> same_port) {
  const net::Family family = path.peer.address.family();
  const bool v6 = family == net::Family::kIpv6;
  OpenedSocket out;
  const auto failed = [&out] {
    out.error = errno == 0 ? EIO : errno;
    return std::move(out);
  };
  base::Fd fd{::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP)};
  if (!fd || !set_family_options(fd.get(), family, true)) return failed();
  if (path.bind_interface != 0 &&
      !set(fd.get(), SOL_SOCKET, SO_BINDTOIFINDEX, static_cast<int>(path.bind_interface)))
    return failed();
  if (!accept_only(fd.get(), path.peer, flow::Protocol::kUdp, false)) return failed();
  set_datagram_options(fd.get(), flow::Protocol::kUdp, family);
  const net::SockAddr at = net::to_sockaddr(path.local, path.scope_id);
  for (const int other : same_port) set(other, SOL_SOCKET, SO_REUSEADDR, 1);
  set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const int bind_error = ::bind(fd.get(), &at.generic, at.length) == 0 ? 0 : errno;
  if (!stop_sharing(same_port)) return failed();
  out.error = bind_error != 0 ? bind_error : connect_to(fd.get(), path.peer, path.scope_id);
  out.socket = std::move(fd);
  return out;
}

std::array<base::Fd, 2> hold_datagram_offload() {
  std::array<base::Fd, 2> held{base::Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)},
                               base::Fd{::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)}};
  for (const base::Fd& fd : held)
    if (fd) set(fd.get(), SOL_UDP, UDP_GRO, 1);  // without it flows are slower, nothing else
  return held;
}

int connect_outcome(int socket, const net::Endpoint& dial, std::uint32_t scope_id) {
  const int error = connect_to(socket, dial, scope_id);
  if (error == EALREADY) return EINPROGRESS;
  return error == EISCONN ? 0 : error;
}

SocketFacts look_at(int socket, net::Family family, bool ask_peer) {
  SocketFacts out;
  net::SockAddr name;
  name.length = sizeof name.storage;
  if (::getsockname(socket, &name.generic, &name.length) == 0) out.local = net::from_sockaddr(name);
  if (ask_peer) out.peer = peer_of(socket);
  int mtu = 0;
  socklen_t size = sizeof mtu;
  const bool v6 = family == net::Family::kIpv6;
  if (::getsockopt(socket, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size) == 0 &&
      mtu > 0)
    out.path_mtu = static_cast<std::uint32_t>(mtu);
  return out;
}

bool cut_socket(int socket, flow::Protocol protocol) {
  if (protocol == flow::Protocol::kTcp) {
    // shutdown() would still deliver everything that is queued.
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    if (::connect(socket, &nobody, sizeof nobody) == 0) return true;
    // EBUSY: of Linux 6.1 to 6.6, while somebody waits in a call on it. The other holder may.
    ::shutdown(socket, SHUT_RDWR);
    return false;
  }
  const bool deaf = refuse_all(socket) && set(socket, SOL_SOCKET, SO_LOCK_FILTER, 1);
  const bool cut = ::shutdown(socket, SHUT_RDWR) == 0 && deaf;
  empty_socket(socket, protocol);
  return cut;
}

SocketMemory memory_of(int socket) {
  std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket, SOL_SOCKET, SO_MEMINFO, info.data(), &size) != 0) return {};
  // What is charged in advance can be below zero for a moment.
  const auto forward = std::max(static_cast<std::int32_t>(info[SK_MEMINFO_FWD_ALLOC]), 0);
  return {std::uint64_t{info[SK_MEMINFO_RMEM_ALLOC]} + info[SK_MEMINFO_WMEM_QUEUED] +
              static_cast<std::uint64_t>(forward) + info[SK_MEMINFO_OPTMEM] + info[SK_MEMINFO_BACKLOG],
          info[SK_MEMINFO_WMEM_QUEUED], info[SK_MEMINFO_RMEM_ALLOC]};
}

bool empty_socket(int socket, flow::Protocol protocol) {
  if (memory_of(socket).received == 0) return true;
  const bool stream = protocol == flow::Protocol::kTcp;
  read_away(socket, 0, stream);
  if (!stream) {
    read_away(socket, MSG_ERRQUEUE, stream);
    return true;
  }
  const SocketMemory left = memory_of(socket);
  return left.received == 0 || left.queued != 0 || cut_socket(socket, protocol);
}

bool end_socket(int socket, flow::Protocol protocol, net::Family family, flow::CloseHow how) {
  // The other holder may have kept its descriptor: closing ours alone would leave it a socket nobody watches.
  if (protocol == flow::Protocol::kUdp && strand(socket, family)) return empty_socket(socket, protocol);
  if (protocol != flow::Protocol::kTcp || how == flow::CloseHow::kReset) return cut_socket(socket, protocol);
  // ENOTCONN: both ends have closed already (TCP_CLOSE), there is nothing to lose.
  if (::shutdown(socket, SHUT_RDWR) != 0) return cut_socket(socket, protocol);
  if (!empty_socket(socket, protocol)) return false;
  // The other holder may also have set a lingering close, which would make ours wait.
  const linger none{0, 0};
  return ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0;
}

flow::RefuseHow refusal_for(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET: return flow::RefuseHow::kConnectionRefused;
    case EHOSTUNREACH:
    case EHOSTDOWN: return flow::RefuseHow::kHostUnreachable;
    case ENETUNREACH:
    case ENETDOWN:
    case ENODEV:
    case EINVAL: return flow::RefuseHow::kNetworkUnreachable;
    case EACCES:
    case EPERM: return flow::RefuseHow::kReject;
    default: return flow::RefuseHow::kDrop;  // silence, as the guest would have met itself
  }
}

}  // namespace cordon::sandbox
