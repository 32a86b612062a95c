// The channel between translator and broker, typed.
//
// messages.h fixes the bytes; here they become values that cannot be wrong: exact length, version, type,
// every enum in range, reserved and unused bytes zero, one family per tuple, ports that can exist. What does
// not decode is a protocol violation: our own translator never produces one, so the broker takes it as a
// captured translator and has it killed (control.h KillTranslator). A full channel is back-pressure
// (SendStatus::kFull), never a lost request. Descriptors travel only towards the translator, exactly one with
// a Grant or an Inbound.
//
// The only leniency: a request whose ports cannot exist (0 for TCP and UDP; a guest can write that into a
// header) is answered with Refuse{kDrop} inside BrokerChannel::receive() and never seen by the caller.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string_view>
#include <variant>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/reserved.h"
#include "core/flow/gate.h"
#include "core/flow/types.h"
#include "sandbox/messages.h"
#include "sandbox/packet_socket.h"

namespace cordon::sandbox {

struct ChannelPair {
  base::Fd broker;
  base::Fd translator;
};
// The broker's end refuses descriptors in the kernel where that exists (SO_PASSRIGHTS, Linux 6.16).
[[nodiscard]] base::Result<ChannelPair> make_channel_pair();

enum class Violation : std::uint8_t {
  kLength,
  kVersion,
  kType,
  kSlotOrGeneration,
  kProtocol,
  kFamily,
  kReserved,
  kAddressPadding,
  kPort,
  kEnum,
  kDescriptor,  // one too many, or none where one is due
  kOffer,       // an offer that was not made, or was answered before
  kUncut,       // no breach: the kernel did not let the broker take a socket from it
};
[[nodiscard]] std::string_view to_string(Violation violation);

// --- what the broker reads ---
struct FlowRequest {
  flow::Id id;        // generation is never 0
  flow::Tuple tuple;  // TCP, UDP: both ports non-zero; echo: guest port = identifier, remote port = 0
};
struct FlowClose {
  flow::Id id;
  flow::CloseHow how = flow::CloseHow::kGraceful;
  flow::EndReason reason = flow::EndReason::kFin;
  flow::Volumes volumes;
};
using CounterValues = std::array<std::uint64_t, message::kCounterCount>;
struct CounterReport {
  CounterValues values{};  // totals since the translator started
};
struct FlowVolumes {
  flow::Id id;  // generation is never 0
  flow::Volumes volumes;
};
struct FlowClaim {
  flow::Id id;              // generation is never 0
  std::uint32_t offer = 0;  // never 0
};
struct FlowDecline {
  std::uint32_t offer = 0;  // never 0
};
using FromTranslator = std::variant<FlowRequest, FlowClose, flow::PacketReport, CounterReport, FlowClaim,
                                    FlowDecline, FlowVolumes>;

// --- what the translator reads ---
struct FlowRefusal {
  flow::Id id;
  flow::RefuseHow how = flow::RefuseHow::kReject;
};
struct FlowRevocation {
  flow::Id id;
  flow::RefuseHow how = flow::RefuseHow::kReject;
};
struct FlowReshape {
  flow::Id id;
  flow::Shaping shaping;
};
using FromBroker =
    std::variant<flow::Grant, FlowRefusal, FlowRevocation, flow::Inbound, flow::LateDatagram, FlowReshape>;

// An inbound flow as the broker offers it; the socket and the datagram are separate arguments.
struct InboundOffer {
  std::uint32_t offer = 0;
  flow::Tuple tuple;
  std::uint32_t path_mtu = 0;
  std::uint32_t receive_window = 0;
  flow::Shaping shaping;
};

// Bytes to values; pure. `decode_from_broker` takes the descriptor that came along (or none) and closes what
// it refuses; payloads in its result are views of `bytes`.
[[nodiscard]] std::expected<FromTranslator, Violation> decode_from_translator(base::Bytes bytes);
[[nodiscard]] std::expected<FromBroker, Violation> decode_from_broker(base::Bytes bytes, base::Fd fd);

// UDP port 0 would leave a connected socket open to every source port of its peer; TCP port 0 does not exist.
[[nodiscard]] bool ports_can_exist(const flow::Tuple& tuple);

enum class ReceiveStop : std::uint8_t {
  kEmpty,     // nothing now
  kClosed,    // the other end is gone
  kViolation  // see violation(); the channel is not to be used any more
};

// The broker's end. Call receive() until it stops (bounded by the caller, the socket is level-triggered).
class BrokerChannel {
 public:
  explicit BrokerChannel(base::Fd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] std::expected<FromTranslator, ReceiveStop> receive();
  // `socket` is duplicated by the kernel; the broker keeps its own.
  [[nodiscard]] SendStatus send_grant(flow::Id id, int socket, std::uint32_t path_mtu,
                                      std::uint32_t receive_window, const flow::Shaping& shaping = {});
  // `first`: UDP's first datagram, which may be empty; TCP: empty.
  [[nodiscard]] SendStatus send_inbound(const InboundOffer& offer, int socket, base::Bytes first);
  [[nodiscard]] SendStatus send_late_datagram(flow::Id id, base::Bytes payload);
  [[nodiscard]] SendStatus send_refuse(flow::Id id, flow::RefuseHow how);
  [[nodiscard]] SendStatus send_revoke(flow::Id id, flow::RefuseHow how);
  [[nodiscard]] SendStatus send_reshape(flow::Id id, const flow::Shaping& shaping);

  [[nodiscard]] int poll_fd() const { return fd_.get(); }
  [[nodiscard]] Violation violation() const { return violation_; }
  [[nodiscard]] std::uint64_t impossible_requests() const { return impossible_requests_; }

 private:
  base::Fd fd_;
  Violation violation_ = Violation::kLength;
  std::uint64_t impossible_requests_ = 0;
};

// The translator's end: flow::Gate over the channel. The worker polls poll_fd() for input always and for
// output while wants_write(); then it calls dispatch(). No heap, no allocation after construction.
class ChannelGate final : public flow::Gate {
 public:
  explicit ChannelGate(base::Fd fd);

  [[nodiscard]] bool request(flow::Id id, const flow::Tuple& tuple) override;
  [[nodiscard]] bool close(flow::Id id, flow::CloseHow how, flow::EndReason reason,
                           const flow::Volumes& volumes) override;
  [[nodiscard]] bool claim(flow::Id id, std::uint32_t offer) override;
  [[nodiscard]] bool decline(std::uint32_t offer) override;
  [[nodiscard]] bool report_volumes(flow::Id id, const flow::Volumes& volumes) override;
  void report_packet(const flow::PacketReport& report) override;
  // best effort, like a packet report.
  [[nodiscard]] bool send_counters(const CounterValues& values);

  enum class Status : std::uint8_t { kOpen, kClosed };
  // Delivers at most `budget` messages to `events`, and on_gate_writable() when a full channel has room
  // again.
  [[nodiscard]] Status dispatch(flow::GateEvents& events, bool writable, unsigned budget = 256);

  [[nodiscard]] int poll_fd() const { return fd_.get(); }
  [[nodiscard]] bool wants_write() const { return blocked_; }
  [[nodiscard]] std::uint64_t lost_reports() const { return lost_reports_; }

 private:
  [[nodiscard]] bool send(base::Bytes bytes);
  void deliver(FromBroker& message, flow::GateEvents& events);

  base::Fd fd_;
  base::Reserved<std::byte> buffer_;  // one message
  bool blocked_ = false;
  bool closed_ = false;
  std::uint64_t lost_reports_ = 0;
};

}  // namespace cordon::sandbox
