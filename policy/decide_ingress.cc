// The order for a connection from outside:
//   1 target        not an address of the guest                               -> special-address
//   2 peer          un-map, un-embed; a wrapping we cannot read               -> embedded-ipv4
//   3 floor         a source nobody can have (unspecified, multicast, broadcast, reserved), or one of ours in
//                   an IPv6 wrapping -> special-address; another guest -> tenant-isolation; a metadata
//                   endpoint -> metadata; no unicast route back -> route-blocked. No file opens any of these.
//   4 files         as for egress, by the rules under `ingress`
// The peer's route need not be an uplink: what reaches a listening socket was let in by the host's own
// networks, and a neighbour on any of them is `onlink`. `host` is not guarded here, but it is still inside no
// wider word and no CIDR: who opens a port to the LAN does not open it to every local user.
#include "core/net/ip_address.h"
#include "policy/match.h"
#include "policy/special_purpose.h"

namespace cordon::policy {
namespace {

bool is_ours(const AddressFacts& facts) { return facts.is_host || facts.fib == FibType::kLocal; }

DstClass classify_peer(const Query& query) {
  const Destination& peer = query.remote;
  const AddressFacts& dial = query.facts.dial;
  const AddressFacts& embedded = query.facts.embedded;
  const bool wrapped = peer.embedded.has_value();
  if (!wrapped && (net::is_loopback(peer.dial) || is_ours(dial))) return DstClass::kHost;
  // Nothing of ours leaves in a wrapping: whoever sends that is somebody else.
  if (wrapped && (is_ours(dial) || is_ours(embedded))) return DstClass::kSpecial;
  const auto kind = kind_of(peer.effective());
  if (kind == AddressKind::kMetadata) return DstClass::kMetadata;
  if (!wrapped && net::is_link_local(peer.dial)) return DstClass::kOnlink;
  if (kind == AddressKind::kFloor || is_group_route(dial.fib) || (wrapped && is_group_route(embedded.fib)))
    return DstClass::kSpecial;
  if (dial.guest != GuestRelation::kNone || (wrapped && embedded.guest != GuestRelation::kNone))
    return DstClass::kGuests;
  if (kind == AddressKind::kDocumentation) return DstClass::kDocumentation;
  const auto near = [](const AddressFacts& f) { return f.fib == FibType::kUnicast && !f.has_gateway; };
  if (near(dial) || (wrapped && near(embedded))) return DstClass::kOnlink;
  return kind == AddressKind::kPrivate ? DstClass::kPrivate : DstClass::kInternet;
}

// Link-local addresses have a route on every interface, and the socket knows which one is meant.
bool has_way_back(const Query& query) {
  return query.dst_class == DstClass::kHost || net::is_link_local(query.remote.dial) ||
         query.facts.dial.fib == FibType::kUnicast;
}

}  // namespace

Decision decide_ingress(const PolicySet& policy, const flow::Tuple& tuple, const HostFacts& facts) {
  Query query{.tuple = tuple,
              .facts = facts,
              .direction = Direction::kIngress,
              .remote = normalise(tuple.remote.address),
              .dst_class = DstClass::kSpecial};
  if (!facts.source_assigned) return denied(policy, query, Reason::kSpecialAddress);
  if (query.remote.unreadable_embedding) return denied(policy, query, Reason::kEmbeddedIpv4);
  query.dst_class = classify_peer(query);
  if (query.dst_class == DstClass::kSpecial) return denied(policy, query, Reason::kSpecialAddress);
  if (query.dst_class == DstClass::kGuests) return denied(policy, query, Reason::kTenantIsolation);
  if (query.dst_class == DstClass::kMetadata) return denied(policy, query, Reason::kMetadata);
  if (!has_way_back(query)) return denied(policy, query, Reason::kRouteBlocked);
  return ask_files(policy, query);
}

}  // namespace cordon::policy
