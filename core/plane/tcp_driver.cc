#include "core/plane/tcp_driver.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "core/base/check.h"
#include "core/wire/tcp_options.h"

namespace cordon::plane {
namespace {

constexpr std::uint32_t kLeastCredit = 8U << 10U;
constexpr std::uint8_t kDscp = 0xfc;  // RFC 2474; the rest is ECN, which the host's own TCP decides

// `tail`: bytes of the payload that `view` does not show.
bool read_segment(const wire::TcpView& view, std::size_t tail, tcp::Segment& out) {
  const wire::TcpFlags flags = view.flags();
  out.seq = view.seq();
  out.ack = view.ack();
  out.syn = flags.syn;
  out.ack_flag = flags.ack;
  out.fin = flags.fin;
  out.rst = flags.rst;
  out.psh = flags.psh;
  out.window = view.window();
  out.payload = static_cast<std::uint32_t>(view.payload().size() + tail);
  if (view.options().empty()) return true;
  const auto options = wire::parse_tcp_options(view.options(), flags.syn);
  if (!options) return false;
  out.mss = options->mss;
  out.window_scale = options->window_scale;
  out.sack_permitted = options->sack_permitted;
  out.sack_count = options->sack_count;
  for (std::size_t i = 0; i < options->sack_count; ++i)
    out.sack[i] = {options->sack[i].left, options->sack[i].right};
  return true;
}

// Calls `take` with each piece of the `length` bytes of a payload that begin at `offset`.
template <class Take>
void cut(base::Bytes start, std::span<const iovec> tail, std::size_t offset, std::size_t length, Take take) {
  const auto piece = [&](base::Bytes bytes) {
    const std::size_t skip = std::min(offset, bytes.size());
    const base::Bytes part = bytes.subspan(skip, std::min(length, bytes.size() - skip));
    offset -= skip;
    length -= part.size();
    if (!part.empty()) take(part);
  };
  piece(start);
  for (const iovec& bytes : tail) piece(base::as_bytes(bytes.iov_base, bytes.iov_len));
}

// Writes the first `most` of all `offered` bytes; `parts` are whole again afterwards.
ssize_t write_most(int fd, std::span<iovec> parts, std::uint32_t most, std::uint32_t offered) {
  std::size_t n = parts.size();
  std::size_t whole = 0;
  if (most < offered) {
    std::size_t left = most;
    for (n = 0; left > parts[n].iov_len; ++n) left -= parts[n].iov_len;
    whole = std::exchange(parts[n++].iov_len, left);
  }
  ssize_t written = 0;
  do written = ::writev(fd, parts.data(), static_cast<int>(n));
  while (written < 0 && errno == EINTR);
  if (most < offered) parts[n - 1].iov_len = whole;
  return written;
}

}  // namespace

TcpDriver::TcpDriver(Context& context)
    : context_(context), flows_(context.config.limits.flows), dirty_(context.config.limits.flows) {}

TcpDriver::~TcpDriver() {
  for (std::uint32_t slot = 0; slot < flows_.size(); ++slot) {
    if (context_.table.size(flow::Protocol::kTcp) == 0) return;
    if (context_.table.live(context_.table.id(slot)) &&
        context_.table.tuple(slot).protocol == flow::Protocol::kTcp &&
        context_.flows[slot].phase != Phase::kClosing)
      std::destroy_at(&flows_[slot]);
  }
}

Counter TcpDriver::on_segment(const flow::Tuple& tuple, const wire::Packet& packet) {
  const auto view = wire::TcpView::parse(packet.l4);
  tcp::Segment segment;
  if (!view || !read_segment(*view, packet.tail_size, segment)) return Counter::kDropMalformed;
  const auto found = context_.table.find(tuple);
  if (!found) return new_flow(tuple, packet, segment);
  const std::uint32_t slot = *found;
  context_.note_active(slot);
  if (context_.flows[slot].phase == Phase::kClosing) return Counter::kDropFlowClosing;
  Flow& flow = flows_[slot];
  if (flow.ended) return Counter::kDropFlowClosing;
  // Empty segments may come from another corner of the guest's kernel than its socket.
  if (segment.payload > 0 && (packet.traffic_class & kDscp) != flow.dscp)
    set_dscp(slot, packet.traffic_class & kDscp);
  const auto result = flow.connection.on_segment(segment, context_.now);
  if (result.deliver.length > 0) take_payload(slot, result.deliver, {view->payload(), packet.tail});
  apply(slot, result.actions);
  if (result.actions.reopen) {
    transmit(slot);
    context_.tell_closes();
    // Only if the old one could go at once; otherwise the guest's SYN comes again.
    if (!context_.table.find(tuple)) return new_flow(tuple, packet, segment);
    return Counter::kDropFlowClosing;
  }
  if (result.actions.refuse) return stray(tuple, segment);
  return Counter::kToTcpFlow;
}

std::optional<TcpDriver::Place> TcpDriver::open_place(const flow::Tuple& tuple) {
  ChunkPool& pool = context_.stash_pool;
  // The more is promised already, the less a new flow gets; it grows when it is busy and there is room.
  const std::uint32_t left = pool.total() - pool.promised();
  std::uint32_t credit = context_.config.limits.credit_start;
  if (left < pool.total() / 2) credit = std::min(credit, 16U << 10U);
  if (left < pool.total() / 4) credit = std::min(credit, kLeastCredit);
  const std::uint32_t chunks = pool.chunks_for(credit);
  if (!pool.reserve(chunks)) return std::nullopt;
  const auto slot = context_.open_slot(tuple);
  if (slot) return Place{*slot, credit, chunks};
  pool.unreserve(chunks);
  return std::nullopt;
}

TcpDriver::Flow& TcpDriver::start(const Place& place, const flow::Tuple& tuple,
                                  const tcp::Connection& connection) {
  Flow* const flow = std::construct_at(
      &flows_[place.slot],
      Flow{.connection = connection, .frame = context_.frame_template(tuple, wire::IpProtocol::kTcp)});
  flow->ring_limit = context_.config.limits.ring_per_flow;
  flow->credit = place.credit;
  flow->reserved = place.chunks;
  return *flow;
}

tcp::Config TcpDriver::config_for(const flow::Tuple& tuple, std::uint32_t credit) const {
  tcp::Config config;
  config.isn = initial_sequence(tuple);
  config.mss = segment_limit(tuple);
  config.initial_credit = credit;
  config.ipv6 = tuple.guest.address.is_v6();
  if (!context_.capabilities().tso) config.max_super_segment = config.mss;
  return config;
}

Counter TcpDriver::new_flow(const flow::Tuple& tuple, const wire::Packet& packet,
                            const tcp::Segment& segment) {
  if (!segment.syn || segment.ack_flag || segment.rst || segment.fin) return stray(tuple, segment);
  const auto place = open_place(tuple);
  if (!place) return Counter::kDropTableFull;
  Flow& flow = start(*place, tuple, tcp::Connection(segment, config_for(tuple, place->credit), context_.now));
  flow.guest_isn = segment.seq.raw();
  flow.dscp = packet.traffic_class & kDscp;
  context_.ask(place->slot);
  return Counter::kNewFlow;
}

// RFC 9293 3.10.7.1: a segment for a connection that does not exist is answered with a RST, a RST with
// nothing.
Counter TcpDriver::stray(const flow::Tuple& tuple, const tcp::Segment& segment) {
  if (segment.rst) return Counter::kStraySegment;
  if (!context_.resets.take(context_.now)) {
    context_.counters.add(Counter::kIcmpSuppressed);
    return Counter::kStraySegment;
  }
  wire::TcpFields reset;
  reset.flags.rst = true;
  if (segment.ack_flag) {
    reset.seq = segment.ack;
  } else {
    reset.flags.ack = true;
    reset.ack = segment.seq + segment.payload + (segment.syn ? 1U : 0U) + (segment.fin ? 1U : 0U);
  }
  std::array<std::byte, wire::kMaxHeaders> headers;
  const auto built = wire::build_tcp(context_.frame_template(tuple, wire::IpProtocol::kTcp), reset, {},
                                     wire::ChecksumMode::kFull, headers);
  context_.send_frame(std::span(headers).first(built.length));
  context_.counters.add(Counter::kResetsSent);
  return Counter::kStraySegment;
}

void TcpDriver::take_payload(std::uint32_t slot, const tcp::Deliver& deliver, const Payload& payload) {
  Flow& flow = flows_[slot];
  context_.counters.add(Counter::kBytesFromGuest, deliver.length);
  if (deliver.ahead == 0) {
    context_.flows[slot].volumes.bytes_from_guest += std::uint64_t{deliver.length} + deliver.unlocked;
    flow.taken += deliver.length;
  }
  const std::size_t pieces = 1 + payload.tail.size();
  if (gathered_ > 0 &&
      (gather_slot_ != slot || kGather - gathered_ < pieces || deliver.ahead > 0 || deliver.unlocked > 0))
    write_gathered();
  const bool in_turn = deliver.ahead == 0;
  if (!in_turn || flow.stashed > 0 || deliver.unlocked > 0) {
    std::uint32_t at = flow.stashed + deliver.ahead;
    cut(payload.start, payload.tail, deliver.offset, deliver.length, [&](base::Bytes bytes) {
      keep(flow, at, bytes);
      at += static_cast<std::uint32_t>(bytes.size());
    });
    if (!in_turn) return;
    flow.stashed += deliver.length + deliver.unlocked;
    if (flow.writable) context_.ready.push(slot);
    return;
  }
  gather_slot_ = slot;
  // The socket only reads through it; iovec has no const form.
  cut(payload.start, payload.tail, deliver.offset, deliver.length, [this](base::Bytes bytes) {
    gather_[gathered_++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  });
}

void TcpDriver::keep(Flow& flow, std::uint32_t at, base::Bytes bytes) {
  // The window the guest was given never exceeds the reservation, and Connection trims what lies outside the
  // window.
  CORDON_CHECK(flow.stash.write(context_.stash_pool, at, bytes));
}

void TcpDriver::write_gathered() {
  if (gathered_ == 0) return;
  const std::uint32_t slot = gather_slot_;
  const std::span<iovec> parts = std::span(gather_).first(gathered_);
  gathered_ = 0;
  Flow& flow = flows_[slot];
  if (flow.ended && flow.reset_host) return;  // nobody is to get it any more
  if (!context_.link.intact()) return;        // nor zeros in its place: the link is at its end
  ssize_t written = 0;
  int error = EAGAIN;
  std::uint32_t offered = 0;
  if (flow.writable && context_.open(slot)) {
    for (const iovec& part : parts) offered += static_cast<std::uint32_t>(part.iov_len);
    const std::uint32_t most = context_.allowance(slot, Direction::kToHost, offered);
    error = 0;
    if (most > 0) {
      written = write_most(context_.flows[slot].socket.get(), parts, most, offered);
      error = written < 0 ? errno : 0;
      if (error == EFAULT) return context_.link.lose_tail();
    }
    offered = most;
    if (written > 0) context_.charge(slot, Direction::kToHost, static_cast<std::uint64_t>(written));
  }
  std::size_t skip = written > 0 ? static_cast<std::size_t>(written) : 0;
  if (!flow.stash.empty()) flow.stash.advance(context_.stash_pool, static_cast<std::uint32_t>(skip));
  for (const iovec& part : parts) {
    if (skip >= part.iov_len) {
      skip -= part.iov_len;
      continue;
    }
    const auto rest = base::as_bytes(part.iov_base, part.iov_len).subspan(skip);
    skip = 0;
    keep(flow, flow.stashed, rest);
    flow.stashed += static_cast<std::uint32_t>(rest.size());
    if (error == 0 && written < ssize_t{offered}) error = EAGAIN;  // a short write means a full socket
  }
  after_write(slot, error);
}

void TcpDriver::write_stash(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  if (!context_.link.intact()) return;  // the stash may hold zeros for bytes
  while (flow.stashed > 0 && flow.writable && context_.open(slot)) {
    const std::uint32_t most = context_.allowance(slot, Direction::kToHost, flow.stashed);
    if (most == 0) return;  // its shaper brings us back
    std::array<iovec, kFromStash> parts;
    const std::size_t n = flow.stash.pieces(context_.stash_pool, 0, most, parts);
    std::size_t offered = 0;
    for (std::size_t i = 0; i < n; ++i) offered += parts[i].iov_len;
    const ssize_t written = ::writev(context_.flows[slot].socket.get(), parts.data(), static_cast<int>(n));
    int error = written < 0 ? errno : 0;
    if (error == EINTR) continue;
    if (written > 0) {
      context_.charge(slot, Direction::kToHost, static_cast<std::uint64_t>(written));
      flow.stash.advance(context_.stash_pool, static_cast<std::uint32_t>(written));
      flow.stashed -= static_cast<std::uint32_t>(written);
      if (static_cast<std::size_t>(written) < offered) error = EAGAIN;
    }
    after_write(slot, error);
  }
}

// Edge rule: after a short write the socket reports EPOLLOUT once it has room, provided that somebody
// listens.
void TcpDriver::after_write(std::uint32_t slot, int error) {
  Flow& flow = flows_[slot];
  dirty_.push(slot);
  if (error != 0 && error != EAGAIN) return host_failed(slot, error);
  if (error == EAGAIN) flow.writable = false;
  if (flow.stashed > 0 && !flow.wants_output && context_.open(slot)) {
    // The first time: the registration itself reports room that is there already.
    const flow::Id id = context_.table.id(slot);
    flow.wants_output = true;
    flow.writable = false;
    if (!context_.poller.modify(context_.flows[slot].socket.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                {loop::Token::Kind::kFlow, id.slot, id.generation}))
      return host_failed(slot, errno);
  }
  flush_close(slot);
}

// The host side is done for: what it still has for the guest comes first, unless there is nothing to read.
void TcpDriver::host_failed(std::uint32_t slot, int error) {
  Flow& flow = flows_[slot];
  static_cast<void>(error);
  flow.writable = false;
  flow.stashed = 0;
  flow.stash.clear(context_.stash_pool);
  flow.reason = flow::EndReason::kReset;
  if (!flow.host_ended && flow.connection.wants_host_data()) {
    flow.hung_up = flow.readable = true;
    context_.ready.push(slot);
    return;
  }
  flow.host_ended = true;
  apply(slot, flow.connection.on_host_error(context_.now));
}

void TcpDriver::end_batch() {
  write_gathered();
  transmit_dirty();
}

// Busy flows earn a larger window while less than half of the pool is promised. Credit is never taken back
// from a live flow: its window's right edge must not move left.
void TcpDriver::grow_credit(Flow& flow) {
  const Limits& limits = context_.config.limits;
  if (flow.taken < flow.credit || flow.credit >= limits.credit_most) return;
  flow.taken = 0;
  ChunkPool& pool = context_.stash_pool;
  const std::uint32_t wanted = std::min(flow.credit * 2, limits.credit_most);
  const std::uint32_t more = pool.chunks_for(wanted) - flow.reserved;
  if (pool.promised() + more > pool.total() / 2 || !pool.reserve(more))
    return context_.counters.add(Counter::kStashRefused);
  flow.credit = wanted;
  flow.reserved += more;
}

// Bulk is what would keep the link's queue filled; below, a flow waits in line with everybody.
void TcpDriver::measure(std::uint32_t slot) {
  constexpr base::Duration kPeriod = std::chrono::milliseconds{5};
  constexpr std::uint32_t kBulkBytes = 256U << 10U;  // in a period: 0.4 Gbit/s
  Flow& flow = flows_[slot];
  FlowCommon& common = context_.flows[slot];
  const auto total_out = static_cast<std::uint32_t>(common.volumes.bytes_from_guest);
  const auto total_in = static_cast<std::uint32_t>(common.volumes.bytes_to_guest);
  const std::uint32_t out = total_out - flow.measured_out;
  const std::uint32_t in = total_in - flow.measured_in;
  const base::Duration time = context_.now - flow.measured;
  if (time < kPeriod && std::max(out, in) < kBulkBytes) return;
  flow.bulk = out >= kBulkBytes && time < 2 * kPeriod;
  common.bulk = std::max(out, in) >= kBulkBytes && time < 2 * kPeriod;
  flow.measured = context_.now;
  flow.measured_out = total_out;
  flow.measured_in = total_in;
}

void TcpDriver::apply(std::uint32_t slot, const tcp::Actions& actions) {
  Flow& flow = flows_[slot];
  dirty_.push(slot);
  if (actions.released > 0) {
    flow.ring.advance(context_.ring_pool, actions.released);
    flow.ring_bytes -= actions.released;
    if (flow.ring_bytes == 0) flow.ring.clear(context_.ring_pool);
  }
  if (flow.readable) context_.ready.push(slot);
  if (actions.shutdown_host_write) flow.shutdown_wanted = true;
  if (actions.end) {
    flow.ended = true;
    flow.reset_host = flow.reset_host || actions.reset_host;
    if (flow.reset_host && flow.reason == flow::EndReason::kFin) flow.reason = flow::EndReason::kReset;
  }
  flush_close(slot);
}

void TcpDriver::flush_close(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  if (!flow.shutdown_wanted || flow.shutdown_done || flow.stashed > 0 || !context_.open(slot)) return;
  if (gathered_ > 0 && gather_slot_ == slot) return;  // write_gathered() comes back here
  flow.shutdown_done = true;
  ::shutdown(context_.flows[slot].socket.get(), SHUT_WR);
}

}  // namespace cordon::plane
