// What comes to the listeners: accepting, receiving, judging. broker_inbound.h has the picture.
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/net/sockaddr.h"
#include "sandbox/broker.h"

namespace cordon::sandbox {
namespace {

constexpr int kListenersPerTurn = 64;
constexpr int kPerListener = 16;
constexpr base::Duration kShortPause = std::chrono::milliseconds{20};  // too many at once
constexpr base::Duration kLongPause = std::chrono::milliseconds{200};  // no descriptors, no memory
// Beyond this many flows of one port a further one gets another port: sharing costs two calls per flow.
constexpr std::size_t kMaxSharedPort = 64;
// What a peer may say before its flow has a socket and a slot.
constexpr std::size_t kMaxLate = 32;
constexpr std::size_t kMaxLateBytes = 8 * 1024 * 1024;  // of all offers

net::IpAddress unmapped(const net::IpAddress& address) {
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const auto bytes = address.bytes();
  if (address.is_v4() || !std::ranges::equal(bytes.first(12), kMapped)) return address;
  return net::Ipv4Address{bytes[12], bytes[13], bytes[14], bytes[15]};
}

struct Source {
  net::Endpoint endpoint;
  std::uint32_t scope_id = 0;
};

std::optional<Source> source_of(const net::SockAddr& from) {
  auto endpoint = net::from_sockaddr(from);
  if (!endpoint) return std::nullopt;
  endpoint->address = unmapped(endpoint->address);
  const bool scoped = endpoint->address.is_v6() && net::is_link_local(endpoint->address);
  return Source{*endpoint, scoped ? from.v6.sin6_scope_id : 0};
}

// Where a datagram was sent to, and by which interface it came.
struct Destination {
  std::optional<net::IpAddress> address;
  std::uint32_t interface = 0;
  bool to_many = false;  // multicast or broadcast
};

Destination destination_of(msghdr& message) {
  Destination out;
  const auto v4 = [](const in_addr& a) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &a.s_addr, bytes.size());  // network order
    return net::Ipv4Address{bytes};
  };
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      // ipi_spec_dst is the host's own address, which differs from the one in the header for a broadcast.
      out.address = v4(info.ipi_spec_dst);
      out.interface = static_cast<std::uint32_t>(info.ipi_ifindex);
      out.to_many = info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO && !out.address) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      std::array<std::uint8_t, 16> bytes{};
      std::memcpy(bytes.data(), &info.ipi6_addr, bytes.size());
      out.address = unmapped(net::Ipv6Address{bytes});
      out.interface = info.ipi6_ifindex;
      out.to_many = net::is_multicast(*out.address);
    }
  }
  return out;
}

// Closing alone would send a FIN: the peer could take it for an answer.
void reset_peer(base::Fd socket) { static_cast<void>(cut_socket(socket.get(), flow::Protocol::kTcp)); }

bool out_of_resources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

void Broker::serve_inbound(base::Instant now) {
  std::array<epoll_event, kListenersPerTurn> events{};
  const int count = ::epoll_wait(inbound_->epoll.get(), events.data(), kListenersPerTurn, 0);
  for (int i = 0; i < count; ++i) {
    const std::uint32_t index = events[static_cast<std::size_t>(i)].data.u32;
    const ForwardRule& rule = inbound_->options.rules[inbound_->listeners[index].rule];
    const bool tcp = rule.protocol == flow::Protocol::kTcp;
    for (int n = 0; n < kPerListener && can_accept(now); ++n)
      if (!(tcp ? accept_one(index, now) : receive_one(index, now))) break;
  }
}

// False: nothing more now.
bool Broker::accept_one(std::uint32_t listener, base::Instant now) {
  net::SockAddr from;
  from.length = sizeof from.storage;
  base::Fd socket{::accept4(inbound_->listeners[listener].socket.get(), &from.generic, &from.length,
                            SOCK_NONBLOCK | SOCK_CLOEXEC)};
  if (!socket) {
    if (out_of_resources(errno)) {
      ++inbound_->counters.limited;
      pause_inbound(kLongPause, now);  // the listener stays readable: without a pause this would spin
    }
    return errno != EAGAIN && !out_of_resources(errno);
  }
  if (!inbound_->new_flows.take(now)) pause_inbound(kShortPause, now);
  const auto peer = source_of(from);
  const SocketFacts facts = look_at(socket.get(), net::Family::kIpv6);
  if (!peer || !facts.local || peer->endpoint.port.number() == 0) return true;
  const net::Endpoint local{unmapped(facts.local->address), facts.local->port};
  on_connection({.listener = listener,
                 .peer = peer->endpoint,
                 .local = local,
                 .scope_id = peer->scope_id,
                 .interface = 0},
                std::move(socket), now);
  return true;
}

