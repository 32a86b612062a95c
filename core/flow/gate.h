// The gate: what the plane asks for when a guest starts a flow. One call per new flow, never per packet.
// The plane implements GateEvents; the process shell (channel to the broker, or a fake in tests) implements
// Gate.
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/fd.h"
#include "core/flow/types.h"
#include "core/net/mac_address.h"

namespace cordon::flow {

// A connected socket, options already set by the broker (non-blocking, UDP_GRO, IP_RECVERR ...).
struct Grant {
  Id id;
  base::Fd socket;
  std::uint32_t path_mtu = 0;  // IP MTU of the path as the broker's kernel sees it; 0 = unknown
  std::uint32_t receive_window =
      0;  // TCP: bytes of host->guest ring this flow may use at most; 0 = plane's default
};

// A frame that was dropped because of its source address: audited by the broker, which aggregates.
struct SpoofReport {
  net::MacAddress source_mac;
  Tuple tuple;  // as far as it could be read
};

class Gate {
 public:
  virtual ~Gate() = default;
  // False: the channel is full. The caller keeps the request and tries again from on_gate_writable().
  [[nodiscard]] virtual bool request(Id id, const Tuple& tuple) = 0;
  // Ends the broker's half of the flow: the socket really closes only now. The plane has already removed its
  // fd from epoll and closed it. Also cancels a pending request. Same meaning of the result.
  [[nodiscard]] virtual bool close(Id id, CloseHow how, EndReason reason, const Volumes& volumes) = 0;
  // Best effort: a full channel counts the loss.
  virtual void report_spoof(const SpoofReport& report) = 0;
};

class GateEvents {
 public:
  virtual ~GateEvents() = default;
  virtual void on_grant(Grant grant) = 0;
  virtual void on_refuse(Id id, RefuseHow how) = 0;
  // The broker has already cut the socket; the plane tells the guest (RST / ICMP) and frees the slot, and
  // still sends close() so that the broker can drop its dup.
  virtual void on_revoke(Id id, RefuseHow how) = 0;
  // Room in the channel again.
  virtual void on_gate_writable() = 0;
};

}  // namespace cordon::flow
