// What the drivers of one worker share: the table, timers, pools, counters, the way to the guest and to the
// gate.
//
// A flow's life as the gate sees it is its Phase. The gate's channel may be full at any moment: then the slot
// waits in `gate_waiting` and keeps what it has to say, so that no request and no close is lost; a slot whose
// close has not left yet stays in the table (and swallows packets) because its id is still known to the
// broker. A flow from outside is open from the start; its claim waits the same way, and always leaves before
// its close.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>

#include "core/base/fd.h"
#include "core/base/reserved.h"
#include "core/base/token_bucket.h"
#include "core/flow/gate.h"
#include "core/flow/table.h"
#include "core/icmp/errors.h"
#include "core/link/link.h"
#include "core/loop/poller.h"
#include "core/loop/timer_wheel.h"
#include "core/plane/chunks.h"
#include "core/plane/config.h"
#include "core/plane/counters.h"
#include "core/plane/shapers.h"
#include "core/plane/slot_list.h"
#include "core/wire/frame_builder.h"

namespace cordon::plane {

enum class Phase : std::uint8_t {
  kAsking,   // the request has not left yet
  kAsked,    // waiting for grant or refusal
  kOpen,     // has a socket
  kClosing,  // ended; the close message has not left yet
};

struct FlowCommon {
  Phase phase = Phase::kAsking;
  flow::CloseHow how = flow::CloseHow::kGraceful;
  flow::EndReason reason = flow::EndReason::kFin;
  bool bulk = false;        // moves much, in whichever direction
  std::uint32_t offer = 0;  // from outside, and the claim has not left yet
  ShaperIds shaping;
  std::uint32_t report_every = 0;  // flow::Shaping::report
  base::Fd socket;
  flow::Volumes volumes;
  std::uint64_t reported = 0;  // bytes the gate was told of
};

class Context {
 public:
  Context(const WorkerConfig& config, link::Link& link, flow::Gate& gate, base::Instant now);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // --- flows
  // A slot in phase kAsking; ask() it when the driver's part is ready. nullopt: no room (counted by the
  // caller).
  [[nodiscard]] std::optional<std::uint32_t> open_slot(const flow::Tuple& tuple,
                                                       flow::Table::Origin origin = {});
  void ask(std::uint32_t slot);
  // The socket arrived: registers it for `events`. False: epoll refused it.
  [[nodiscard]] bool attach(std::uint32_t slot, base::Fd socket, std::uint32_t events);
  // The same in two steps.
  void adopt(std::uint32_t slot, base::Fd socket);
  [[nodiscard]] bool watch(std::uint32_t slot, std::uint32_t events);
  // A flow from outside: tells the gate that `slot` is its name from now on.
  void claim(std::uint32_t slot, std::uint32_t offer);
  void decline(std::uint32_t offer);
  void shape(std::uint32_t slot, const flow::Shaping& shaping) {
    flows[slot].shaping = shapers.adopt(shaping, now);
    flows[slot].report_every = shaping.report;
  }
  // The same for one that lives already: it may stand in another line, or in none.
  void reshape(std::uint32_t slot, const flow::Shaping& shaping);
  // After a datagram flow's volumes grew.
  void report_volumes(std::uint32_t slot) {
    if (flows[slot].report_every != 0) tell_volumes(slot);
  }
  // How many of `wanted` bytes of a stream may pass now; the flow is served later when that is not all.
  [[nodiscard]] std::uint32_t allowance(std::uint32_t slot, Direction direction, std::uint32_t wanted) {
    const ShaperIds ids = flows[slot].shaping;
    return ids ? shapers.allowance(slot, ids, direction, wanted, now) : wanted;
  }
  void charge(std::uint32_t slot, Direction direction, std::uint64_t bytes) {
    if (const ShaperIds ids = flows[slot].shaping) shapers.charge(ids, direction, bytes, now);
  }
  // A datagram; false: the rate is used up, and it is to be dropped.
  [[nodiscard]] bool pass(std::uint32_t slot, Direction direction, std::uint64_t bytes) {
    const ShaperIds ids = flows[slot].shaping;
    return !ids || shapers.pass(ids, direction, bytes, now);
  }
  // Ends the gate's and the kernel's part: epoll first, then the fd, then the message. The driver's part is
  // gone already.
  void close_slot(std::uint32_t slot, flow::CloseHow how, flow::EndReason reason);
  // Frees a slot the gate knows nothing of (any more): a refused flow.
  void free_slot(std::uint32_t slot);
  // Closes leave together: with the next request, when nothing happens any more, or after a moment. A close
  // of its own costs the broker a wake-up, and nobody waits for it.
  void tell_closes();
  [[nodiscard]] bool closes_overdue() const { return !closes_.empty() && now >= closes_due_; }
  void retry_gate();
  // `visit` may end the flow it is called for, and no other.
  template <class Visit>
  void for_each_live(Visit visit) {
    std::uint32_t left = table.size();
    for (std::uint32_t slot = 0; slot < table.capacity() && left > 0; ++slot) {
      if (!table.live(table.id(slot))) continue;
      --left;
      visit(slot);
    }
  }
  [[nodiscard]] bool open(std::uint32_t slot) const { return flows[slot].phase == Phase::kOpen; }

