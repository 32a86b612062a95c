#include "sandbox/channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>

namespace cordon::sandbox {
namespace {

using message::Type;

// Structs go over the wire as they lie in memory: no implicit padding may leak or hide bytes.
static_assert(std::has_unique_object_representations_v<message::FlowRequest> &&
              sizeof(message::FlowRequest) == 52);
static_assert(std::has_unique_object_representations_v<message::Close> && sizeof(message::Close) == 40);
static_assert(std::has_unique_object_representations_v<message::Volumes> && sizeof(message::Volumes) == 40);
static_assert(std::has_unique_object_representations_v<message::PacketReport> &&
              sizeof(message::PacketReport) == 60);
static_assert(std::has_unique_object_representations_v<message::Counters> &&
              sizeof(message::Counters) == 16 + 8 * message::kCounterCount);
static_assert(std::has_unique_object_representations_v<message::Offer> && sizeof(message::Offer) == 16);
static_assert(std::has_unique_object_representations_v<message::Grant> && sizeof(message::Grant) == 44);
static_assert(std::has_unique_object_representations_v<message::Inbound> && sizeof(message::Inbound) == 92);
static_assert(std::has_unique_object_representations_v<message::LateDatagram> &&
              sizeof(message::LateDatagram) == 16);
static_assert(std::has_unique_object_representations_v<message::Reshape> && sizeof(message::Reshape) == 36);
static_assert(std::has_unique_object_representations_v<message::Refuse> && sizeof(message::Refuse) == 16);
constexpr std::size_t kLargestRequest = sizeof(message::Counters);  // towards the broker
constexpr std::size_t kLargest = sizeof(message::Inbound) + message::kMaxPayload;

template <class Message>
base::Bytes bytes_of(const Message& message) {
  return base::as_bytes(&message, sizeof message);
}

message::WireTuple store_tuple(const flow::Tuple& tuple) {
  message::WireTuple wire;
  wire.protocol = static_cast<std::uint8_t>(tuple.protocol);
  wire.family = static_cast<std::uint8_t>(tuple.remote.address.family());
  wire.guest_port = tuple.guest.port.number();
  wire.remote_port = tuple.remote.port.number();
  std::ranges::copy(tuple.guest.address.bytes(), wire.guest.begin());
  std::ranges::copy(tuple.remote.address.bytes(), wire.remote.begin());
  return wire;
}

message::Shaping store_shaping(const flow::Shaping& shaping) {
  const auto halves = [](std::uint64_t rate) {
    return std::array{static_cast<std::uint32_t>(rate), static_cast<std::uint32_t>(rate >> 32U)};
  };
  return {.shaper = shaping.shaper,
          .outer = shaping.outer,
          .rate = halves(shaping.rate),
          .outer_rate = halves(shaping.outer_rate),
          .report = shaping.report};
}

message::Header header_of(Type type, flow::Id id = {}) {
  return {.type = static_cast<std::uint16_t>(type), .slot = id.slot, .generation = id.generation};
}

}  // namespace

base::Result<ChannelPair> make_channel_pair() {
  auto pair = CORDON_TRY(make_packet_pair());
#ifndef SO_PASSRIGHTS
  constexpr int SO_PASSRIGHTS = 83;  // Linux 6.16; Debian 12's headers are older
#endif
  // Best effort: an older kernel says ENOPROTOOPT, and receive_packet() drops descriptors anyway.
  const int off = 0;
  ::setsockopt(pair.first.get(), SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof off);
  return ChannelPair{.broker = std::move(pair.first), .translator = std::move(pair.second)};
}

std::expected<FromTranslator, ReceiveStop> BrokerChannel::receive() {
  // Bounded: a translator that floods impossible requests must not keep the broker here.
  constexpr int kImpossiblePerCall = 64;
  for (int i = 0; i < kImpossiblePerCall; ++i) {
    alignas(8) std::array<std::byte, kLargestRequest> buffer;
    const Packet packet = receive_packet(fd_.get(), buffer, AcceptFd::kNone);
    if (packet.status == PacketStatus::kEmpty) return std::unexpected(ReceiveStop::kEmpty);
    if (packet.status == PacketStatus::kClosed) return std::unexpected(ReceiveStop::kClosed);
    auto decoded = packet.status == PacketStatus::kBadFds ? std::unexpected(Violation::kDescriptor)
                   : packet.size > buffer.size()
                       ? std::unexpected(Violation::kLength)
                       : decode_from_translator(base::Bytes{buffer}.first(packet.size));
    if (!decoded) {
      violation_ = decoded.error();
      return std::unexpected(ReceiveStop::kViolation);
    }
    const auto* request = std::get_if<FlowRequest>(&*decoded);
    if (request == nullptr || ports_can_exist(request->tuple)) return std::move(*decoded);
    ++impossible_requests_;
    // A full channel loses the answer: the flow then times out in the translator like any silent one.
    static_cast<void>(send_refuse(request->id, flow::RefuseHow::kDrop));
  }
  return std::unexpected(ReceiveStop::kEmpty);
}

SendStatus BrokerChannel::send_grant(flow::Id id, int socket, std::uint32_t path_mtu,
                                     std::uint32_t receive_window, const flow::Shaping& shaping) {
  const message::Grant wire{header_of(Type::kGrant, id), path_mtu, receive_window, store_shaping(shaping)};
  return send_packet_with_fd(fd_.get(), bytes_of(wire), socket);
}
SendStatus BrokerChannel::send_inbound(const InboundOffer& offer, int socket, base::Bytes first) {
  const message::Inbound wire{.header = header_of(Type::kInbound),
                              .offer = offer.offer,
                              .tuple = store_tuple(offer.tuple),
                              .path_mtu = offer.path_mtu,
                              .receive_window = offer.receive_window,
                              .shaping = store_shaping(offer.shaping),
                              .payload = static_cast<std::uint32_t>(first.size())};
  return send_packet_with_fd(fd_.get(), bytes_of(wire), socket, first);
}
SendStatus BrokerChannel::send_late_datagram(flow::Id id, base::Bytes payload) {
  const message::LateDatagram wire{header_of(Type::kLateDatagram, id),
                                   static_cast<std::uint32_t>(payload.size())};
  return send_packet_with_fd(fd_.get(), bytes_of(wire), -1, payload);
}
SendStatus BrokerChannel::send_refuse(flow::Id id, flow::RefuseHow how) {
  const message::Refuse wire{.header = header_of(Type::kRefuse, id), .how = static_cast<std::uint8_t>(how)};
  return send_packet(fd_.get(), bytes_of(wire));
}
SendStatus BrokerChannel::send_revoke(flow::Id id, flow::RefuseHow how) {
  const message::Refuse wire{.header = header_of(Type::kRevoke, id), .how = static_cast<std::uint8_t>(how)};
  return send_packet(fd_.get(), bytes_of(wire));
}

SendStatus BrokerChannel::send_reshape(flow::Id id, const flow::Shaping& shaping) {
  const message::Reshape wire{header_of(Type::kReshape, id), store_shaping(shaping)};
  return send_packet(fd_.get(), bytes_of(wire));
}

ChannelGate::ChannelGate(base::Fd fd) : fd_(std::move(fd)), buffer_(kLargest) {}

bool ChannelGate::send(base::Bytes bytes) {
  if (closed_) return true;  // the process is about to end: nothing is worth keeping
  switch (send_packet(fd_.get(), bytes)) {
    case SendStatus::kSent: return true;
    case SendStatus::kFull: blocked_ = true; return false;
    case SendStatus::kClosed: closed_ = true; return true;
  }
  return true;
}

bool ChannelGate::request(flow::Id id, const flow::Tuple& tuple) {
  const message::FlowRequest wire{header_of(Type::kFlowRequest, id), store_tuple(tuple)};
  return send(bytes_of(wire));
}

bool ChannelGate::close(flow::Id id, flow::CloseHow how, flow::EndReason reason,
                        const flow::Volumes& volumes) {
  const message::Close wire{.header = header_of(Type::kClose, id),
                            .how = static_cast<std::uint8_t>(how),
                            .reason = static_cast<std::uint8_t>(reason),
                            .bytes_from_guest = volumes.bytes_from_guest,
                            .bytes_to_guest = volumes.bytes_to_guest,
                            .datagrams_from_guest = volumes.datagrams_from_guest};
  return send(bytes_of(wire));
}

bool ChannelGate::claim(flow::Id id, std::uint32_t offer) {
  const message::Offer wire{header_of(Type::kClaim, id), offer};
  return send(bytes_of(wire));
}

bool ChannelGate::decline(std::uint32_t offer) {
  const message::Offer wire{header_of(Type::kDecline), offer};
  return send(bytes_of(wire));
}

bool ChannelGate::report_volumes(flow::Id id, const flow::Volumes& volumes) {
  const message::Volumes wire{.header = header_of(Type::kVolumes, id),
                              .bytes_from_guest = volumes.bytes_from_guest,
                              .bytes_to_guest = volumes.bytes_to_guest,
                              .datagrams_from_guest = volumes.datagrams_from_guest};
  return !blocked_ && send(bytes_of(wire));
}

void ChannelGate::report_packet(const flow::PacketReport& report) {
  const message::PacketReport wire{.header = header_of(Type::kPacketReport),
                                   .tuple = store_tuple(report.tuple),
                                   .mac = report.source_mac.bytes(),
                                   .why = static_cast<std::uint8_t>(report.why),
                                   .ip_protocol = report.ip_protocol};
  if (blocked_ || !send(bytes_of(wire))) ++lost_reports_;
}

bool ChannelGate::send_counters(const CounterValues& values) {
  const message::Counters wire{.header = header_of(Type::kCounters), .values = values};
  return !blocked_ && send(bytes_of(wire));
}

void ChannelGate::deliver(FromBroker& message, flow::GateEvents& events) {
  if (auto* grant = std::get_if<flow::Grant>(&message))
    events.on_grant(std::move(*grant));
  else if (const auto* refusal = std::get_if<FlowRefusal>(&message))
    events.on_refuse(refusal->id, refusal->how);
  else if (const auto* cut = std::get_if<FlowRevocation>(&message))
    events.on_revoke(cut->id, cut->how);
  else if (const auto* reshape = std::get_if<FlowReshape>(&message))
    events.on_reshape(reshape->id, reshape->shaping);
  else if (auto* inbound = std::get_if<flow::Inbound>(&message))
    events.on_inbound(std::move(*inbound));
  else
    events.on_late_datagram(std::get<flow::LateDatagram>(message));
}

ChannelGate::Status ChannelGate::dispatch(flow::GateEvents& events, bool writable, unsigned budget) {
  if (writable && blocked_) {
    blocked_ = false;  // cleared first: the callback may fill the channel again
    events.on_gate_writable();
  }
  for (unsigned i = 0; i < budget && !closed_; ++i) {
    const base::MutableBytes buffer{buffer_.data(), buffer_.size()};
    Packet packet = receive_packet(fd_.get(), buffer, AcceptFd::kAtMostOne);
    if (packet.status == PacketStatus::kEmpty) break;
    // The broker is trusted, so a wrong message is a fault to stop at, as the end of the channel is.
    if (packet.status != PacketStatus::kReceived || packet.size > buffer.size()) {
      closed_ = true;
      break;
    }
    auto decoded = decode_from_broker(buffer.first(packet.size), std::move(packet.fd));
    if (!decoded) {
      closed_ = true;
      break;
    }
    deliver(*decoded, events);
  }
  return closed_ ? Status::kClosed : Status::kOpen;
}

}  // namespace cordon::sandbox
