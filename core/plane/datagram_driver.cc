#include "core/plane/datagram_driver.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "core/base/check.h"

namespace cordon::plane {
namespace {

constexpr std::uint32_t kPendingBytes =
    72U << 10U;  // of one flow: room for one datagram of any size and some small
constexpr std::uint16_t kPendingCount = 8;
constexpr std::size_t kMaxWrite = 65507;  // of one segmented write
constexpr base::Duration kEvictableAfter = std::chrono::seconds{2};

}  // namespace

DatagramDriver::DatagramDriver(Context& context)
    : context_(context), flows_(context.config.limits.flows), receive_(kMessages * kBuffer) {}

DatagramDriver::~DatagramDriver() = default;  // a Flow owns nothing beyond the pools

std::optional<Counter> DatagramDriver::on_udp(const flow::Tuple& tuple, const wire::Packet& packet,
                                              base::Bytes payload, std::uint16_t gso_size) {
  const auto found = context_.table.find(tuple);
  if (found) context_.note_active(*found);
  const bool super = gso_size > 0 && payload.size() > gso_size;
  const Marks marks = marks_of(packet);
  if (!found || context_.flows[*found].phase == Phase::kAsking ||
      context_.flows[*found].phase == Phase::kAsked) {
    const auto slot = found ? found : new_flow(tuple);
    if (!slot) return Counter::kDropTableFull;
    bool held = true;
    while (held && super && payload.size() > gso_size) {
      held = hold(*slot, payload.first(gso_size), 0, marks);
      payload = payload.subspan(gso_size);
    }
    held = held && hold(*slot, payload, 0, marks);
    if (!found) return Counter::kNewFlow;
    return held ? Counter::kToUdpFlow : Counter::kDropPendingFull;
  }
  const std::uint32_t slot = *found;
  if (!context_.open(slot)) return Counter::kDropFlowClosing;
  Flow& flow = flows_[slot];
  flow.activity.on_guest(context_.now);
  context_.table.touch(slot);
  if (marks.dont_fragment && too_long(slot, payload, super ? gso_size : payload.size(), 0))
    return Counter::kDropTooBig;
  if (!context_.pass(slot, Direction::kToHost, payload.size())) return Counter::kDropShaped;
  if (marks.hop_limit != flow.hop_limit || marks.traffic_class != flow.traffic_class) {
    write_run();
    set_marks(slot, marks);
  }
  if (super) {
    write_run();
    write_super(slot, payload, gso_size);
    return std::nullopt;
  }
  const bool fits = run_count_ > 0 && run_slot_ == slot && !run_closed_ && run_count_ < kRun &&
                    !payload.empty() && payload.size() <= run_[0].iov_len &&
                    run_bytes_ + payload.size() <= kMaxWrite;
  if (!fits) write_run();
  run_closed_ = run_count_ > 0 && payload.size() < run_[0].iov_len;
  run_slot_ = slot;
  // The socket only reads through it; iovec has no const form.
  run_[run_count_++] = {const_cast<std::byte*>(payload.data()), payload.size()};
  run_bytes_ += payload.size();
  if (payload.empty()) write_run();
  return std::nullopt;
}

Counter DatagramDriver::on_echo(const wire::Packet& packet, const icmp::Echo& echo) {
  const flow::Tuple tuple = icmp::echo_tuple(packet, echo);
  const auto found = context_.table.find(tuple);
  if (found) context_.note_active(*found);
  if (!found || context_.flows[*found].phase == Phase::kAsking ||
      context_.flows[*found].phase == Phase::kAsked) {
    const auto slot = found ? found : new_flow(tuple);
    if (!slot) return Counter::kDropTableFull;
    const bool held = hold(*slot, echo.payload, echo.sequence, marks_of(packet));
    if (!found) return Counter::kNewFlow;
    return held ? Counter::kToIcmpFlow : Counter::kDropPendingFull;
  }
  const std::uint32_t slot = *found;
  if (!context_.open(slot)) return Counter::kDropFlowClosing;
  flows_[slot].activity.on_guest(context_.now);
  context_.table.touch(slot);
  const Marks marks = marks_of(packet);
  if (marks.dont_fragment && too_long(slot, echo.payload, echo.payload.size(), echo.sequence))
    return Counter::kDropTooBig;
  if (!context_.pass(slot, Direction::kToHost, echo.payload.size())) return Counter::kDropShaped;
  set_marks(slot, marks);
  auto header = icmp::host_request_header(tuple.guest.address.family(), echo.sequence);
  const std::array<iovec, 2> parts{iovec{header.data(), header.size()},
                                   iovec{const_cast<std::byte*>(echo.payload.data()), echo.payload.size()}};
  switch (write_raw(slot, parts, header.size() + echo.payload.size())) {
    case Sent::kYes: break;
    case Sent::kFull: return Counter::kDropSocketFull;
    case Sent::kTooBig:
    case Sent::kRefusedSegment: return Counter::kDropTooBig;
    case Sent::kClosed: return Counter::kDropFlowClosing;
  }
  note_sent(slot, echo.payload.size(), 1);
  return Counter::kToIcmpFlow;
}

// --- life of a flow

// The flow of this protocol that was silent for longest may go, if it was silent long enough. What began
// outside never drives out what the guest began.
std::optional<std::uint32_t> DatagramDriver::evictable(flow::Protocol protocol,
                                                       flow::Table::Origin origin) const {
  using enum flow::Table::Origin;
  auto oldest = context_.table.least_recent(protocol, origin);
  if (origin == kGuest) {
    const auto other = context_.table.least_recent(protocol, kOutside);
    if (!oldest || (other && flows_[*other].activity.last() < flows_[*oldest].activity.last()))
      oldest = other;
  }
  if (!oldest || context_.flows[*oldest].phase == Phase::kClosing ||
      context_.now - flows_[*oldest].activity.last() < kEvictableAfter)
    return std::nullopt;
  return oldest;
}

// A slot with a flow in it that nobody was told of yet.
std::optional<std::uint32_t> DatagramDriver::open_flow(const flow::Tuple& tuple, flow::Table::Origin origin) {
  auto slot = context_.open_slot(tuple, origin);
  if (!slot) {
    const auto oldest = evictable(tuple.protocol, origin);
    if (!oldest) return std::nullopt;
    context_.counters.add(Counter::kFlowsEvicted);
    finish(*oldest, flow::CloseHow::kGraceful, flow::EndReason::kLimit);
    slot = context_.open_slot(tuple, origin);
    if (!slot) return std::nullopt;
  }
  const bool v6 = tuple.guest.address.is_v6();
  const wire::IpProtocol protocol = tuple.protocol == flow::Protocol::kUdp ? wire::IpProtocol::kUdp
                                    : v6                                   ? wire::IpProtocol::kIcmpv6
                                                                           : wire::IpProtocol::kIcmp;
  std::construct_at(&flows_[*slot], Flow{.frame = context_.frame_template(tuple, protocol),
                                         .activity = udp::Activity(context_.now),
                                         .guest_mtu = context_.config.lan.mtu});
  context_.timers.arm(*slot, flows_[*slot].activity.deadline(limits_for(*slot)));
  return slot;
}

std::optional<std::uint32_t> DatagramDriver::new_flow(const flow::Tuple& tuple) {
  const auto slot = open_flow(tuple);
  if (slot) context_.ask(*slot);
  return slot;
}

udp::IdleLimits DatagramDriver::limits_for(std::uint32_t slot) const {
  const Timeouts& t = context_.config.timeouts;
  if (context_.table.tuple(slot).protocol == flow::Protocol::kUdp) return {t.udp_one_way, t.udp_stream};
  return {t.icmp, t.icmp};
}

bool DatagramDriver::hold(std::uint32_t slot, base::Bytes payload, std::uint16_t sequence, Marks marks) {
  Flow& flow = flows_[slot];
  flow.activity.on_guest(context_.now);
  ChunkPool& pool = context_.stash_pool;
  const auto size = static_cast<std::uint32_t>(sizeof(PendingHeader) + payload.size());
  if (flow.pending_count == kPendingCount || flow.pending_bytes + size > kPendingBytes) return false;
  const std::uint32_t chunks = pool.chunks_for(flow.pending_bytes + size);
  if (chunks > flow.pending_reserved) {
    // Datagrams may be lost, a promised TCP window may not: the last quarter is not theirs.
    const std::uint32_t more = chunks - flow.pending_reserved;
    if (pool.promised() + more > pool.total() / 4 * 3 || !pool.reserve(more)) return false;
    flow.pending_reserved = chunks;
  }
  const PendingHeader header{static_cast<std::uint32_t>(payload.size()), sequence, marks};
  CORDON_CHECK(flow.pending.write(pool, flow.pending_bytes, base::as_bytes(&header, sizeof header)));
  CORDON_CHECK(flow.pending.write(pool, flow.pending_bytes + sizeof header, payload));
  flow.pending_bytes += size;
  ++flow.pending_count;
  return true;
}

void DatagramDriver::drop_pending(Flow& flow) {
  flow.pending.clear(context_.stash_pool);
  context_.stash_pool.unreserve(flow.pending_reserved);
  flow.pending_bytes = flow.pending_reserved = 0;
  flow.pending_count = 0;
}

void DatagramDriver::send_pending(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  ChunkPool& pool = context_.stash_pool;
  const flow::Tuple& tuple = context_.table.tuple(slot);
  for (; flow.pending_count > 0; --flow.pending_count) {
    PendingHeader header;
    flow.pending.read(pool, 0, base::as_writable_bytes(&header, sizeof header));
    flow.pending.advance(pool, sizeof header);
    if (header.marks.dont_fragment) {
      std::array<std::byte, 1232> known;
      const auto quote = std::span(known).first(std::min<std::size_t>(known.size(), header.length));
      flow.pending.read(pool, 0, quote);
      if (too_long(slot, quote, header.length, header.sequence)) {
        context_.counters.add(Counter::kDatagramsLost);
        flow.pending.advance(pool, header.length);
        continue;
      }
    }
    context_.charge(slot, Direction::kToHost, header.length);
    set_marks(slot, header.marks);
    std::array<iovec, 12> parts;
    const auto echo_header = icmp::host_request_header(tuple.guest.address.family(), header.sequence);
    std::size_t n = 0;
    if (tuple.protocol == flow::Protocol::kIcmpEcho)
      parts[n++] = {const_cast<std::byte*>(echo_header.data()), echo_header.size()};
    const std::size_t extra = n * echo_header.size();
    n += flow.pending.pieces(pool, 0, header.length, std::span(parts).subspan(n));
    if (write_raw(slot, std::span(parts).first(n), extra + header.length) == Sent::kYes) {
      note_sent(slot, header.length, 1);
    } else {
      context_.counters.add(Counter::kDatagramsLost);
    }
    flow.pending.advance(pool, header.length);
  }
  drop_pending(flow);
}

void DatagramDriver::on_grant(std::uint32_t slot, base::Fd socket, std::uint32_t path_mtu) {
  flows_[slot].path_mtu = path_mtu;
  if (!context_.attach(slot, std::move(socket), EPOLLIN | EPOLLET))
    return finish(slot, flow::CloseHow::kReset, flow::EndReason::kError);
  send_pending(slot);
}

void DatagramDriver::on_refuse(std::uint32_t slot, flow::RefuseHow how) {
  Flow& flow = flows_[slot];
  if (how != flow::RefuseHow::kDrop && flow.pending_count > 0) {
    // The first datagram is what the error quotes.
    PendingHeader header;
    flow.pending.read(context_.stash_pool, 0, base::as_writable_bytes(&header, sizeof header));
    std::array<std::byte, 1232> quote;
    const std::size_t n = std::min<std::size_t>(quote.size(), header.length);
    flow.pending.read(context_.stash_pool, sizeof header, std::span(quote).first(n));
    context_.send_flow_error(context_.table.tuple(slot), icmp::report_for(how), std::span(quote).first(n),
                             header.length, header.sequence);
  }
  drop_pending(flow);
  context_.free_slot(slot);
}

void DatagramDriver::on_revoke(std::uint32_t slot, flow::RefuseHow how) {
  if (how != flow::RefuseHow::kDrop)
    context_.send_flow_error(context_.table.tuple(slot), icmp::report_for(how), {}, 0);
  finish(slot, flow::CloseHow::kReset, flow::EndReason::kRevoked);
}

void DatagramDriver::on_timer(std::uint32_t slot) {
  const base::Instant deadline = flows_[slot].activity.deadline(limits_for(slot));
  if (context_.now < deadline) return context_.timers.arm(slot, deadline);
  finish(slot, flow::CloseHow::kGraceful, flow::EndReason::kTimeout);
}

void DatagramDriver::finish(std::uint32_t slot, flow::CloseHow how, flow::EndReason reason) {
  if (run_count_ > 0 && run_slot_ == slot) write_run();
  drop_pending(flows_[slot]);
  context_.close_slot(slot, how, reason);
}

// --- guest -> host

void DatagramDriver::count(Sent sent, std::uint64_t frames) {
  switch (sent) {
    case Sent::kYes: return context_.counters.add(Counter::kToUdpFlow, frames);
    case Sent::kFull: return context_.counters.add(Counter::kDropSocketFull, frames);
    case Sent::kTooBig:
    case Sent::kRefusedSegment: return context_.counters.add(Counter::kDropTooBig, frames);
    case Sent::kClosed: return context_.counters.add(Counter::kDropFlowClosing, frames);
  }
}

void DatagramDriver::write_run() {
  if (run_count_ == 0) return;
  const std::size_t n = run_count_;
  const std::uint32_t slot = run_slot_;
  const std::span<const iovec> parts = std::span(run_).first(n);
  run_count_ = run_bytes_ = 0;
  run_closed_ = false;
  if (n > 1) {
    const Sent sent = write_segmented(slot, parts, static_cast<std::uint16_t>(parts[0].iov_len));
    if (sent != Sent::kRefusedSegment) return count(sent, n);
  }
  for (const iovec& part : parts) count(write_one(slot, std::span(&part, 1), part.iov_len), 1);
}

// A super-frame of the guest: one frame for the counters, however many writes it takes.
void DatagramDriver::write_super(std::uint32_t slot, base::Bytes payload, std::uint16_t size) {
  Sent result = Sent::kYes;
  const std::size_t most = std::min(kRun, kMaxWrite / size) * size;
  while (!payload.empty() && result == Sent::kYes) {
    const base::Bytes piece = payload.first(std::min(payload.size(), std::max<std::size_t>(most, size)));
    payload = payload.subspan(piece.size());
    const iovec part{const_cast<std::byte*>(piece.data()), piece.size()};
    if (piece.size() > size) {
      result = write_segmented(slot, std::span(&part, 1), size);
      if (result != Sent::kRefusedSegment) continue;
    }
    result = Sent::kYes;
    for (std::size_t at = 0; at < piece.size() && result == Sent::kYes; at += size) {
      const iovec one{const_cast<std::byte*>(piece.data()) + at,
                      std::min<std::size_t>(size, piece.size() - at)};
      result = write_one(slot, std::span(&one, 1), one.iov_len);
    }
  }
  count(result, 1);
}

void DatagramDriver::note_sent(std::uint32_t slot, std::size_t bytes, std::size_t datagrams) {
  flow::Volumes& volumes = context_.flows[slot].volumes;
  volumes.bytes_from_guest += bytes;
  volumes.datagrams_from_guest += datagrams;
  context_.report_volumes(slot);
  context_.counters.add(Counter::kBytesFromGuest, bytes);
}

DatagramDriver::Sent DatagramDriver::write_segmented(std::uint32_t slot, std::span<const iovec> parts,
                                                     std::uint16_t size) {
  if (!set_segment(slot, size)) return Sent::kRefusedSegment;
  std::size_t total = 0;
  for (const iovec& part : parts) total += part.iov_len;
  const Sent sent = write_raw(slot, parts, total);
  if (sent != Sent::kYes) return sent == Sent::kTooBig ? Sent::kRefusedSegment : sent;
  note_sent(slot, total, (total + size - 1) / size);
  return sent;
}

DatagramDriver::Sent DatagramDriver::write_one(std::uint32_t slot, std::span<const iovec> parts,
                                               std::size_t size) {
  // A datagram that is not longer than the socket's segment size leaves as one; changing the option costs a
  // call.
  if (size > flows_[slot].segment && !set_segment(slot, 0)) return Sent::kTooBig;
  Sent sent = write_raw(slot, parts, size);
  if (sent == Sent::kTooBig && flows_[slot].segment != 0 && set_segment(slot, 0))
    sent = write_raw(slot, parts, size);
  if (sent != Sent::kYes) return sent;
  note_sent(slot, size, 1);
  return sent;
}

DatagramDriver::Sent DatagramDriver::write_raw(std::uint32_t slot, std::span<const iovec> parts,
                                               std::size_t size) {
  const int fd = context_.flows[slot].socket.get();
  // An error of an earlier datagram (ICMP) is reported once, in place of sending: hence a second attempt.
  for (int attempt = 0; attempt < 3; ++attempt) {
    // writev() of nothing sends nothing; write() of nothing sends an empty datagram.
    const ssize_t n =
        size == 0 ? ::write(fd, "", 0) : ::writev(fd, parts.data(), static_cast<int>(parts.size()));
    if (n >= 0) return Sent::kYes;
    switch (errno) {
      case EAGAIN:
      case ENOBUFS:
      case ENOMEM: return Sent::kFull;
      case EMSGSIZE:
      case EINVAL:
      case EIO: return Sent::kTooBig;
      case EPIPE:
      case ENOTCONN:
      case EDESTADDRREQ: return Sent::kClosed;
      default: break;
    }
  }
  return Sent::kFull;
}

bool DatagramDriver::set_segment(std::uint32_t slot, std::uint16_t size) {
  Flow& flow = flows_[slot];
  if (flow.segment == size) return true;
  const int value = size;
  if (::setsockopt(context_.flows[slot].socket.get(), SOL_UDP, UDP_SEGMENT, &value, sizeof value) != 0)
    return false;
  flow.segment = size;
  return true;
}

}  // namespace cordon::plane
