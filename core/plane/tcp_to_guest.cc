// TcpDriver, host -> guest: reading, segments, timers and the end of a flow.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "core/base/check.h"
#include "core/plane/tcp_driver.h"

namespace cordon::plane {
namespace {

constexpr std::uint32_t kReadOnce = 256U << 10U;
constexpr base::Duration kLinger =
    std::chrono::seconds{60};  // for the stash of a flow that is over for the guest

}  // namespace

void TcpDriver::on_grant(std::uint32_t slot, base::Fd socket, std::uint32_t ring_limit) {
  Flow& flow = flows_[slot];
  if (ring_limit > 0) flow.ring_limit = std::min(ring_limit, context_.config.limits.ring_per_flow);
  const flow::Id id = context_.table.id(slot);
  context_.adopt(slot, std::move(socket));
  if (flow.dscp != 0) set_dscp(slot, flow.dscp);
  apply(slot, flow.connection.on_granted(context_.now));
  // The SYN-ACK first: the guest goes on while the socket is registered, and a registration tells what is
  // there already.
  if (!context_.link_blocked) transmit(slot);
  if (context_.table.live(id) && context_.open(slot) && !context_.watch(slot, EPOLLIN | EPOLLRDHUP | EPOLLET))
    apply(slot, flow.connection.on_host_error(context_.now));
}

void TcpDriver::set_dscp(std::uint32_t slot, std::uint8_t traffic_class) {
  if (!context_.open(slot)) return;
  flows_[slot].dscp = traffic_class;
  const bool v6 = context_.table.tuple(slot).remote.address.is_v6();
  const int value = traffic_class;
  ::setsockopt(context_.flows[slot].socket.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS,
               &value, sizeof value);
}

void TcpDriver::on_refuse(std::uint32_t slot, flow::RefuseHow how) {
  Flow& flow = flows_[slot];
  const flow::Tuple tuple = context_.table.tuple(slot);
  switch (how) {
    case flow::RefuseHow::kReject:
    case flow::RefuseHow::kConnectionRefused: {
      apply(slot, flow.connection.on_revoked(context_.now));
      while (const auto out = flow.connection.next_transmit(context_.now))
        if (send_segment(flow, *out) == link::SendStatus::kAgain) break;
      break;
    }
    case flow::RefuseHow::kHostUnreachable:
    case flow::RefuseHow::kNetworkUnreachable:
      context_.send_flow_error(tuple, icmp::report_for(how), {}, 20, flow.guest_isn);
      break;
    case flow::RefuseHow::kDrop: break;
  }
  drop_memory(slot);
  context_.free_slot(slot);
}

void TcpDriver::on_revoke(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  flow.stashed = 0;
  flow.stash.clear(context_.stash_pool);
  flow.reset_host = true;
  flow.reason = flow::EndReason::kRevoked;
  apply(slot, flow.connection.on_revoked(context_.now));
  flow.ended = true;
}

void TcpDriver::on_guest_error(std::uint32_t slot, const icmp::GuestError& error) {
  Flow& flow = flows_[slot];
  if (flow.ended) return;
  const net::SeqNum sequence{error.sequence};
  if (error.kind == icmp::GuestError::Kind::kUnreachable)
    return apply(slot, flow.connection.on_unreachable(sequence, context_.now));
  const std::uint32_t headers = static_cast<std::uint32_t>(context_.ip_header(error.tuple)) + 20;
  apply(slot, flow.connection.on_smaller_segments(sequence, error.mtu - headers, context_.now));
}

void TcpDriver::on_events(std::uint32_t slot, std::uint32_t events) {
  Flow& flow = flows_[slot];
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) flow.readable = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) flow.hung_up = true;
  if ((events & (EPOLLOUT | EPOLLERR)) != 0) flow.writable = true;
  // Before the guest has answered our SYN, and after the host's EOF, nothing is read: an error then must be
  // asked for.
  const bool deaf = flow.host_ended || flow.connection.state() == tcp::State::kSynSent;
  if ((events & EPOLLERR) != 0 && deaf && !flow.ended) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(context_.flows[slot].socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return host_failed(slot, error);
  }
  context_.ready.push(slot);
}

void TcpDriver::on_ready(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  write_stash(slot);
  if (flow.readable && !flow.host_ended && !flow.ended) read_host(slot);
}

