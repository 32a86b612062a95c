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
static_assert(std::has_unique_object_representations_v<message::SpoofReport> &&
              sizeof(message::SpoofReport) == 60);
static_assert(std::has_unique_object_representations_v<message::Counters> &&
              sizeof(message::Counters) == 16 + 8 * message::kCounterCount);
static_assert(std::has_unique_object_representations_v<message::Grant> && sizeof(message::Grant) == 20);
static_assert(std::has_unique_object_representations_v<message::Refuse> && sizeof(message::Refuse) == 16);
constexpr std::size_t kLargest = sizeof(message::Counters);

using Unexpected = std::unexpected<Violation>;

template <class Message>
base::Bytes bytes_of(const Message& message) {
  return base::as_bytes(&message, sizeof message);
}

// Exact length, or nothing.
template <class Message>
std::expected<Message, Violation> load(base::Bytes bytes) {
  if (bytes.size() != sizeof(Message)) return Unexpected(Violation::kLength);
  Message message;
  std::memcpy(&message, bytes.data(), sizeof message);
  return message;
}

std::expected<message::Header, Violation> load_header(base::Bytes bytes) {
  if (bytes.size() < sizeof(message::Header) || bytes.size() > kLargest)
    return Unexpected(Violation::kLength);
  message::Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != message::kVersion) return Unexpected(Violation::kVersion);
  return header;
}

template <class Container>
bool all_zero(const Container& bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
}

std::expected<flow::Id, Violation> load_id(const message::Header& header) {
  if (header.generation == 0) return Unexpected(Violation::kSlotOrGeneration);
  return flow::Id{header.slot, header.generation};
}

std::expected<net::IpAddress, Violation> load_address(std::uint8_t family,
                                                      const std::array<std::uint8_t, 16>& raw) {
  switch (family) {
    case static_cast<std::uint8_t>(net::Family::kIpv4):
      if (!all_zero(std::span{raw}.subspan(4))) return Unexpected(Violation::kAddressPadding);
      return net::Ipv4Address{raw[0], raw[1], raw[2], raw[3]};
    case static_cast<std::uint8_t>(net::Family::kIpv6): return net::Ipv6Address{raw};
    default: return Unexpected(Violation::kFamily);
  }
}

