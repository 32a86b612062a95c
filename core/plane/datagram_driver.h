// DatagramDriver: UDP and echo flows between frames and connected sockets.
//
// Theory of operation.
// Guest -> host. A run of equally sized datagrams of one flow in a batch (the last may be shorter), or a USO
// super-frame, leaves as UDP_SEGMENT and one writev(). When the kernel refuses the segment size (path MTU),
// the run goes out one by one. datagram_marks.cc has hop limit, DSCP, ECN and path MTU. The first datagrams
// of a flow wait in a small queue until the grant. Host -> guest. recvmmsg() with UDP_GRO; runs of equal size
// become one USO super-frame where the link has USO; what exceeds the guest's MTU is cut into IP fragments.
// Errors come from the socket's error queue and become ICMP. Polling is edge-triggered with the same re-arm
// rule as TCP: `readable` stays set until a receive came back short.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>

#include "core/icmp/echo.h"
#include "core/icmp/guest_error.h"
#include "core/plane/context.h"
#include "core/udp/activity.h"
#include "core/udp/fragments.h"

namespace cordon::plane {

class DatagramDriver {
 public:
  explicit DatagramDriver(Context& context);
  ~DatagramDriver();
  DatagramDriver(const DatagramDriver&) = delete;
  DatagramDriver& operator=(const DatagramDriver&) = delete;

  // A datagram of the guest, or a super-frame when `gso_size` > 0. nullopt: its outcome is counted when the
  // run leaves, at the latest in end_batch(), until when the frame must stay valid.
  [[nodiscard]] std::optional<Counter> on_udp(const flow::Tuple& tuple, const wire::Packet& packet,
                                              base::Bytes payload, std::uint16_t gso_size);
  [[nodiscard]] Counter on_echo(const wire::Packet& packet, const icmp::Echo& echo);
  void end_batch() { write_run(); }

  void on_grant(std::uint32_t slot, base::Fd socket, std::uint32_t path_mtu);
  void on_refuse(std::uint32_t slot, flow::RefuseHow how);
  // A flow from outside with its first datagram. False: no room, or the tuple is in use; the datagram is
  // delivered by a flow that is open, all the same.
  [[nodiscard]] bool on_inbound(flow::Inbound& inbound);
  // One more datagram of such a flow that did not come by its socket.
  void on_late_datagram(std::uint32_t slot, base::Bytes payload);
  // In fragments where it exceeds the guest's MTU.
  void send_echo_reply(const wire::FrameTemplate& frame, std::uint16_t mtu, std::uint16_t identifier,
                       const icmp::Echo& echo);
  void on_revoke(std::uint32_t slot, flow::RefuseHow how);
  // As TcpDriver's.
  void on_guest_known();
  void on_guest_error(std::uint32_t slot, const icmp::GuestError& error);
  void on_events(std::uint32_t slot, std::uint32_t events);
  void on_ready(std::uint32_t slot);
  void on_timer(std::uint32_t slot);
  void trim() { receive_.discard(0, receive_.size()); }

 private:
  struct Flow {
    wire::FrameTemplate frame;
    udp::Activity activity;
    ChunkQueue pending;  // records: PendingHeader, payload
    std::uint32_t pending_bytes = 0;
    std::uint32_t pending_reserved = 0;  // chunks
    std::uint16_t pending_count = 0;
    std::uint16_t segment = 0;       // the socket's UDP_SEGMENT now
    std::uint8_t hop_limit = 0;      // the socket's TTL now; 0: never set
    std::uint8_t traffic_class = 0;  // the socket's now
    bool readable = false;
    std::uint16_t guest_mtu;     // towards the guest
    std::uint32_t path_mtu = 0;  // towards the remote; 0: unknown
  };
  // What of a packet's IP header goes on with its datagram.
  struct Marks {
    std::uint8_t hop_limit;  // as it leaves the gateway
    std::uint8_t traffic_class;
    bool dont_fragment;
  };
  struct PendingHeader {
    std::uint32_t length;
    std::uint16_t sequence;  // echo
    Marks marks;
  };
  enum class Sent : std::uint8_t { kYes, kFull, kTooBig, kRefusedSegment, kClosed };

