#include "core/plane/counters.h"

#include <utility>

namespace cordon::plane {

std::string_view name(Counter counter) {
  switch (counter) {
    case Counter::kFramesFromGuest: return "frames_from_guest";
    case Counter::kToTcpFlow: return "to_tcp_flow";
    case Counter::kToUdpFlow: return "to_udp_flow";
    case Counter::kToIcmpFlow: return "to_icmp_flow";
    case Counter::kGuestErrors: return "guest_errors";
    case Counter::kAnsweredLocally: return "answered_locally";
    case Counter::kNewFlow: return "new_flow";
    case Counter::kStraySegment: return "stray_segment";
    case Counter::kDropMalformed: return "drop_malformed";
    case Counter::kDropOffload: return "drop_offload";
    case Counter::kDropEtherType: return "drop_ether_type";
    case Counter::kDropProtocol: return "drop_protocol";
    case Counter::kFragmentHeld: return "fragment_held";
    case Counter::kDropFragment: return "drop_fragment";
    case Counter::kDropSpoofed: return "drop_spoofed";
    case Counter::kDropMulticast: return "drop_multicast";
    case Counter::kDropBroadcast: return "drop_broadcast";
    case Counter::kIgnoredGroups: return "ignored_groups";
    case Counter::kDropHopLimit: return "drop_hop_limit";
    case Counter::kDropTableFull: return "drop_table_full";
    case Counter::kDropPendingFull: return "drop_pending_full";
    case Counter::kDropSocketFull: return "drop_socket_full";
    case Counter::kDropTooBig: return "drop_too_big";
    case Counter::kDropShaped: return "drop_shaped";
    case Counter::kDropFlowClosing: return "drop_flow_closing";
    case Counter::kDropLanBroken: return "drop_lan_broken";
    case Counter::kDropLanRelayed: return "drop_lan_relayed";
    case Counter::kDropLanRate: return "drop_lan_rate";
    case Counter::kDropLocal: return "drop_local";
    case Counter::kFramesToGuest: return "frames_to_guest";
    case Counter::kBytesToGuest: return "bytes_to_guest";
    case Counter::kBytesFromGuest: return "bytes_from_guest";
    case Counter::kLinkBusy: return "link_busy";
    case Counter::kLinkDropped: return "link_dropped";
    case Counter::kGuestUnknown: return "guest_unknown";
    case Counter::kIcmpErrorsSent: return "icmp_errors_sent";
    case Counter::kIcmpSuppressed: return "icmp_suppressed";
    case Counter::kResetsSent: return "resets_sent";
    case Counter::kHandedOver: return "handed_over";
    case Counter::kHandOverLostTcp: return "hand_over_lost_tcp";
    case Counter::kHandOverLostOther: return "hand_over_lost_other";
    case Counter::kFlowsRequested: return "flows_requested";
    case Counter::kFlowsGranted: return "flows_granted";
    case Counter::kFlowsRefused: return "flows_refused";
    case Counter::kFlowsRevoked: return "flows_revoked";
    case Counter::kFlowsClosed: return "flows_closed";
    case Counter::kFlowsInbound: return "flows_inbound";
    case Counter::kFlowsDeclined: return "flows_declined";
    case Counter::kFlowsEvicted: return "flows_evicted";
    case Counter::kGateBusy: return "gate_busy";
    case Counter::kStaleEvents: return "stale_events";
    case Counter::kRingStarved: return "ring_starved";
    case Counter::kStashRefused: return "stash_refused";
    case Counter::kPathMtuTold: return "path_mtu_told";
    case Counter::kFragmentsToGuest: return "fragments_to_guest";
    case Counter::kPacketReports: return "packet_reports";
    case Counter::kDatagramsLate: return "datagrams_late";
    case Counter::kDatagramsShaped: return "datagrams_shaped";
    case Counter::kDatagramsLost: return "datagrams_lost";
    case Counter::kCount: break;
  }
  return "unknown";
}

std::optional<flow::PacketDenial> denial_of(Counter counter) {
  using enum flow::PacketDenial;
  // The other outcomes are answered, of a flow, or about the link itself.
  constexpr std::array<std::pair<Counter, flow::PacketDenial>, 10> kDenials{
      {{Counter::kDropSpoofed, kSource},
       {Counter::kDropMalformed, kMalformed},
       {Counter::kDropOffload, kMalformed},
       {Counter::kDropFragment, kMalformed},
       {Counter::kDropLanBroken, kMalformed},
       {Counter::kDropEtherType, kProtocol},
       {Counter::kDropProtocol, kProtocol},
       {Counter::kDropMulticast, kGroup},
       {Counter::kDropBroadcast, kGroup},
       {Counter::kDropTableFull, kNoRoom}}};
  for (const auto& [outcome, why] : kDenials)
    if (outcome == counter) return why;
  return std::nullopt;
}

}  // namespace cordon::plane
