// TcpDriver: performs what tcp::Connection decides, between frames and host sockets.
//
// Theory of operation.
// Guest -> host. In-order payload of consecutive segments of one flow is gathered as iovecs that point into
// the link's receive buffers, or where a frame has a tail into the guest's memory, and leaves in one writev()
// when another flow's turn comes or the batch ends; what the kernel does not take is copied to the flow's
// stash, as are out-of-order bytes. The advertised window never exceeds the stash reserved for the flow, so
// these copies always fit. EPOLLOUT is asked for when a stash becomes non-empty for the first time. Host ->
// guest. readv() into the flow's ring, super-segments by writev straight from it, kept until acknowledged.
// Polling. Sockets are edge-triggered and registered once. The re-arm rule: `readable` stays set until a read
// comes back short or empty; as long as it is set the flow is retried whenever the guest's window, the ring
// or the turn's byte budget lets it go on, without asking epoll again. After a hang-up or error only the read
// that returns 0 or an errno ends the reading, so everything queued is delivered before the end is told.
// Output works the same way with `writable`. Output to the guest is pulled once per flow and batch from the
// dirty list, so acknowledgements coalesce.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/icmp/guest_error.h"
#include "core/plane/context.h"
#include "core/tcp/connection.h"
#include "core/wire/packet.h"
#include "core/wire/tcp.h"

namespace cordon::plane {

class TcpDriver {
 public:
  explicit TcpDriver(Context& context);
  ~TcpDriver();
  TcpDriver(const TcpDriver&) = delete;
  TcpDriver& operator=(const TcpDriver&) = delete;

  // A segment of the guest; its frame stays valid until end_batch(). Returns the frame's outcome.
  [[nodiscard]] Counter on_segment(const flow::Tuple& tuple, const wire::Packet& packet);
  // Writes what was gathered and answers.
  void end_batch();

  void on_grant(std::uint32_t slot, base::Fd socket, std::uint32_t ring_limit);
  void on_refuse(std::uint32_t slot, flow::RefuseHow how);
  // A connection from outside: opens it towards the guest. False: no room, nothing was taken from `inbound`.
  [[nodiscard]] bool on_inbound(flow::Inbound& inbound);
  void on_revoke(std::uint32_t slot);
  void on_guest_error(std::uint32_t slot, const icmp::GuestError& error);
  void on_events(std::uint32_t slot, std::uint32_t events);
  // From the ready list: go on reading and writing.
  void on_ready(std::uint32_t slot);
  void on_timer(std::uint32_t slot);
  // Sends what the dirty flows owe the guest.
  void transmit_dirty();

  // Its MAC was not known; flows from outside may wait for it.
  void on_guest_known();
  [[nodiscard]] bool idle() const { return dirty_.empty(); }

 private:
  struct Flow {
    tcp::Connection connection;
    wire::FrameTemplate frame;
    ChunkQueue ring;
    ChunkQueue stash;
    std::uint32_t ring_bytes = 0;
    std::uint32_t ring_limit = 0;
    std::uint32_t stashed = 0;  // in-order bytes in the stash
    std::uint32_t credit = 0;
    std::uint32_t reserved = 0;  // chunks of the stash pool
    std::uint32_t guest_isn = 0;
    std::uint32_t taken = 0;  // bytes since the credit was last looked at
    base::Instant measured;
    std::uint32_t measured_out = 0, measured_in = 0;  // volumes then, modulo 2^32
    bool bulk = false;                                // of what the guest sends
    std::uint8_t dscp = 0;  // DSCP bits of the guest's segments, as the socket has them
    bool readable = false;
    bool hung_up = false;  // RDHUP, HUP or ERR seen: read to the end
    bool writable = true;
    bool wants_output = false;  // EPOLLOUT is registered
    bool shutdown_wanted = false;
    bool shutdown_done = false;
    bool host_ended = false;  // recv() gave 0 or an error
    bool ended = false;       // the connection is over towards the guest
    bool reset_host = false;
    flow::EndReason reason = flow::EndReason::kFin;
  };
  static constexpr std::size_t kGather = 256;
  static_assert(kGather > link::kMostPieces);
  static constexpr std::size_t kFromStash = 64;
  // A segment's payload: in the link's buffer first, then where the guest has it.
  struct Payload {
    base::Bytes start;
    std::span<const iovec> tail;
  };

  [[nodiscard]] Counter new_flow(const flow::Tuple& tuple, const wire::Packet& packet,
                                 const tcp::Segment& segment);
  void set_dscp(std::uint32_t slot, std::uint8_t traffic_class);
  // A slot with the memory of a new flow; nullopt: no room.
  struct Place {
    std::uint32_t slot;
    std::uint32_t credit;
    std::uint32_t chunks;
  };
  [[nodiscard]] std::optional<Place> open_place(const flow::Tuple& tuple);
  Flow& start(const Place& place, const flow::Tuple& tuple, const tcp::Connection& connection);
  [[nodiscard]] tcp::Config config_for(const flow::Tuple& tuple, std::uint32_t credit) const;
  [[nodiscard]] Counter stray(const flow::Tuple& tuple, const tcp::Segment& segment);
  void take_payload(std::uint32_t slot, const tcp::Deliver& deliver, const Payload& payload);
  void write_gathered();
  void write_stash(std::uint32_t slot);
  void after_write(std::uint32_t slot, int error);
  void keep(Flow& flow, std::uint32_t at, base::Bytes bytes);
  void grow_credit(Flow& flow);
  void measure(std::uint32_t slot);
  void read_host(std::uint32_t slot);
  void host_failed(std::uint32_t slot, int error);
  void apply(std::uint32_t slot, const tcp::Actions& actions);
  void flush_close(std::uint32_t slot);
  void transmit(std::uint32_t slot);
  [[nodiscard]] link::SendStatus send_segment(Flow& flow, const tcp::Transmit& out);
  void finish(std::uint32_t slot);
  void drop_memory(std::uint32_t slot);
  [[nodiscard]] net::SeqNum initial_sequence(const flow::Tuple& tuple) const;
  [[nodiscard]] std::uint16_t segment_limit(const flow::Tuple& tuple) const;

  Context& context_;
  base::Reserved<Flow> flows_;  // constructed while the slot holds a TCP flow
  SlotList dirty_;
  std::array<iovec, kGather> gather_{};
  std::size_t gathered_ = 0;
  std::uint32_t gather_slot_ = 0;
};

}  // namespace cordon::plane