  [[nodiscard]] std::optional<std::uint32_t> open_flow(
      const flow::Tuple& tuple, flow::Table::Origin origin = flow::Table::Origin::kGuest);
  // Full: which flow has to go for a newcomer of that origin.
  [[nodiscard]] std::optional<std::uint32_t> evictable(flow::Protocol protocol,
                                                       flow::Table::Origin origin) const;
  [[nodiscard]] std::optional<std::uint32_t> new_flow(const flow::Tuple& tuple);
  [[nodiscard]] bool hold(std::uint32_t slot, base::Bytes payload, std::uint16_t sequence, Marks marks);
  void send_pending(std::uint32_t slot);
  void drop_pending(Flow& flow);

  void write_run();
  void write_super(std::uint32_t slot, base::Bytes payload, std::uint16_t size);
  [[nodiscard]] Sent write_one(std::uint32_t slot, std::span<const iovec> parts, std::size_t size);
  void note_sent(std::uint32_t slot, std::size_t bytes, std::size_t datagrams);
  [[nodiscard]] Sent write_segmented(std::uint32_t slot, std::span<const iovec> parts, std::uint16_t size);
  [[nodiscard]] Sent write_raw(std::uint32_t slot, std::span<const iovec> parts, std::size_t size);
  [[nodiscard]] bool set_segment(std::uint32_t slot, std::uint16_t size);
  [[nodiscard]] static Marks marks_of(const wire::Packet& packet);
  void set_marks(std::uint32_t slot, Marks marks);
  // A datagram that must not be fragmented, longer than the path takes: tells the guest. True: it ends here.
  [[nodiscard]] bool too_long(std::uint32_t slot, base::Bytes known, std::size_t length,
                              std::uint16_t sequence);
  void count(Sent sent, std::uint64_t frames);

  void read_udp(std::uint32_t slot);
  void read_echo(std::uint32_t slot);
  int receive(std::uint32_t slot);
  void read_control(cmsghdr& control, std::size_t message);
  void drain_errors(std::uint32_t slot);
  [[nodiscard]] std::optional<net::IpAddress> reporter_for(
      const icmp::ErrorReport& report, const flow::Tuple& tuple,
      const std::optional<net::Endpoint>& offender) const;
  void deliver(std::uint32_t slot, base::Bytes payload);
  void to_guest(std::uint32_t slot, base::Bytes payload, std::size_t size, std::uint8_t traffic_class);
  void flush_to_guest();
  void send_fragments(udp::Fragments fragments);
  void finish(std::uint32_t slot, flow::CloseHow how, flow::EndReason reason);
  [[nodiscard]] udp::IdleLimits limits_for(std::uint32_t slot) const;

  static constexpr std::size_t kRun = 64;       // datagrams in one write or one super-frame
  static constexpr std::size_t kMessages = 32;  // of one recvmmsg()
  static constexpr std::size_t kBuffer = 65536;

  Context& context_;
  base::Reserved<Flow> flows_;  // constructed while the slot holds a datagram flow
  // The run that is being gathered from the guest's frames.
  std::array<iovec, kRun> run_{};
  std::size_t run_count_ = 0;
  std::size_t run_bytes_ = 0;
  std::uint32_t run_slot_ = 0;
  bool run_closed_ = false;  // its last datagram is shorter
  // The run that is being gathered for the guest.
  std::array<iovec, kRun + 1> out_{};  // [0]: headers
  std::size_t out_count_ = 0;
  std::size_t out_bytes_ = 0;
  std::uint32_t out_slot_ = 0;
  bool out_closed_ = false;
  base::Reserved<std::byte> receive_;
  std::array<std::size_t, kMessages> received_{};
  std::array<std::size_t, kMessages> segment_{};
  struct Seen {
    std::uint8_t hop_limit;
    std::uint8_t traffic_class;
  };
  std::array<Seen, kMessages> seen_{};
  std::uint32_t fragment_id_ = 0;
};

}  // namespace cordon::plane
