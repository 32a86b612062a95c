// The channel between translator and broker: fixed-size, versioned plain structs over SOCK_SEQPACKET, one
// message per packet, exact length checked. Both ends run the same binary on the same machine, so integers
// are host order; address bytes are network order. The broker treats every field as hostile: channel.h turns
// bytes into checked values. fds travel only from broker to translator, exactly one with a Grant, none with
// anything else.
#pragma once

#include <array>
#include <cstdint>

namespace cordon::sandbox::message {

inline constexpr std::uint16_t kVersion = 1;

enum class Type : std::uint16_t {
  kFlowRequest = 1,  // translator -> broker
  kClose = 2,        // translator -> broker
  kSpoofReport = 3,  // translator -> broker
  kCounters = 4,     // translator -> broker
  kGrant = 16,       // broker -> translator, one fd
  kRefuse = 17,      // broker -> translator
  kRevoke = 18,      // broker -> translator; a RefuseHow
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
struct SpoofReport {
  Header header;  // slot and generation zero
  WireTuple tuple;
  std::array<std::uint8_t, 6> mac{};
  std::array<std::uint8_t, 2> reserved{};
};
inline constexpr std::size_t kCounterCount = 48;
struct Counters {
  Header header;  // slot and generation zero
  std::uint32_t reserved = 0;
  std::array<std::uint64_t, kCounterCount> values{};  // indexed by plane::Counter; totals since start
};
struct Grant {
  Header header;
  std::uint32_t path_mtu = 0;
  std::uint32_t receive_window = 0;
};
struct Refuse {
  Header header;
  std::uint8_t how = 0;  // flow::RefuseHow
  std::array<std::uint8_t, 3> reserved{};
};

}  // namespace cordon::sandbox::message
