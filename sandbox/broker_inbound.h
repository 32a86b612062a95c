// Flows from outside: published ports, offers, peers.
//
// A connection or a datagram of a new peer is judged like a flow of the guest's, by the rules under
// `ingress`. What is allowed becomes an offer: the socket goes to the translator under an offer number, and
// lives in the broker's books as a flow without a slot. A claim gives it its slot, from then on it is a flow
// like any other (it is reviewed, cut and closed by the same code); a decline resets the peer. Each offer is
// answered exactly once: one that was cut before its answer stays here until then, and a claim of it is
// answered by a revocation. An offer is part of every limit like a flow, and has a time in which to be
// answered: a translator that leaves one open for longer breaks the protocol.
//
// UDP: the listening socket hears every peer. The first datagram of one opens a socket of its own, bound to
// the very address the datagram was sent to and connected to its sender; the kernel prefers it from then on.
// What the listener had received before is sent after it (LateDatagram), a bounded amount.
//
// Back-pressure: listeners hang in an epoll set of their own inside of the broker's. That set is left out
// while there is no translator, while offers wait for room in a channel or for answers, while descriptors are
// short or connections come too fast: they then wait in the kernel's backlog. New inbound flows have a budget
// of their own, and never more than three quarters of the flow table, so that outside cannot starve inside.
// UDP peers are forged easily: a port has so many at a time and no more. The translator has two bounds of its
// own: a quarter of its UDP flows, among which newcomers evict each other only (core/flow/table.h).
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "core/base/time.h"
#include "core/base/token_bucket.h"
#include "core/net/prefix.h"
#include "sandbox/broker_listen.h"
#include "sandbox/broker_table.h"

namespace cordon::sandbox {

// The guest's side of one family, as far as a source address may collide with it.
struct GuestLink {
  net::Prefix on_link;
  net::IpAddress gateway;
  net::IpAddress dns;
  std::vector<net::IpAddress> guest;
};

struct InboundOptions {
  std::vector<ForwardRule> rules;
  std::vector<GuestLink> links;  // at most one of each family
  std::uint32_t max_offers = 1024;
  base::Duration offer_patience = std::chrono::seconds{5};
  std::uint32_t new_flows_per_second = 20'000;
  std::uint32_t new_flows_burst = 8'192;
  // UDP, for each port: a flood of forged sources costs no more than this.
  std::uint32_t max_peers = 1024;  // at a time
  std::uint32_t new_peers_per_second = 500;
  std::uint32_t new_peers_burst = 256;
};

struct InboundCounters {
  std::uint64_t offered = 0;
  std::uint64_t claimed = 0;
  std::uint64_t declined = 0;
  std::uint64_t denied = 0;
  std::uint64_t limited = 0;
  std::uint64_t late_datagrams = 0;
  std::uint64_t dropped_datagrams = 0;  // no room, too many new peers, broadcast, or their flow was cut
  std::uint64_t pauses = 0;
  std::uint64_t timed_out = 0;  // offers without an answer, or without room in the channel
};

struct Offer {
  BrokerFlow flow;  // as it will lie in the table
  std::uint32_t path_mtu = 0;
  bool sent = false;      // else it waits for room in the channel
  bool reshaped = false;  // since it was sent
  std::optional<Verdict> cut;
  Cut why = Cut::kVerdict;
  base::Instant since;                       // made, or sent
  std::vector<std::byte> first;              // UDP
  std::vector<std::vector<std::byte>> late;  // UDP
};

struct PeerRef {
  std::uint32_t offer = 0;  // 0: claimed
  flow::Id id;
};

struct Inbound {
  Inbound(InboundOptions given, std::vector<Listener> opened);

  InboundOptions options;
  std::vector<Listener> listeners;
  std::vector<std::uint32_t> udp_by_port;  // indices of listeners
  base::Fd epoll;
  base::TokenBucket new_flows;
  std::map<std::uint32_t, Offer> offers;
  std::map<InboundPeer, PeerRef> peers;  // UDP
  std::set<flow::Tuple> shown;           // tuples whose source is not the peer's own
  std::vector<std::byte> datagram;       // what was just received
  std::size_t late_bytes = 0;            // in all offers
  std::uint32_t next_offer = 1;
  std::uint32_t next_port = 0;  // of the gateway's, for sources that collide
  std::uint32_t flows = 0;      // offered and claimed
  base::Instant paused_until = base::Instant::from_nanos(INT64_MIN / 2);
  base::Instant offers_due = base::Instant::never();  // when to look for one that waits too long
  base::Instant overdue_since = base::Instant::never();
  bool watched = false;
  InboundCounters counters;
};

}  // namespace cordon::sandbox