  // --- turns
  // A flow that has the worker for itself works in large steps; as soon as another one stirs, in small ones,
  // because a step is what the other has to wait for. Bulk flows wait for each other: small steps would only
  // cost them throughput.
  void note_active(std::uint32_t slot) {
    if (slot == active_slot_) return;
    const bool bulk = flows[slot].bulk;
    if (!bulk || !active_bulk_) shared_until_ = now + kSharedFor;
    active_slot_ = slot;
    active_bulk_ = bulk;
  }
  [[nodiscard]] bool shared() const { return now < shared_until_; }

  // --- to the guest
  link::SendStatus send(const link::Offload& offload, std::span<const iovec> parts);
  // One finished frame with full checksums.
  link::SendStatus send_frame(base::Bytes frame);
  void send_error(const wire::Packet& offending, const icmp::ErrorReport& report);
  // `from`: the router that reported, when it is known and of the right family.
  void send_flow_error(const flow::Tuple& tuple, const icmp::ErrorReport& report, base::Bytes payload,
                       std::uint32_t payload_length, std::uint32_t sequence = 0,
                       std::optional<net::IpAddress> from = {});
  // Only of a guest whose MAC is learnt it may be unknown; nothing but groups can be sent to it then.
  [[nodiscard]] bool knows_guest() const { return config.lan.guest_mac != net::MacAddress{}; }
  [[nodiscard]] wire::FrameTemplate frame_template(const flow::Tuple& tuple, wire::IpProtocol protocol) const;
  // Asked for each time: a virtual machine negotiates them, and may do so again.
  [[nodiscard]] link::Capabilities capabilities() const { return link.capabilities(); }
  [[nodiscard]] wire::ChecksumMode checksum_mode() const {
    return capabilities().checksum ? wire::ChecksumMode::kPartial : wire::ChecksumMode::kFull;
  }
  [[nodiscard]] std::size_t ip_header(const flow::Tuple& tuple) const {
    return tuple.guest.address.is_v6() ? 40 : 20;
  }

  WorkerConfig config;  // does not change, but for the guest's MAC (Ingress::learn_guest)
  link::Link& link;
  flow::Gate& gate;
  base::Instant now;  // of this turn
  Counters counters;
  flow::Table table;
  loop::TimerWheel timers;  // one for each slot, then those of the shapers
  loop::Poller poller;
  base::Reserved<FlowCommon> flows;  // constructed while the table's slot is live
  ShaperBank own_shapers;            // unless the configuration names a shared one
  Shapers shapers;
  ChunkPool ring_pool;
  ChunkPool stash_pool;
  SlotList ready;         // host sockets with something to read (or to write), next in turn
  SlotList starved;       // wait for chunks of the ring pool
  SlotList gate_waiting;  // requests and closes that wait for room in the channel
  bool link_blocked = false;
  bool guest_wanted = false;  // something could not be sent for want of its MAC
  base::TokenBucket resets{1000, 200};
  std::array<base::TokenBucket, flow::kPacketDenials> packet_reports{
      {{20, 20}, {20, 20}, {20, 20}, {20, 20}, {20, 20}}};
  icmp::ErrorLimiter error_limiter;

 private:
  static constexpr base::Duration kSharedFor = std::chrono::milliseconds{2};
  [[nodiscard]] net::IpAddress reporter(net::Family family) const;
  [[nodiscard]] link::SendStatus want_guest();
  bool tell_gate(std::uint32_t slot);
  void tell_volumes(std::uint32_t slot);
  std::uint32_t active_slot_ = UINT32_MAX;
  bool active_bulk_ = false;
  base::Instant shared_until_;

  static constexpr base::Duration kHoldCloses = std::chrono::milliseconds{1};
  static constexpr std::uint32_t kMostCloses = 32;
  SlotList closes_;
  base::Instant closes_due_;

  // Declined offers that wait for room in the channel. The channel itself holds fewer messages than this.
  static constexpr std::uint32_t kMaxDeclines = 4096;
  base::Reserved<std::uint32_t> declines_;
  std::uint32_t first_decline_ = 0;
  std::uint32_t waiting_declines_ = 0;
};

}  // namespace cordon::plane
