#include <algorithm>
#include <cstring>
#include <optional>

#include "sandbox/channel.h"

namespace cordon::sandbox {
namespace {

using message::Type;
using Unexpected = std::unexpected<Violation>;

// Exact length, or nothing.
template <class Message>
std::expected<Message, Violation> load(base::Bytes bytes) {
  if (bytes.size() != sizeof(Message)) return Unexpected(Violation::kLength);
  Message message;
  std::memcpy(&message, bytes.data(), sizeof message);
  return message;
}

std::expected<message::Header, Violation> load_header(base::Bytes bytes) {
  if (bytes.size() < sizeof(message::Header)) return Unexpected(Violation::kLength);
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

std::expected<flow::Shaping, Violation> load_shaping(const message::Shaping& wire) {
  const auto rate = [](const std::array<std::uint32_t, 2>& halves) {
    return (std::uint64_t{halves[1]} << 32U) | halves[0];
  };
  const flow::Shaping out{wire.shaper, wire.outer, rate(wire.rate), rate(wire.outer_rate), wire.report};
  if (out.shaper > flow::kMaxShapers || out.outer > flow::kMaxShapers) return Unexpected(Violation::kEnum);
  if ((out.shaper == 0) != (out.rate == 0) || (out.outer == 0) != (out.outer_rate == 0))
    return Unexpected(Violation::kEnum);
  if (out.outer != 0 && (out.shaper == 0 || out.shaper == out.outer)) return Unexpected(Violation::kEnum);
  return out;
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

std::expected<FromTranslator, Violation> decode_volumes(base::Bytes bytes) {
  const auto wire = CORDON_TRY(load<message::Volumes>(bytes));
  if (wire.reserved != 0) return Unexpected(Violation::kReserved);
  return FlowVolumes{CORDON_TRY(load_id(wire.header)),
                     {wire.bytes_from_guest, wire.bytes_to_guest, wire.datagrams_from_guest}};
}

std::expected<FromTranslator, Violation> decode_packet_report(base::Bytes bytes) {
  const auto wire = CORDON_TRY(load<message::PacketReport>(bytes));
  if (wire.header.slot != 0 || wire.header.generation != 0) return Unexpected(Violation::kSlotOrGeneration);
  if (wire.why >= flow::kPacketDenials) return Unexpected(Violation::kEnum);
  const auto why = static_cast<flow::PacketDenial>(wire.why);
  if (why != flow::PacketDenial::kProtocol && wire.ip_protocol != 0) return Unexpected(Violation::kReserved);
  return flow::PacketReport{why, net::MacAddress{wire.mac}, CORDON_TRY(load_tuple(wire.tuple)),
                            wire.ip_protocol};
}

std::expected<FromTranslator, Violation> decode_counters(base::Bytes bytes) {
  const auto wire = CORDON_TRY(load<message::Counters>(bytes));
  if (wire.header.slot != 0 || wire.header.generation != 0) return Unexpected(Violation::kSlotOrGeneration);
  if (wire.reserved != 0) return Unexpected(Violation::kReserved);
  return CounterReport{wire.values};
}

std::expected<FromTranslator, Violation> decode_offer(base::Bytes bytes) {
  const auto wire = CORDON_TRY(load<message::Offer>(bytes));
  if (wire.offer == 0) return Unexpected(Violation::kOffer);
  if (wire.header.type == static_cast<std::uint16_t>(Type::kClaim))
    return FlowClaim{CORDON_TRY(load_id(wire.header)), wire.offer};
  if (wire.header.slot != 0 || wire.header.generation != 0) return Unexpected(Violation::kSlotOrGeneration);
  return FlowDecline{wire.offer};
}

std::expected<FromBroker, Violation> decode_grant(base::Bytes bytes, base::Fd fd) {
  const auto wire = CORDON_TRY(load<message::Grant>(bytes));
  const auto id = CORDON_TRY(load_id(wire.header));
  const auto shaping = CORDON_TRY(load_shaping(wire.shaping));
  if (!fd) return Unexpected(Violation::kDescriptor);
  return flow::Grant{id, std::move(fd), wire.path_mtu, wire.receive_window, shaping};
}

std::expected<FromBroker, Violation> decode_inbound(base::Bytes bytes, base::Fd fd) {
  if (bytes.size() < sizeof(message::Inbound)) return Unexpected(Violation::kLength);
  const auto wire = CORDON_TRY(load<message::Inbound>(bytes.first(sizeof(message::Inbound))));
  const base::Bytes first = bytes.subspan(sizeof wire);
  if (wire.header.slot != 0 || wire.header.generation != 0) return Unexpected(Violation::kSlotOrGeneration);
  if (wire.offer == 0) return Unexpected(Violation::kOffer);
  const flow::Tuple tuple = CORDON_TRY(load_tuple(wire.tuple));
  if (tuple.protocol == flow::Protocol::kIcmpEcho) return Unexpected(Violation::kProtocol);
  if (!ports_can_exist(tuple)) return Unexpected(Violation::kPort);
  const bool stream = tuple.protocol == flow::Protocol::kTcp;
  if (wire.payload != first.size() || wire.payload > (stream ? 0 : message::kMaxPayload))
    return Unexpected(Violation::kLength);
  const auto shaping = CORDON_TRY(load_shaping(wire.shaping));
  if (!fd) return Unexpected(Violation::kDescriptor);
  return flow::Inbound{.offer = wire.offer,
                       .tuple = tuple,
                       .socket = std::move(fd),
                       .path_mtu = wire.path_mtu,
                       .receive_window = wire.receive_window,
                       .shaping = shaping,
                       .first = first};
}

std::expected<FromBroker, Violation> decode_late_datagram(base::Bytes bytes, const base::Fd& fd) {
  if (bytes.size() < sizeof(message::LateDatagram)) return Unexpected(Violation::kLength);
  const auto wire = CORDON_TRY(load<message::LateDatagram>(bytes.first(sizeof(message::LateDatagram))));
  const base::Bytes payload = bytes.subspan(sizeof wire);
  if (wire.payload != payload.size() || wire.payload > message::kMaxPayload)
    return Unexpected(Violation::kLength);
  const auto id = CORDON_TRY(load_id(wire.header));
  if (fd) return Unexpected(Violation::kDescriptor);
  return flow::LateDatagram{id, payload};
}

std::expected<FromBroker, Violation> decode_reshape(base::Bytes bytes, const base::Fd& fd) {
  const auto wire = CORDON_TRY(load<message::Reshape>(bytes));
  const auto id = CORDON_TRY(load_id(wire.header));
  if (fd) return Unexpected(Violation::kDescriptor);
  return FlowReshape{id, CORDON_TRY(load_shaping(wire.shaping))};
}

}  // namespace

bool ports_can_exist(const flow::Tuple& tuple) {
  return tuple.protocol == flow::Protocol::kIcmpEcho ||
         (tuple.guest.port.number() != 0 && tuple.remote.port.number() != 0);
}

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
    case Violation::kOffer: return "offer";
    case Violation::kUncut: return "uncut";
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
    case static_cast<std::uint16_t>(Type::kVolumes): return decode_volumes(bytes);
    case static_cast<std::uint16_t>(Type::kPacketReport): return decode_packet_report(bytes);
    case static_cast<std::uint16_t>(Type::kCounters): return decode_counters(bytes);
    case static_cast<std::uint16_t>(Type::kClaim):
    case static_cast<std::uint16_t>(Type::kDecline): return decode_offer(bytes);
    default: return Unexpected(Violation::kType);
  }
}

std::expected<FromBroker, Violation> decode_from_broker(base::Bytes bytes, base::Fd fd) {
  const auto header = CORDON_TRY(load_header(bytes));
  switch (header.type) {
    case static_cast<std::uint16_t>(Type::kGrant): return decode_grant(bytes, std::move(fd));
    case static_cast<std::uint16_t>(Type::kInbound): return decode_inbound(bytes, std::move(fd));
    case static_cast<std::uint16_t>(Type::kLateDatagram): return decode_late_datagram(bytes, fd);
    case static_cast<std::uint16_t>(Type::kReshape): return decode_reshape(bytes, fd);
    case static_cast<std::uint16_t>(Type::kRevoke):
    case static_cast<std::uint16_t>(Type::kRefuse): break;
    default: return Unexpected(Violation::kType);
  }
  const auto wire = CORDON_TRY(load<message::Refuse>(bytes));
  const auto id = CORDON_TRY(load_id(header));
  if (fd) return Unexpected(Violation::kDescriptor);
  if (!all_zero(wire.reserved)) return Unexpected(Violation::kReserved);
  const auto how = refuse_how(wire.how);
  if (!how) return Unexpected(Violation::kEnum);
  if (header.type == static_cast<std::uint16_t>(Type::kRevoke)) return FlowRevocation{id, *how};
  return FlowRefusal{id, *how};
}

}  // namespace cordon::sandbox
