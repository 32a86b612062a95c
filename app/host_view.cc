#include "app/host_view.h"

#include <algorithm>

#include "policy/destination.h"

namespace cordon::app {
namespace {

constexpr std::uint16_t kDnsPort = 53;
constexpr std::uint16_t kDnsOverTlsPort = 853;

policy::FibType to_fib_type(netlink::RouteType type) {
  switch (type) {
    case netlink::RouteType::kUnicast: return policy::FibType::kUnicast;
    case netlink::RouteType::kLocal: return policy::FibType::kLocal;
    case netlink::RouteType::kBroadcast: return policy::FibType::kBroadcast;
    case netlink::RouteType::kAnycast: return policy::FibType::kAnycast;
    case netlink::RouteType::kMulticast: return policy::FibType::kMulticast;
    case netlink::RouteType::kBlackhole: return policy::FibType::kBlackhole;
    case netlink::RouteType::kUnreachable: return policy::FibType::kUnreachable;
    case netlink::RouteType::kProhibit: return policy::FibType::kProhibit;
    case netlink::RouteType::kNone: return policy::FibType::kNone;
    case netlink::RouteType::kOther: return policy::FibType::kOther;
  }
  return policy::FibType::kOther;
}

}  // namespace

HostView::HostView(HostSource& source, std::vector<FamilyPlan> families, AddressMap map)
    : source_(source), families_(std::move(families)), map_(std::move(map)) {
  refresh();
}

void HostView::refresh() {
  if (settings_.uplinks.empty()) {
    uplinks_ = source_.state().uplinks();
    return;
  }
  uplinks_.clear();
  const auto named = [&](std::string_view name) {
    return std::ranges::find(settings_.uplinks, name) != settings_.uplinks.end();
  };
  const bool every = named(policy::kEveryInterface);
  for (const auto& [index, link] : source_.state().links())
    if (every ? !link.loopback : named(link.name)) uplinks_.push_back(index);
}

policy::AddressFacts HostView::look_up(const net::IpAddress& address) const {
  policy::AddressFacts facts;
  facts.is_host = source_.state().is_host(address) ||
                  std::ranges::any_of(settings_.aliases, [&](const auto& p) { return p.contains(address); });
  const auto route = source_.route(address);
  if (!route) return facts;  // the kernel could not be asked: no route
  facts.fib = source_.state().is_broadcast(address) ? policy::FibType::kBroadcast : to_fib_type(route->type);
  facts.has_gateway = route->gateway.has_value();
  facts.oif = route->interface;
  facts.oif_is_uplink = std::ranges::binary_search(uplinks_, route->interface);
  return facts;
}

bool HostView::is_forwarder(const flow::Tuple& tuple) const {
  if (tuple.protocol == flow::Protocol::kIcmpEcho) return false;
  const std::uint16_t port = tuple.remote.port.number();
  return std::ranges::any_of(families_, [&](const FamilyPlan& f) {
    return f.forwards_dns && f.dns == tuple.remote.address &&
           (port == kDnsPort || (port == kDnsOverTlsPort && f.forwards_dns_over_tls));
  });
}

// Our own side of the guest's LAN, and the guest itself.
bool HostView::is_ours(const net::IpAddress& address) const {
  return std::ranges::any_of(families_, [&](const FamilyPlan& family) {
    return (family.gateway == address && !map_.real_gateway) ||
           (family.forwards_dns && family.dns == address) || family.is_guest(address);
  });
}

flow::Tuple HostView::meant(const flow::Tuple& tuple) const {
  flow::Tuple out = tuple;
  if (const auto* real = map_.real_of(policy::normalise(tuple.remote.address).dial))
    if (!is_forwarder(tuple)) out.remote.address = *real;
  return out;
}

policy::HostFacts HostView::facts_of(const flow::Tuple& tuple) const {
  policy::HostFacts facts;
  if (is_forwarder(tuple)) {
    facts.dns_forwarder = true;
    return facts;
  }
  const flow::Tuple real = meant(tuple);
  const policy::Destination destination = policy::normalise(real.remote.address);
  facts.mapped = real.remote.address != tuple.remote.address;
  // In every disguise: ::ffff:10.0.2.2 is the gateway too, never the host network's 10.0.2.2.
  facts.sandbox_address = !facts.mapped && (is_ours(destination.dial) || is_ours(destination.effective()));
  facts.dial = look_up(destination.dial);
  if (destination.embedded) facts.embedded = look_up(*destination.embedded);
  return facts;
}

// About a connection from outside: the remote end is the peer.
policy::HostFacts HostView::facts_of_peer(const flow::Tuple& seen) const {
  policy::HostFacts facts;
  facts.source_assigned = std::ranges::any_of(
      families_, [&](const FamilyPlan& family) { return family.is_guest(seen.guest.address); });
  const policy::Destination peer = policy::normalise(seen.remote.address);
  facts.dial = look_up(peer.dial);
  if (peer.embedded) facts.embedded = look_up(*peer.embedded);
  return facts;
}

}  // namespace cordon::app