flow::Tuple Broker::seen_tuple(const Arrival& arrival) const {
  const Listener& listener = inbound_->listeners[arrival.listener];
  const ForwardRule& rule = inbound_->options.rules[listener.rule];
  // A rule has a target for each family its socket can hear.
  const auto& target = rule.target_for(arrival.peer.address.family());
  return {rule.protocol,
          {target.value_or(arrival.local.address), net::Port{rule.target_port(listener.port)}},
          arrival.peer};
}

// The guest must be able to answer by its gateway: a source that is its own, the gateway's, of its own link
// or only has a meaning on ours becomes the gateway's, with another port where two peers would become one.
bool Broker::shown_tuple(const flow::Tuple& seen, std::optional<flow::Tuple>& shown) {
  const net::IpAddress& source = seen.remote.address;
  for (const GuestLink& link : inbound_->options.links) {
    if (link.gateway.family() != source.family()) continue;
    const bool collides = net::is_loopback(source) || net::is_link_local(source) ||
                          link.on_link.contains(source) || source == link.gateway || source == link.dns ||
                          std::ranges::find(link.guest, source) != link.guest.end();
    if (!collides) return true;
    shown = seen;
    shown->remote.address = link.gateway;
    constexpr std::uint32_t kFirst = 1024;
    constexpr std::uint32_t kCount = 65536 - kFirst;
    // A peer who takes all the ports must not make each arrival look through them: the next one goes on from
    // where this one stopped.
    constexpr int kTries = 64;
    for (int n = 0; inbound_->shown.contains(*shown); ++n) {
      if (n == kTries) return false;
      shown->remote.port = net::Port{static_cast<std::uint16_t>(kFirst + inbound_->next_port++ % kCount)};
    }
    return true;
  }
  return true;
}

// The verdict of what may come in, admitted; nullopt: refused and recorded.
std::optional<Verdict> Broker::let_in(const flow::Tuple& seen, base::Instant now) {
  const std::uint32_t room = flow_limit_ - flow_limit_ / 4;
  if (inbound_->flows >= room || table_.size() + inbound_->offers.size() >= flow_limit_) {
    ++inbound_->counters.limited;
    judge_.on_inbound_limit(seen, Limit::kConnections, now);
    return std::nullopt;
  }
  if (!budget_.admits(table_.size() + inbound_->offers.size() + leaving_.size() + 1)) {
    ++inbound_->counters.limited;
    judge_.on_inbound_limit(seen, Limit::kMemory, now);
    return std::nullopt;
  }
  drain(now);  // after the connection stands, before anybody is told
  Verdict verdict = judge_.judge_inbound(seen, now);
  if (verdict.allow) judge_.admit(seen, verdict, now);
  if (verdict.allow) return verdict;
  ++inbound_->counters.denied;
  judge_.on_denied(seen, verdict, now);
  return std::nullopt;
}

void Broker::on_connection(const Arrival& arrival, base::Fd socket, base::Instant now) {
  const flow::Tuple seen = seen_tuple(arrival);
  const auto verdict = let_in(seen, now);
  if (!verdict) {
    reset_peer(std::move(socket));
    return;
  }
  prepare_accepted(socket.get());
  offer(arrival, seen, *verdict, std::move(socket), {}, now);
}

bool Broker::receive_one(std::uint32_t index, base::Instant now) {
  Listener& listener = inbound_->listeners[index];
  net::SockAddr from;
  iovec part{inbound_->datagram.data(), inbound_->datagram.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in_pktinfo)) + CMSG_SPACE(sizeof(in6_pktinfo))>
      control{};
  msghdr message{};
  message.msg_name = &from.storage;
  message.msg_namelen = sizeof from.storage;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(listener.socket.get(), &message, MSG_DONTWAIT);
  if (size < 0) return errno == EINTR;
  from.length = message.msg_namelen;
  const auto source = source_of(from);
  const Destination to = destination_of(message);
  auto& counters = inbound_->counters;
  if (!source || source->endpoint.port.number() == 0 || !to.address || to.to_many) {
    ++counters.dropped_datagrams;
    return true;
  }
  const base::Bytes payload{inbound_->datagram.data(), static_cast<std::size_t>(size)};
  const Arrival arrival{.listener = index,
                        .peer = source->endpoint,
                        .local = {*to.address, net::Port{listener.port}},
                        .scope_id = source->scope_id,
                        .interface = to.interface};
  const auto known = inbound_->peers.find({index, arrival.peer, arrival.local, arrival.scope_id});
  if (known != inbound_->peers.end()) {
    on_late_datagram(known->second, payload);
    return true;
  }
  if (!listener.newcomers)
    listener.newcomers = std::make_unique<base::TokenBucket>(inbound_->options.new_peers_per_second,
                                                             inbound_->options.new_peers_burst);
  if (listener.peers >= inbound_->options.max_peers || !listener.newcomers->take(now) ||
      !inbound_->new_flows.take(now)) {
    ++counters.dropped_datagrams;
    ++counters.limited;
    return true;
  }
  on_newcomer(arrival, payload, now);
  return true;
}

