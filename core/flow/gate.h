// The gate: what the plane asks for when a guest starts a flow. One call per new flow, never per packet.
// The plane implements GateEvents; the process shell (channel to the broker, or a fake in tests) implements
// Gate.
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/bytes.h"
#include "core/base/fd.h"
#include "core/flow/types.h"
#include "core/net/mac_address.h"

namespace cordon::flow {

// Shaping of one flow. Flows of one shaper share its rate, which holds for each direction by itself. A flow
// may draw from two at once, its rule's and the whole guest's: what it sends is charged to both, and it waits
// for the emptier one.
struct Shaping {
  std::uint16_t shaper = 0;  // 0: not shaped; else 1..kMaxShapers, chosen by the broker
  std::uint16_t outer = 0;   // the second one; 0: none. Never equal to `shaper`, never alone.
  std::uint64_t rate = 0;    // bytes per second; the last grant's word counts for the whole shaper
  std::uint64_t outer_rate = 0;
  // Datagram flows under a byte budget: their volume is told each time so many bytes more have passed. 0:
  // only at the end.
  std::uint32_t report = 0;
  friend constexpr bool operator==(const Shaping&, const Shaping&) = default;
};
inline constexpr std::uint16_t kMaxShapers = 64;

// A connected socket, options already set by the broker (non-blocking, UDP_GRO, IP_RECVERR ...).
struct Grant {
  Id id;
  base::Fd socket;
  std::uint32_t path_mtu = 0;  // IP MTU of the path as the broker's kernel sees it; 0 = unknown
  std::uint32_t receive_window =
      0;  // TCP: bytes of host->guest ring this flow may use at most; 0 = plane's default
  Shaping shaping;
};

// A flow that came from outside to a published port. The broker has decided, opened and connected it; it
// lives under its offer number until the plane has claimed it for a slot or declined it.
struct Inbound {
  std::uint32_t offer = 0;  // never 0
  Tuple tuple;              // guest: where the forward leads; remote: the source as the guest sees it
  base::Fd socket;          // TCP: accepted; UDP: connected to the peer
  std::uint32_t path_mtu = 0;
  std::uint32_t receive_window = 0;
  Shaping shaping;
  base::Bytes first;  // UDP: the datagram that came first, valid during the call; TCP: empty
};

// Why a packet was dropped that never was a flow's.
enum class PacketDenial : std::uint8_t {
  kSource,     // not an address of the guest
  kMalformed,  // no sense in it
  kProtocol,   // not carried
  kGroup,      // for a multicast group or for everybody
  kNoRoom,     // a flow's first, and there is no slot
};

inline constexpr std::size_t kPacketDenials = 5;

// One of them, for the audit log. The worker reports some of a flood; its counters say how many there were.
struct PacketReport {
  PacketDenial why = PacketDenial::kSource;
  net::MacAddress source_mac;
  Tuple tuple;                   // as far as it could be read
  std::uint8_t ip_protocol = 0;  // of kProtocol
};

// One more datagram of an inbound UDP flow that reached the listener before the flow's own socket took over.
// For the guest it is like one that was read from the socket.
struct LateDatagram {
  Id id;
  base::Bytes payload;  // valid during the call
};

class Gate {
 public:
  virtual ~Gate() = default;
  // False: the channel is full. The caller keeps the request and tries again from on_gate_writable().
  [[nodiscard]] virtual bool request(Id id, const Tuple& tuple) = 0;
  // Ends the broker's half of the flow: the socket really closes only now. The plane has already removed its
  // fd from epoll and closed it. Also cancels a pending request. Same meaning of the result.
  [[nodiscard]] virtual bool close(Id id, CloseHow how, EndReason reason, const Volumes& volumes) = 0;
  // An inbound flow got a slot: from now on `id` names it as if it had been requested and granted, and it
  // ends by close(). Same meaning of the result.
  [[nodiscard]] virtual bool claim(Id id, std::uint32_t offer) = 0;
  // No slot for it (table full, the tuple is in use): the broker resets the peer's connection.
  [[nodiscard]] virtual bool decline(std::uint32_t offer) = 0;
  // What a flow has carried so far, where Shaping::report asks for it. Same meaning of the result.
  [[nodiscard]] virtual bool report_volumes(Id id, const Volumes& volumes) = 0;
  // Best effort: a full channel counts the loss.
  virtual void report_packet(const PacketReport& report) = 0;
};

class GateEvents {
 public:
  virtual ~GateEvents() = default;
  virtual void on_grant(Grant grant) = 0;
  virtual void on_refuse(Id id, RefuseHow how) = 0;
  // An offer that the broker has cut meanwhile is answered by on_revoke() after the claim.
  virtual void on_inbound(Inbound inbound) = 0;
  // Only after the flow was claimed. An unknown id (the flow has ended meanwhile) is dropped and counted.
  virtual void on_late_datagram(const LateDatagram& datagram) = 0;
  // The broker has already cut the socket; the plane tells the guest (RST / ICMP) and frees the slot, and
  // still sends close() so that the broker can drop its dup.
  virtual void on_revoke(Id id, RefuseHow how) = 0;
  // Other limits for a flow that goes on. An unknown id is dropped and counted.
  virtual void on_reshape(Id id, const Shaping& shaping) = 0;
  // Room in the channel again.
  virtual void on_gate_writable() = 0;
};

}  // namespace cordon::flow