void TcpDriver::read_host(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  const Limits& limits = context_.config.limits;
  std::uint32_t turn = limits.turn_bytes;
  if (context_.shared()) turn = std::min(turn, limits.shared_turn_bytes);
  turn -= turn % std::min<std::uint32_t>(turn, flow.connection.mss());  // no runt at its end
  while (flow.readable && flow.connection.wants_host_data()) {
    const std::uint32_t budget = flow.connection.host_read_budget(flow.ring_bytes, flow.ring_limit);
    if (budget == 0) return;  // an ACK brings us back
    if (turn == 0) return context_.ready.push(slot);
    const std::uint32_t most =
        context_.allowance(slot, Direction::kToGuest, std::min({budget, turn, kReadOnce}));
    if (most == 0) return;  // its shaper brings us back
    std::array<iovec, 16> parts;
    const std::size_t n = flow.ring.room(context_.ring_pool, flow.ring_bytes, most, parts);
    std::uint32_t room = 0;
    for (std::size_t i = 0; i < n; ++i) room += static_cast<std::uint32_t>(parts[i].iov_len);
    if (room == 0) {
      // The ring's budget is used up by other flows: the worker brings us back when chunks were given back.
      context_.counters.add(Counter::kRingStarved);
      return context_.starved.push(slot);
    }
    const ssize_t got = ::readv(context_.flows[slot].socket.get(), parts.data(), static_cast<int>(n));
    const int error = errno;
    if (got > 0) {
      const auto bytes = static_cast<std::uint32_t>(got);
      flow.ring_bytes += bytes;
      context_.flows[slot].volumes.bytes_to_guest += bytes;
      context_.charge(slot, Direction::kToGuest, bytes);
      turn -= std::min(turn, bytes);
      if (bytes < room && !flow.hung_up) flow.readable = false;
      apply(slot, flow.connection.on_host_data(bytes, context_.now));
      continue;
    }
    if (flow.ring_bytes == 0) flow.ring.clear(context_.ring_pool);
    if (got < 0 && error == EINTR) continue;
    flow.readable = false;
    if (got < 0 && error == EAGAIN) return;
    flow.host_ended = true;
    if (got == 0) return apply(slot, flow.connection.on_host_eof(context_.now));
    flow.reason = flow::EndReason::kReset;
    flow.writable = false;
    flow.stashed = 0;
    flow.stash.clear(context_.stash_pool);
    return apply(slot, flow.connection.on_host_error(context_.now));
  }
}

void TcpDriver::on_timer(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  if (flow.ended) {  // it only waited for its stash
    flow.reset_host = true;
    flow.reason = flow::EndReason::kTimeout;
    flow.stashed = 0;
    flow.stash.clear(context_.stash_pool);
    dirty_.push(slot);
    return;
  }
  apply(slot, flow.connection.on_timer(context_.now));
}

void TcpDriver::transmit_dirty() {
  if (context_.link_blocked) return;
  for (std::uint32_t n = dirty_.size(); n > 0; --n) {
    const auto slot = dirty_.pop();
    const flow::Id id = context_.table.id(*slot);
    if (!context_.table.live(id) || context_.table.tuple(*slot).protocol != flow::Protocol::kTcp ||
        context_.flows[*slot].phase == Phase::kClosing)
      continue;
    transmit(*slot);
    if (context_.link_blocked) return;
  }
}

void TcpDriver::transmit(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  if (!context_.capabilities().tso) flow.connection.forbid_super_segments();
  if (!flow.ended) {
    // Of a slow flow no more than a second's worth is stored here.
    const ShaperIds ids = context_.flows[slot].shaping;
    if (!ids || context_.shapers.time_for(ids, Direction::kToHost, flow.credit) < std::chrono::seconds{1})
      grow_credit(flow);
    measure(slot);
    const auto actions = flow.connection.on_stash(flow.stashed, flow.credit, context_.now);
    CORDON_CHECK(!actions.end);
  }
  while (const auto out = flow.connection.next_transmit(context_.now)) {
    if (send_segment(flow, *out) == link::SendStatus::kAgain) {
      flow.connection.untransmit(*out);
      context_.link_blocked = true;
      dirty_.push(slot);
      return;
    }
  }
  if (flow.ended) {
    if (flow.stashed == 0 || flow.reset_host) return finish(slot);
    const ShaperIds ids = context_.flows[slot].shaping;
    const base::Duration slow =
        ids ? context_.shapers.time_for(ids, Direction::kToHost, flow.stashed) : base::Duration{};
    return context_.timers.arm(slot, context_.now + kLinger + 2 * slow);
  }
  context_.timers.arm(slot, flow.connection.deadline());
}

