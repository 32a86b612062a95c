#include "core/plane/context.h"

#include <array>
#include <memory>

#include "core/base/check.h"

namespace cordon::plane {
namespace {

constexpr std::uint32_t kRingChunk = 32U << 10U;
constexpr std::uint32_t kStashChunk = 8U << 10U;
std::size_t total(std::span<const iovec> parts) {
  std::size_t sum = 0;
  for (const iovec& part : parts) sum += part.iov_len;
  return sum;
}

// `frame`: its first part, which holds the Ethernet header.
bool is_to_group(const iovec& frame) {
  return (std::to_integer<unsigned>(*static_cast<const std::byte*>(frame.iov_base)) & 1U) != 0;
}

}  // namespace

Context::Context(const WorkerConfig& worker_config, link::Link& the_link, flow::Gate& the_gate,
                 base::Instant start)
    : config(worker_config),
      link(the_link),
      gate(the_gate),
      now(start),
      table({.slots = config.limits.flows,
             .udp_slots = config.limits.udp_flows,
             .icmp_slots = config.limits.icmp_flows,
             .key = config.key}),
      timers(config.limits.flows + Shapers::kTimers, start),
      poller(config.busy_poll.longest),
      flows(config.limits.flows),
      shapers(config.shapers != nullptr ? *config.shapers : own_shapers, config.limits.flows, timers,
              config.limits.flows),
      ring_pool(config.limits.ring_bytes, kRingChunk),
      stash_pool(config.limits.stash_bytes, kStashChunk),
      ready(config.limits.flows),
      starved(config.limits.flows),
      gate_waiting(config.limits.flows),
      closes_(config.limits.flows),
      declines_(kMaxDeclines) {}

Context::~Context() {
  for (std::uint32_t slot = 0; slot < table.capacity() && table.size() > 0; ++slot) {
    if (!table.live(table.id(slot))) continue;
    std::destroy_at(&flows[slot]);
    table.remove(slot);
  }
}

std::optional<std::uint32_t> Context::open_slot(const flow::Tuple& tuple, flow::Table::Origin origin) {
  const auto id = table.insert(tuple, origin);
  if (!id) return std::nullopt;
  std::construct_at(&flows[id->slot]);
  return id->slot;
}

void Context::ask(std::uint32_t slot) {
  counters.add(Counter::kFlowsRequested);
  if (!gate_waiting.empty() || !tell_gate(slot)) {
    counters.add(Counter::kGateBusy);
    gate_waiting.push(slot);
  }
  tell_closes();
}

void Context::claim(std::uint32_t slot, std::uint32_t offer) {
  counters.add(Counter::kFlowsInbound);
  flows[slot].offer = offer;
  if (!gate_waiting.empty() || !tell_gate(slot)) {
    counters.add(Counter::kGateBusy);
    gate_waiting.push(slot);
  }
}

void Context::decline(std::uint32_t offer) {
  counters.add(Counter::kFlowsDeclined);
  if (waiting_declines_ == 0 && gate.decline(offer)) return;
  counters.add(Counter::kGateBusy);
  // The broker has no more offers open than the channel holds.
  CORDON_CHECK(waiting_declines_ < kMaxDeclines);
  declines_[(first_decline_ + waiting_declines_++) % kMaxDeclines] = offer;
}

void Context::adopt(std::uint32_t slot, base::Fd socket) {
  flows[slot].phase = Phase::kOpen;
  flows[slot].socket = std::move(socket);
}

bool Context::watch(std::uint32_t slot, std::uint32_t events) {
  const flow::Id id = table.id(slot);
  return poller.add(flows[slot].socket.get(), events, {loop::Token::Kind::kFlow, id.slot, id.generation});
}

bool Context::attach(std::uint32_t slot, base::Fd socket, std::uint32_t events) {
  adopt(slot, std::move(socket));
  return watch(slot, events);
}

void Context::close_slot(std::uint32_t slot, flow::CloseHow how, flow::EndReason reason) {
  FlowCommon& flow = flows[slot];
  CORDON_CHECK(flow.phase != Phase::kClosing);
  timers.cancel(slot);
  if (flow.socket.valid()) {
    poller.remove(flow.socket.get());
    flow.socket.reset();
  }
  if (flow.phase == Phase::kAsking) return free_slot(slot);  // nobody ever heard of it
  flow.phase = Phase::kClosing;
  flow.how = how;
  flow.reason = reason;
  if (closes_.empty()) closes_due_ = now + kHoldCloses;
  closes_.push(slot);
  if (!poller.busy() || closes_.size() >= kMostCloses) tell_closes();
}

void Context::tell_closes() {
  while (const auto slot = closes_.pop()) {
    if (!table.live(table.id(*slot)) || flows[*slot].phase != Phase::kClosing) continue;
    if (gate_waiting.empty() && tell_gate(*slot)) continue;
    counters.add(Counter::kGateBusy);
    gate_waiting.push(*slot);
  }
}

void Context::free_slot(std::uint32_t slot) {
  timers.cancel(slot);
  if (flows[slot].shaping) shapers.leave(slot);
  std::destroy_at(&flows[slot]);
  table.remove(slot);
  counters.add(Counter::kFlowsClosed);
}

// A full channel is asked again with the next datagram.
void Context::reshape(std::uint32_t slot, const flow::Shaping& shaping) {
  FlowCommon& flow = flows[slot];
  const ShaperIds before = flow.shaping;
  const bool reported = flow.report_every != 0;
  shape(slot, shaping);
  if (before && before != flow.shaping) {
    shapers.leave(slot);
    ready.push(slot);  // it may not have to wait any more
  }
  if (flow.shaping) shapers.rearm(flow.shaping, now);
  if (reported || flow.report_every == 0) return;
  // The gate begins to count here.
  if (gate.report_volumes(table.id(slot), flow.volumes))
    flow.reported = flow.volumes.bytes_from_guest + flow.volumes.bytes_to_guest;
}

void Context::tell_volumes(std::uint32_t slot) {
  FlowCommon& flow = flows[slot];
  const std::uint64_t total = flow.volumes.bytes_from_guest + flow.volumes.bytes_to_guest;
  if (total - flow.reported < flow.report_every || flow.offer != 0 || flow.phase != Phase::kOpen) return;
  if (gate.report_volumes(table.id(slot), flow.volumes)) flow.reported = total;
}

// False: no room in the channel.
bool Context::tell_gate(std::uint32_t slot) {
  FlowCommon& flow = flows[slot];
  const flow::Id id = table.id(slot);
  if (flow.offer != 0) {
    if (!gate.claim(id, flow.offer)) return false;
    flow.offer = 0;
  }
  if (flow.phase == Phase::kAsking) {
    if (!gate.request(id, table.tuple(slot))) return false;
    flow.phase = Phase::kAsked;
  } else if (flow.phase == Phase::kClosing) {
    if (!gate.close(id, flow.how, flow.reason, flow.volumes)) return false;
    free_slot(slot);
  }
  return true;
}

void Context::retry_gate() {
  for (; waiting_declines_ > 0; --waiting_declines_) {
    if (!gate.decline(declines_[first_decline_])) return;
    first_decline_ = (first_decline_ + 1) % kMaxDeclines;
  }
  while (const auto slot = gate_waiting.pop()) {
    if (!table.live(table.id(*slot)) || tell_gate(*slot)) continue;
    gate_waiting.push_front(*slot);
    return;
  }
}

link::SendStatus Context::send(const link::Offload& offload, std::span<const iovec> parts) {
  if (!knows_guest() && !is_to_group(parts.front())) return want_guest();
  const link::SendStatus status = link.send(offload, parts);
  switch (status) {
    case link::SendStatus::kSent:
      counters.add(Counter::kFramesToGuest);
      counters.add(Counter::kBytesToGuest, total(parts));
      break;
    case link::SendStatus::kAgain: counters.add(Counter::kLinkBusy); break;
    case link::SendStatus::kDropped: counters.add(Counter::kLinkDropped); break;
  }
  return status;
}

link::SendStatus Context::want_guest() {
  counters.add(Counter::kGuestUnknown);
  guest_wanted = true;
  return link::SendStatus::kDropped;
}

link::SendStatus Context::send_frame(base::Bytes frame) {
  // writev() reads only; iovec has no const form.
  const iovec part{const_cast<std::byte*>(frame.data()), frame.size()};
  return send({}, std::span(&part, 1));
}

net::IpAddress Context::reporter(net::Family family) const {
  const auto& lan = family == net::Family::kIpv4 ? config.lan.v4 : config.lan.v6;
  return lan ? lan->gateway : net::IpAddress{};
}

void Context::send_error(const wire::Packet& offending, const icmp::ErrorReport& report) {
  if (!error_limiter.allow(now)) return counters.add(Counter::kIcmpSuppressed);
  std::array<std::byte, icmp::kMaxErrorFrame> frame;
  const auto length =
      icmp::build_error({config.lan.our_mac, config.lan.guest_mac, reporter(offending.source.family())},
                        report, offending, frame);
  if (!length) return;
  counters.add(Counter::kIcmpErrorsSent);
  send_frame(std::span(frame).first(*length));
}

void Context::send_flow_error(const flow::Tuple& tuple, const icmp::ErrorReport& report, base::Bytes payload,
                              std::uint32_t payload_length, std::uint32_t sequence,
                              std::optional<net::IpAddress> from) {
  if (!error_limiter.allow(now)) return counters.add(Counter::kIcmpSuppressed);
  const net::Family family = tuple.guest.address.family();
  std::array<std::byte, icmp::kMaxErrorFrame> frame;
  const net::IpAddress source = from && from->family() == family ? *from : reporter(family);
  const auto length = icmp::build_flow_error({config.lan.our_mac, config.lan.guest_mac, source}, report,
                                             tuple, payload, payload_length, frame, sequence);
  if (!length) return;
  counters.add(Counter::kIcmpErrorsSent);
  send_frame(std::span(frame).first(*length));
}

wire::FrameTemplate Context::frame_template(const flow::Tuple& tuple, wire::IpProtocol protocol) const {
  return wire::FrameTemplate({.source_mac = config.lan.our_mac,
                              .destination_mac = config.lan.guest_mac,
                              .source = tuple.remote,
                              .destination = tuple.guest},
                             protocol);
}

}  // namespace cordon::plane