std::expected<flow::Tuple, Violation> load_tuple(const message::WireTuple& wire) {
  flow::Tuple tuple;
  switch (wire.protocol) {
    case static_cast<std::uint8_t>(flow::Protocol::kTcp): tuple.protocol = flow::Protocol::kTcp; break;
    case static_cast<std::uint8_t>(flow::Protocol::kUdp): tuple.protocol = flow::Protocol::kUdp; break;
    case static_cast<std::uint8_t>(flow::Protocol::kIcmpEcho):
      tuple.protocol = flow::Protocol::kIcmpEcho;
      break;
    default: return Unexpected(Violation::kProtocol);
  }
  if (wire.reserved != 0) return Unexpected(Violation::kReserved);
  if (tuple.protocol == flow::Protocol::kIcmpEcho && wire.remote_port != 0)
    return Unexpected(Violation::kPort);
  tuple.guest = {CORDON_TRY(load_address(wire.family, wire.guest)), net::Port{wire.guest_port}};
  tuple.remote = {CORDON_TRY(load_address(wire.family, wire.remote)), net::Port{wire.remote_port}};
  return tuple;
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

// UDP port 0 would leave a connected socket open to every source port of its peer; TCP port 0 does not exist.
bool ports_can_exist(const flow::Tuple& tuple) {
  return tuple.protocol == flow::Protocol::kIcmpEcho ||
         (tuple.guest.port.number() != 0 && tuple.remote.port.number() != 0);
}

message::Header header_of(Type type, flow::Id id = {}) {
  return {.type = static_cast<std::uint16_t>(type), .slot = id.slot, .generation = id.generation};
}

std::optional<flow::RefuseHow> refuse_how(std::uint8_t raw) {
  if (raw > static_cast<std::uint8_t>(flow::RefuseHow::kNetworkUnreachable)) return std::nullopt;
  return static_cast<flow::RefuseHow>(raw);
}

std::expected<FromTranslator, Violation> decode_close(base::Bytes bytes) {
  const auto wire = CORDON_TRY(load<message::Close>(bytes));
  if (wire.how > static_cast<std::uint8_t>(flow::CloseHow::kReset)) return Unexpected(Violation::kEnum);
  if (wire.reason > static_cast<std::uint8_t>(flow::EndReason::kError)) return Unexpected(Violation::kEnum);
  if (!all_zero(wire.reserved)) return Unexpected(Violation::kReserved);
  return FlowClose{CORDON_TRY(load_id(wire.header)),
                   static_cast<flow::CloseHow>(wire.how),
                   static_cast<flow::EndReason>(wire.reason),
                   {wire.bytes_from_guest, wire.bytes_to_guest, wire.datagrams_from_guest}};
}

std::expected<FromTranslator, Violation> decode_spoof(base::Bytes bytes) {
  const auto wire = CORDON_TRY(load<message::SpoofReport>(bytes));
  if (wire.header.slot != 0 || wire.header.generation != 0) return Unexpected(Violation::kSlotOrGeneration);
  if (!all_zero(wire.reserved)) return Unexpected(Violation::kReserved);
  return flow::SpoofReport{net::MacAddress{wire.mac}, CORDON_TRY(load_tuple(wire.tuple))};
}

std::expected<FromTranslator, Violation> decode_counters(base::Bytes bytes) {
  const auto wire = CORDON_TRY(load<message::Counters>(bytes));
  if (wire.header.slot != 0 || wire.header.generation != 0) return Unexpected(Violation::kSlotOrGeneration);
  if (wire.reserved != 0) return Unexpected(Violation::kReserved);
  return CounterReport{wire.values};
}

}  // namespace

std::string_view to_string(Violation violation) {
  switch (violation) {
    case Violation::kLength: return "length";
    case Violation::kVersion: return "version";
    case Violation::kType: return "type";
    case Violation::kSlotOrGeneration: return "slot-or-generation";
    case Violation::kProtocol: return "protocol";
    case Violation::kFamily: return "family";
    case Violation::kReserved: return "reserved";
    case Violation::kAddressPadding: return "address-padding";
    case Violation::kPort: return "port";
    case Violation::kEnum: return "enum";
    case Violation::kDescriptor: return "descriptor";
  }
  return "?";
}

std::expected<FromTranslator, Violation> decode_from_translator(base::Bytes bytes) {
  const auto header = CORDON_TRY(load_header(bytes));
  switch (header.type) {
    case static_cast<std::uint16_t>(Type::kFlowRequest): {
      const auto wire = CORDON_TRY(load<message::FlowRequest>(bytes));
      return FlowRequest{CORDON_TRY(load_id(wire.header)), CORDON_TRY(load_tuple(wire.tuple))};
    }
    case static_cast<std::uint16_t>(Type::kClose): return decode_close(bytes);
    case static_cast<std::uint16_t>(Type::kSpoofReport): return decode_spoof(bytes);
    case static_cast<std::uint16_t>(Type::kCounters): return decode_counters(bytes);
    default: return Unexpected(Violation::kType);
  }
}