link::SendStatus TcpDriver::send_segment(Flow& flow, const tcp::Transmit& out) {
  wire::TcpFields fields;
  fields.seq = out.seq;
  fields.ack = out.ack_flag ? out.ack : net::SeqNum{};
  fields.flags = {.fin = out.fin, .syn = out.syn, .rst = out.rst, .psh = out.psh, .ack = out.ack_flag};
  fields.window = out.window;
  fields.mss = out.mss;
  fields.window_scale = out.window_scale;
  fields.sack_permitted = out.sack_permitted;
  fields.sack_count = out.sack_count;
  for (std::size_t i = 0; i < out.sack_count; ++i) fields.sack[i] = {out.sack[i].left, out.sack[i].right};

  std::array<std::byte, wire::kMaxHeaders> headers;
  std::array<iovec, 8> parts;
  const std::size_t pieces =
      flow.ring.pieces(context_.ring_pool, out.ring_offset, out.payload, std::span(parts).subspan(1));
  const std::span<const iovec> payload = std::span(parts).subspan(1, pieces);
  const wire::ChecksumMode mode = context_.checksum_mode();
  const auto built = wire::build_tcp(flow.frame, fields, payload, mode, headers);
  parts[0] = {headers.data(), built.length};
  link::Offload offload;
  offload.bulk = flow.bulk;
  if (mode == wire::ChecksumMode::kPartial) {
    offload.needs_checksum = true;
    offload.checksum_start = built.checksum_start;
    offload.checksum_offset = built.checksum_offset;
  }
  if (const std::uint32_t mss = flow.connection.mss(); out.payload > mss) {
    offload.gso = flow.frame.is_v4() ? link::Gso::kTcp4 : link::Gso::kTcp6;
    offload.gso_size = static_cast<std::uint16_t>(mss);
    offload.header_length = built.length;
  }
  return context_.send(offload, std::span(parts).first(1 + pieces));
}

void TcpDriver::finish(std::uint32_t slot) {
  const Flow& flow = flows_[slot];
  const auto how = flow.reset_host || flow.reason == flow::EndReason::kReset ? flow::CloseHow::kReset
                                                                             : flow::CloseHow::kGraceful;
  const flow::EndReason reason = flow.reason;
  drop_memory(slot);
  context_.close_slot(slot, how, reason);
}

void TcpDriver::drop_memory(std::uint32_t slot) {
  if (gathered_ > 0 && gather_slot_ == slot) gathered_ = 0;
  Flow& flow = flows_[slot];
  flow.ring.clear(context_.ring_pool);
  flow.stash.clear(context_.stash_pool);
  context_.stash_pool.unreserve(flow.reserved);
  std::destroy_at(&flow);
}

// RFC 6528: a keyed hash of the connection plus a clock of 4 us.
net::SeqNum TcpDriver::initial_sequence(const flow::Tuple& tuple) const {
  std::array<std::byte, 40> bytes{};
  std::size_t n = 0;
  for (const net::Endpoint& end : {tuple.guest, tuple.remote}) {
    const auto address = end.address.bytes();
    std::memcpy(&bytes[n], address.data(), address.size());
    n += address.size();
    const std::uint16_t port = end.port.number();
    std::memcpy(&bytes[n], &port, sizeof port);
    n += sizeof port;
  }
  bytes[39] = std::byte{'i'};  // another domain than the flow table's use of the key
  const std::uint64_t hash = base::siphash24(context_.config.key, bytes);
  return net::SeqNum{static_cast<std::uint32_t>(hash) +
                     static_cast<std::uint32_t>(static_cast<std::uint64_t>(context_.now.nanos()) >> 12U)};
}

std::uint16_t TcpDriver::segment_limit(const flow::Tuple& tuple) const {
  return static_cast<std::uint16_t>(context_.config.lan.mtu - context_.ip_header(tuple) - 20);
}

}  // namespace cordon::plane
