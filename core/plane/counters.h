// Counters of the data path: one enumerator per outcome, so that "what happened to each frame" always adds
// up: kFramesFromGuest = the sum of every `is_frame_outcome` counter (a test holds us to it).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/flow/gate.h"

namespace cordon::plane {

enum class Counter : std::uint8_t {
  kFramesFromGuest,  // every frame the link delivered
  // --- outcomes: each received frame ends in exactly one of these
  kToTcpFlow,        // handed to a TCP machine
  kToUdpFlow,        // forwarded to (or queued for) a UDP socket
  kToIcmpFlow,       // echo request forwarded to (or queued for) a ping socket
  kGuestErrors,      // ICMP error of the guest about a packet of ours: heeded
  kAnsweredLocally,  // ARP, neighbour discovery, DHCP, gateway echo
  kNewFlow,          // first packet of a flow: asked the gate
  kStraySegment,     // TCP without a flow: answered by RST or ignored
  kDropMalformed,    // a header that is truncated, contradictory or has a bad checksum
  kDropOffload,      // impossible offload metadata
  kDropEtherType,    // neither IPv4, IPv6 nor ARP
  kDropProtocol,     // IP protocol that is not translated
  kFragmentHeld,     // kept until the rest of its datagram is there
  kDropFragment,     // overlapping, contradictory, or of a datagram that is malformed as a whole
  kDropSpoofed,      // source MAC or address not assigned to this guest
  kDropMulticast,    // multicast destination: never forwarded (mDNS, SSDP ...)
  kDropBroadcast,    // broadcast destination, limited or of the guest's subnet, or nobody's
  kIgnoredGroups,    // IGMP, MLD: nobody here routes groups
  kDropHopLimit,     // TTL 1 for a destination beyond the gateway: time exceeded
  kDropTableFull,    // no slot, or the protocol's cap
  kDropPendingFull,  // queue of a flow still waiting for its grant is full
  kDropSocketFull,   // the host socket's buffer is full (datagrams)
  kDropTooBig,       // datagram the host kernel will not send
  kDropShaped,       // datagram over the flow's rate
  kDropFlowClosing,  // for a flow that is being ended, or refused silently a moment ago
  kDropLanBroken,    // ARP, neighbour discovery, DHCP or DHCPv6: malformed behind its IP or UDP header
  kDropLanRelayed,   // DHCP that came by a relay: there is none on this link
  kDropLanRate,      // more questions to the link's services than are answered
  kDropLocal,        // message to the link that needs no answer
  // --- to the guest
  kFramesToGuest,
  kBytesToGuest,
  kBytesFromGuest,
  kLinkBusy,        // the link could not take a frame now; it was kept
  kLinkDropped,     // the link refused a frame
  kGuestUnknown,    // the guest's MAC is not known yet: lost, and asked for
  kIcmpErrorsSent,  // ICMP errors made for the guest
  kIcmpSuppressed,  // ICMP errors or RSTs withheld by the rate limit
  kResetsSent,      // RST for segments without a flow
  // --- between workers; the owner counts the frame as from the guest
  kHandedOver,         // read by this worker, given to the one who owns the flow
  kHandOverLostTcp,    // the ring was full: TCP, the guest sends it again
  kHandOverLostOther,  // the ring was full: anything else
  // --- flows
  kFlowsRequested,
  kFlowsGranted,
  kFlowsRefused,
  kFlowsRevoked,
  kFlowsClosed,
  kFlowsInbound,      // from outside, claimed
  kFlowsDeclined,     // from outside, no room or the tuple is in use
  kFlowsEvicted,      // idle datagram flows ended to make room
  kGateBusy,          // channel full: the message waits
  kStaleEvents,       // event or answer for a slot that was reused
  kRingStarved,       // reading from the host paused: the guest's ring budget is used up
  kStashRefused,      // credit could not grow: the pool is reserved
  kPathMtuTold,       // datagrams of the guest that the path does not take whole
  kFragmentsToGuest,  // datagrams cut into IP fragments for a small MTU
  kPacketReports,
  kDatagramsLate,    // reached an inbound flow's listener, not its socket
  kDatagramsShaped,  // to the guest: over the flow's rate
  kDatagramsLost,    // waited for a grant, then could not be sent
  kCount
};

inline constexpr std::size_t kCounters = static_cast<std::size_t>(Counter::kCount);
static_assert(kCounters <= 96);  // sandbox/messages.h kCounterCount

[[nodiscard]] std::string_view name(Counter counter);
[[nodiscard]] constexpr bool is_frame_outcome(Counter counter) {
  return counter >= Counter::kToTcpFlow && counter <= Counter::kDropLocal;
}

// The outcomes that deny a packet which is no flow's, and so are accounted for by the audit log.
[[nodiscard]] std::optional<flow::PacketDenial> denial_of(Counter counter);

class Counters {
 public:
  void add(Counter counter, std::uint64_t n = 1) { values_[static_cast<std::size_t>(counter)] += n; }
  [[nodiscard]] std::uint64_t get(Counter counter) const {
    return values_[static_cast<std::size_t>(counter)];
  }
  [[nodiscard]] const std::array<std::uint64_t, kCounters>& values() const { return values_; }

 private:
  std::array<std::uint64_t, kCounters> values_{};
};

}  // namespace cordon::plane
