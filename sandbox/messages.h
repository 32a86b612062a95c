// The channel between translator and broker: fixed-size, versioned plain structs over SOCK_SEQPACKET, one
// message per packet, exact length checked. Both ends run the same binary on the same machine, so integers
// are host order; address bytes are network order. The broker treats every field as hostile: channel.h turns
// bytes into checked values. fds travel only from broker to translator, exactly one with a Grant and with an
// Inbound, none with anything else. Two messages have a tail: the payload of a UDP datagram follows Inbound
// (the one that opened the flow) and LateDatagram, and its size is a field.
#pragma once

#include <array>
#include <cstdint>

namespace cordon::sandbox::message {

inline constexpr std::uint16_t kVersion = 3;

enum class Type : std::uint16_t {
  kFlowRequest = 1,    // translator -> broker
  kClose = 2,          // translator -> broker
  kPacketReport = 3,   // translator -> broker
  kCounters = 4,       // translator -> broker
  kClaim = 5,          // translator -> broker: the header names the slot for an offer
  kDecline = 6,        // translator -> broker; slot and generation zero
  kVolumes = 7,        // translator -> broker; a live datagram flow under a byte budget
  kGrant = 16,         // broker -> translator, one fd
  kRefuse = 17,        // broker -> translator
  kRevoke = 18,        // broker -> translator; a RefuseHow
  kInbound = 19,       // broker -> translator, one fd; slot and generation zero
  kLateDatagram = 20,  // broker -> translator, for a flow that was claimed
  kReshape = 21,       // broker -> translator: other limits for a flow that goes on
};

struct Header {
  std::uint16_t version = kVersion;
  std::uint16_t type = 0;
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
};

// Addresses in 16 bytes: IPv4 uses the first four, the rest zero.
struct WireTuple {
  std::uint8_t protocol = 0;  // flow::Protocol
  std::uint8_t family = 0;    // net::Family
  std::uint16_t guest_port = 0;
  std::uint16_t remote_port = 0;
  std::uint16_t reserved = 0;  // zero
  std::array<std::uint8_t, 16> guest{};
  std::array<std::uint8_t, 16> remote{};
};

struct FlowRequest {
  Header header;
  WireTuple tuple;
};
struct Close {
  Header header;
  std::uint8_t how = 0;     // flow::CloseHow
  std::uint8_t reason = 0;  // flow::EndReason
  std::array<std::uint8_t, 2> reserved{};
  std::uint64_t bytes_from_guest = 0;
  std::uint64_t bytes_to_guest = 0;
  std::uint64_t datagrams_from_guest = 0;
};
struct Volumes {
  Header header;
  std::uint32_t reserved = 0;
  std::uint64_t bytes_from_guest = 0;
  std::uint64_t bytes_to_guest = 0;
  std::uint64_t datagrams_from_guest = 0;
};
struct PacketReport {
  Header header;  // slot and generation zero
  WireTuple tuple;
  std::array<std::uint8_t, 6> mac{};
  std::uint8_t why = 0;          // flow::PacketDenial
  std::uint8_t ip_protocol = 0;  // only with kProtocol
};
inline constexpr std::size_t kCounterCount = 96;
struct Counters {
  Header header;  // slot and generation zero
  std::uint32_t reserved = 0;
  std::array<std::uint64_t, kCounterCount> values{};  // indexed by plane::Counter; totals since start
};
struct Offer {  // kClaim, kDecline
  Header header;
  std::uint32_t offer = 0;  // never 0
};
struct Shaping {
  std::uint16_t shaper = 0;             // 0: not shaped, and all is 0; else at most flow::kMaxShapers
  std::uint16_t outer = 0;              // 0: none, and its rate is 0; another one than `shaper`
  std::array<std::uint32_t, 2> rate{};  // bytes per second, low half first
  std::array<std::uint32_t, 2> outer_rate{};
  std::uint32_t report = 0;  // flow::Shaping::report
};
struct Grant {
  Header header;
  std::uint32_t path_mtu = 0;
  std::uint32_t receive_window = 0;
  Shaping shaping;
};
struct Reshape {
  Header header;
  Shaping shaping;
};
struct Inbound {
  Header header;
  std::uint32_t offer = 0;  // never 0
  WireTuple tuple;          // TCP or UDP; both ports non-zero
  std::uint32_t path_mtu = 0;
  std::uint32_t receive_window = 0;
  Shaping shaping;
  std::uint32_t payload = 0;  // bytes that follow; TCP: 0
};
struct LateDatagram {
  Header header;
  std::uint32_t payload = 0;  // bytes that follow
};
// The longest UDP payload there is: 65,535 less the header's 8 (RFC 768); IPv4 carries 20 less.
inline constexpr std::uint32_t kMaxPayload = 65527;
struct Refuse {
  Header header;
  std::uint8_t how = 0;  // flow::RefuseHow
  std::array<std::uint8_t, 3> reserved{};
};

}  // namespace cordon::sandbox::message
