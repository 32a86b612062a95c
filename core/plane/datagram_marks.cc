// What of the guest's IP header goes on with its datagrams: hop limit, DSCP and ECN, and "do not fragment".
//
// The gateway is a hop, so the hop limit leaves one lower. Path MTU discovery: the host's kernel knows the
// path MTU and would cut what is longer. A guest that forbade that is told the MTU, and the datagram ends
// here. Only a UDP datagram that is longer than any ordinary Ethernet packet is cut all the same: there the
// bit says no more than that the guest's link takes 64 KiB, as no path does, and the error would fail
// applications (the guest's kernel reports it as EMSGSIZE on a connected socket) that never asked for path
// MTU discovery.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "core/plane/datagram_driver.h"

namespace cordon::plane {
namespace {

constexpr std::size_t kOrdinaryMtu = 1500;
#ifndef IPV6_MTU
constexpr int IPV6_MTU = 24;  // linux/in6.h
#endif

std::uint32_t ask_path_mtu(int socket, bool v6) {
  int mtu = 0;
  socklen_t size = sizeof mtu;
  if (::getsockopt(socket, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size) != 0)
    return 0;
  return mtu > 0 ? static_cast<std::uint32_t>(mtu) : 0;
}

}  // namespace

DatagramDriver::Marks DatagramDriver::marks_of(const wire::Packet& packet) {
  // A hop limit of 1 comes this far only towards the gateway's own services.
  return {static_cast<std::uint8_t>(std::max(packet.hop_limit - 1, 1)), packet.traffic_class,
          packet.dont_fragment};
}

void DatagramDriver::set_marks(std::uint32_t slot, Marks marks) {
  Flow& flow = flows_[slot];
  const int fd = context_.flows[slot].socket.get();
  const bool v6 = context_.table.tuple(slot).remote.address.is_v6();
  if (flow.hop_limit != marks.hop_limit) {
    const int value = flow.hop_limit = marks.hop_limit;
    ::setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &value, sizeof value);
  }
  if (flow.traffic_class != marks.traffic_class) {
    const int value = flow.traffic_class = marks.traffic_class;
    ::setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, &value, sizeof value);
  }
}

// A link behind the guest is narrower than the guest's own: its datagrams are cut for that one. For the
// flow's life; a port that is unreachable says nothing about the next datagram.
void DatagramDriver::on_guest_error(std::uint32_t slot, const icmp::GuestError& error) {
  if (error.kind != icmp::GuestError::Kind::kTooBig) return;
  Flow& flow = flows_[slot];
  flow.guest_mtu = std::min(flow.guest_mtu, error.mtu);
}

// `known`: the beginning of the payload, for the error's quote.
bool DatagramDriver::too_long(std::uint32_t slot, base::Bytes known, std::size_t length,
                              std::uint16_t sequence) {
  Flow& flow = flows_[slot];
  const flow::Tuple& tuple = context_.table.tuple(slot);
  const std::size_t size = context_.ip_header(tuple) + 8 + length;  // UDP's header is as long as echo's
  if (flow.path_mtu == 0 || size <= flow.path_mtu) return false;
  if (tuple.protocol == flow::Protocol::kUdp && size > kOrdinaryMtu) return false;
  // It may have grown since; a kernel that cannot say leaves what is known.
  const std::uint32_t now = ask_path_mtu(context_.flows[slot].socket.get(), tuple.guest.address.is_v6());
  if (now != 0) flow.path_mtu = now;
  if (size <= flow.path_mtu) return false;
  context_.counters.add(Counter::kPathMtuTold);
  context_.send_flow_error(tuple, {icmp::ErrorKind::kPacketTooBig, flow.path_mtu},
                           known.first(std::min(known.size(), length)), static_cast<std::uint32_t>(length),
                           sequence);
  return true;
}

}  // namespace cordon::plane