std::expected<FromBroker, Violation> decode_from_broker(base::Bytes bytes, base::Fd fd) {
  const auto header = CORDON_TRY(load_header(bytes));
  const auto id = CORDON_TRY(load_id(header));
  if (header.type == static_cast<std::uint16_t>(Type::kGrant)) {
    const auto wire = CORDON_TRY(load<message::Grant>(bytes));
    if (!fd) return Unexpected(Violation::kDescriptor);
    return flow::Grant{id, std::move(fd), wire.path_mtu, wire.receive_window};
  }
  const bool revoke = header.type == static_cast<std::uint16_t>(Type::kRevoke);
  if (!revoke && header.type != static_cast<std::uint16_t>(Type::kRefuse))
    return Unexpected(Violation::kType);
  const auto wire = CORDON_TRY(load<message::Refuse>(bytes));
  if (fd) return Unexpected(Violation::kDescriptor);
  if (!all_zero(wire.reserved)) return Unexpected(Violation::kReserved);
  const auto how = refuse_how(wire.how);
  if (!how) return Unexpected(Violation::kEnum);
  if (revoke) return FlowRevocation{id, *how};
  return FlowRefusal{id, *how};
}

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
    alignas(8) std::array<std::byte, kLargest> buffer;
    const Packet packet = receive_packet(fd_.get(), buffer, AcceptFd::kNone);
    if (packet.status == PacketStatus::kEmpty) return std::unexpected(ReceiveStop::kEmpty);
    if (packet.status == PacketStatus::kClosed) return std::unexpected(ReceiveStop::kClosed);
    auto decoded = packet.status == PacketStatus::kBadFds ? Unexpected(Violation::kDescriptor)
                   : packet.size > buffer.size()
                       ? Unexpected(Violation::kLength)
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
                                     std::uint32_t receive_window) {
  const message::Grant wire{header_of(Type::kGrant, id), path_mtu, receive_window};
  return send_packet_with_fd(fd_.get(), bytes_of(wire), socket);
}
SendStatus BrokerChannel::send_refuse(flow::Id id, flow::RefuseHow how) {
  const message::Refuse wire{.header = header_of(Type::kRefuse, id), .how = static_cast<std::uint8_t>(how)};
  return send_packet(fd_.get(), bytes_of(wire));
}
SendStatus BrokerChannel::send_revoke(flow::Id id, flow::RefuseHow how) {
  const message::Refuse wire{.header = header_of(Type::kRevoke, id), .how = static_cast<std::uint8_t>(how)};
  return send_packet(fd_.get(), bytes_of(wire));
}

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

void ChannelGate::report_spoof(const flow::SpoofReport& report) {
  const message::SpoofReport wire{.header = header_of(Type::kSpoofReport),
                                  .tuple = store_tuple(report.tuple),
                                  .mac = report.source_mac.bytes()};
  if (blocked_ || !send(bytes_of(wire))) ++lost_reports_;
}

bool ChannelGate::send_counters(const CounterValues& values) {
  const message::Counters wire{.header = header_of(Type::kCounters), .values = values};
  return !blocked_ && send(bytes_of(wire));
}

ChannelGate::Status ChannelGate::dispatch(flow::GateEvents& events, bool writable, unsigned budget) {
  if (writable && blocked_) {
    blocked_ = false;  // cleared first: the callback may fill the channel again
    events.on_gate_writable();
  }
  for (unsigned i = 0; i < budget && !closed_; ++i) {
    alignas(8) std::array<std::byte, kLargest> buffer;
    Packet packet = receive_packet(fd_.get(), buffer, AcceptFd::kAtMostOne);
    if (packet.status == PacketStatus::kEmpty) break;
    // The broker is trusted, so a wrong message is a fault to stop at, as the end of the channel is.
    if (packet.status != PacketStatus::kReceived || packet.size > buffer.size()) {
      closed_ = true;
      break;
    }
    auto decoded = decode_from_broker(base::Bytes{buffer}.first(packet.size), std::move(packet.fd));
    if (!decoded) {
      closed_ = true;
      break;
    }
    if (auto* grant = std::get_if<flow::Grant>(&*decoded)) events.on_grant(std::move(*grant));
    if (const auto* refusal = std::get_if<FlowRefusal>(&*decoded))
      events.on_refuse(refusal->id, refusal->how);
    if (const auto* cut = std::get_if<FlowRevocation>(&*decoded)) events.on_revoke(cut->id, cut->how);
  }
  return closed_ ? Status::kClosed : Status::kOpen;
}

}  // namespace cordon::sandbox