void Broker::on_newcomer(const Arrival& arrival, base::Bytes payload, base::Instant now) {
  const flow::Tuple seen = seen_tuple(arrival);
  auto verdict = let_in(seen, now);
  if (!verdict) return;
  const Listener& listener = inbound_->listeners[arrival.listener];
  const bool narrow = !inbound_->options.rules[listener.rule].interface.empty() || arrival.scope_id != 0;
  if (narrow) verdict->bind_interface = arrival.interface;
  collect_port_sockets(flow::Protocol::kUdp, arrival.local.port, arrival.local.address.family());
  if (std::ranges::find(port_sockets_, listener.socket.get()) == port_sockets_.end())
    port_sockets_.push_back(listener.socket.get());
  OpenedSocket opened = open_reply_socket({.peer = arrival.peer,
                                           .local = arrival.local,
                                           .scope_id = arrival.scope_id,
                                           .bind_interface = verdict->bind_interface},
                                          port_sockets_);
  if (opened.error == 0) {
    offer(arrival, seen, *verdict, std::move(opened.socket), payload, now);
    return;
  }
  if (verdict->account != 0) judge_.release(verdict->account);
  ++inbound_->counters.dropped_datagrams;
  if (!out_of_resources(opened.error)) return;
  ++inbound_->counters.limited;
  judge_.on_inbound_limit(seen, Limit::kDescriptors, now);
  pause_inbound(kLongPause, now);
}

// From a peer whose socket did not exist yet, or whose datagrams come by another way than its socket's.
void Broker::on_late_datagram(const PeerRef& peer, base::Bytes payload) {
  auto& counters = inbound_->counters;
  if (peer.offer != 0) {
    Offer& offer = inbound_->offers.at(peer.offer);
    const bool room = offer.late.size() < kMaxLate && inbound_->late_bytes + payload.size() <= kMaxLateBytes;
    if (offer.cut || !room) {
      ++counters.dropped_datagrams;
      return;
    }
    offer.late.emplace_back(payload.begin(), payload.end());
    inbound_->late_bytes += payload.size();
    return;
  }
  const BrokerFlow* flow = table_.find(peer.id);
  const std::uint32_t lane = peer.id.slot / options_.max_slots;
  const flow::Id theirs{peer.id.slot % options_.max_slots, peer.id.generation};
  const bool sent = flow != nullptr && flow->state == BrokerFlow::State::kGranted && lane < lanes_.size() &&
                    lanes_[lane].answers.empty() &&
                    lanes_[lane].channel.send_late_datagram(theirs, payload) == SendStatus::kSent;
  ++(sent ? counters.late_datagrams : counters.dropped_datagrams);
}

// Our sockets that hold `port`: flows that kept it, and its listeners.
void Broker::collect_port_sockets(flow::Protocol protocol, net::Port port, net::Family family) {
  port_sockets_.clear();
  if (protocol == flow::Protocol::kTcp) return;
  const flow::Tuple any{protocol, {{}, port}, {}};
  std::uint32_t sharing = 0;
  for (std::uint32_t next = table_.same_port(any, family); next != 0 && sharing <= kMaxSharedPort;
       ++sharing) {
    const BrokerFlow* other = table_.at(next - 1);
    if (other->socket.valid()) port_sockets_.push_back(other->socket.get());
    next = other->next_same_port;
  }
  if (sharing > kMaxSharedPort) port_sockets_.clear();  // the bind then fails, and any port will do
  if (protocol != flow::Protocol::kUdp || !inbound_) return;
  const auto [first, last] =
      std::ranges::equal_range(inbound_->udp_by_port, port.number(), {},
                               [&](std::uint32_t index) { return inbound_->listeners[index].port; });
  for (auto it = first; it != last; ++it) port_sockets_.push_back(inbound_->listeners[*it].socket.get());
}

}  // namespace cordon::sandbox
