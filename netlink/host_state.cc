#include "netlink/host_state.h"

#include <algorithm>

namespace cordon::netlink {
namespace {

// Point-to-point IPv6 prefixes have no subnet-router anycast address (RFC 6164; net/ipv6/addrconf.c).
constexpr unsigned kLongestAnycastPrefix = 126;

bool counts_as_broadcast(HolderKind kind) {
  return kind == HolderKind::kAddressBroadcast || kind == HolderKind::kBroadcastRoute;
}

template <class Map>
void unconfirm(Map& map) {
  for (auto& [key, confirmed] : map) confirmed = false;
}

}  // namespace

bool HostState::covers(const Set& set, const net::IpAddress& address) {
  if (std::ranges::binary_search(set.single, address)) return true;
  return std::ranges::any_of(set.wide, [&](const net::Prefix& prefix) { return prefix.contains(address); });
}

bool HostState::is_assigned(const net::IpAddress& address) const {
  const auto live = [&](const auto& entry) {
    return !entry.second.gone && !counts_as_broadcast(entry.first.kind) &&
           entry.first.prefix.contains(address);
  };
  const net::Prefix exact = net::Prefix::single(address);
  for (auto at = holders_.lower_bound(Key{HolderKind::kAddress, exact, 0, 0});
       at != holders_.end() && at->first.kind == HolderKind::kAddress && at->first.prefix == exact; ++at)
    if (live(*at)) return true;
  return std::ranges::any_of(holders_, live);  // a prefix: rare, as few flows come from one
}

void HostState::rebuild() {
  if (dumping_) return;
  host_ = {};
  broadcast_ = {};
  for (const auto& [key, holder] : holders_) {
    Set& set = counts_as_broadcast(key.kind) ? broadcast_ : host_;
    if (key.prefix.length() == key.prefix.address().bit_count())
      set.single.push_back(key.prefix.address());
    else
      set.wide.push_back(key.prefix);
  }
  for (Set* set : {&host_, &broadcast_}) {
    std::ranges::sort(set->single);
    const auto rest = std::ranges::unique(set->single);
    set->single.erase(rest.begin(), rest.end());
    std::ranges::sort(set->wide);
    const auto rest_wide = std::ranges::unique(set->wide);
    set->wide.erase(rest_wide.begin(), rest_wide.end());
  }
}

HostState::Effect HostState::hold(const Key& key, bool present, base::Instant now) {
  const auto found = holders_.find(key);
  if (!present) {
    if (found != holders_.end() && !found->second.gone) found->second.gone = now;
    return {};  // still the host's until expire()
  }
  if (found != holders_.end()) {
    found->second = Holder{};
    return {};
  }
  const Set& set = counts_as_broadcast(key.kind) ? broadcast_ : host_;
  const bool known =
      key.prefix.length() == key.prefix.address().bit_count()
          ? covers(set, key.prefix.address())
          : std::ranges::any_of(set.wide, [&](const auto& p) { return p.contains(key.prefix); });
  holders_.emplace(key, Holder{});
  if (known) return {};
  rebuild();
  return {.gained = true, .changed = true};
}

HostState::Effect HostState::apply(const Event& event, base::Instant now) {
  if (const auto* link = std::get_if<Change<Link>>(&event)) return apply_link(*link, now);
  if (const auto* address = std::get_if<Change<Address>>(&event)) return apply_address(*address, now);
  return apply_route(std::get<Change<Route>>(event), now);
}

void HostState::forget_interface(std::uint32_t index, base::Instant now) {
  for (auto& [key, holder] : holders_)
    if (key.interface == index && !holder.gone) holder.gone = now;
  std::erase_if(onlink_, [&](const auto& entry) { return entry.first.interface == index; });
  std::erase_if(defaults_, [&](const auto& entry) { return entry.first.interface == index; });
}

HostState::Effect HostState::apply_link(const Change<Link>& change, base::Instant now) {
  const Link& link = change.value;
  const auto found = links_.find(link.index);
  if (!change.present) {
    if (found == links_.end()) return {};
    links_.erase(found);
    link_confirmed_.erase(link.index);
    forget_interface(link.index, now);
    return {.changed = true, .needs_dump = true};
  }
  link_confirmed_[link.index] = true;
  if (found == links_.end()) {
    links_.emplace(link.index, link);
    return {.changed = true};
  }
  if (found->second == link) return {};
  // A link that goes down takes its IPv4 routes along without a message.
  const bool flipped = found->second.up != link.up;
  found->second = link;
  return {.changed = true, .needs_dump = flipped};
}

HostState::Effect HostState::apply_address(const Change<Address>& change, base::Instant now) {
  const Address& a = change.value;
  const unsigned bits = a.address.bit_count();
  if (a.prefix_length > bits) return {};
  const auto holder = [&](HolderKind kind, const net::Prefix& prefix) {
    return hold(Key{kind, prefix, a.interface, 0}, change.present, now);
  };
  const net::Prefix subnet = net::Prefix::containing(a.address, a.prefix_length);
  const auto link = links_.find(a.interface);
  const bool loopback = link != links_.end() && link->second.loopback;

  Effect effect = holder(HolderKind::kAddress, net::Prefix::single(a.address));
  if (loopback && a.address.is_v4()) effect.add(holder(HolderKind::kAddress, subnet));
  if (a.broadcast) effect.add(holder(HolderKind::kAddressBroadcast, net::Prefix::single(*a.broadcast)));
  if (a.address.is_v6() && a.prefix_length <= kLongestAnycastPrefix && a.prefix_length > 0)
    effect.add(holder(HolderKind::kSubnetAnycast, net::Prefix::single(subnet.address())));

  const OnlinkKey key{subnet, a.address, a.interface};
  if (!change.present) {
    effect.changed |= onlink_.erase(key) != 0;
  } else {
    const auto [entry, added] = onlink_.try_emplace(key, true);
    entry->second = true;
    effect.changed |= added;
  }
  return effect;
}

HostState::Effect HostState::apply_route(const Change<Route>& change, base::Instant now) {
  const Route& route = change.value;
  switch (route.type) {
    case RouteType::kLocal:
    case RouteType::kAnycast: {
      Effect effect = hold(Key{HolderKind::kLocalRoute, route.destination, route.interface, route.table},
                           change.present, now);
      effect.needs_dump |= change.replaces;
      return effect;
    }
    case RouteType::kBroadcast:
      return hold(Key{HolderKind::kBroadcastRoute, route.destination, route.interface, route.table},
                  change.present, now);
    case RouteType::kUnicast: break;
    case RouteType::kMulticast:
    case RouteType::kBlackhole:
    case RouteType::kUnreachable:
    case RouteType::kProhibit:
    case RouteType::kOther:
    case RouteType::kNone: return {.needs_dump = change.replaces && route.destination.length() == 0};
  }
  // A unicast route can replace a local one of the same prefix: the local holder then lives until the dump.
  if (route.destination.length() != 0) return {.needs_dump = false};
  Effect effect{.needs_dump = change.replaces};
  const auto via = [&](std::uint32_t interface) {
    if (interface == 0) return;
    const DefaultKey key{interface, route.destination.family(), route.table, route.gateway};
    if (!change.present) {
      effect.changed |= defaults_.erase(key) != 0;
      return;
    }
    const auto [entry, added] = defaults_.try_emplace(key, true);
    entry->second = true;
    effect.changed |= added;
  };
  via(route.interface);
  for (const Hop& hop : route.hops) via(hop.interface);
  return effect;
}

void HostState::begin_dump() {
  dumping_ = true;
  for (auto& [key, holder] : holders_) holder.confirmed = false;
  unconfirm(link_confirmed_);
  unconfirm(onlink_);
  unconfirm(defaults_);
}

HostState::Effect HostState::end_dump(base::Instant now) {
  Effect effect;
  for (auto entry = link_confirmed_.begin(); entry != link_confirmed_.end();) {
    if (entry->second) {
      ++entry;
      continue;
    }
    forget_interface(entry->first, now);
    links_.erase(entry->first);
    entry = link_confirmed_.erase(entry);
    effect.changed = true;
  }
  for (auto& [key, holder] : holders_)
    if (!holder.confirmed && !holder.gone) holder.gone = now;
  const auto lost = [](const auto& entry) { return !entry.second; };
  effect.changed |= std::erase_if(onlink_, lost) != 0;
  effect.changed |= std::erase_if(defaults_, lost) != 0;
  dumping_ = false;
  rebuild();
  return effect;
}

bool HostState::expire(base::Instant now) {
  const auto forgotten = std::erase_if(holders_, [&](const auto& entry) {
    return entry.second.gone && now - *entry.second.gone >= kLingerAfterRemoval;
  });
  if (forgotten == 0) return false;
  rebuild();
  return true;
}

base::Instant HostState::next_expiry() const {
  base::Instant due = base::Instant::never();
  for (const auto& [key, holder] : holders_)
    if (holder.gone) due = std::min(due, *holder.gone + kLingerAfterRemoval);
  return due;
}

namespace {

template <class Single, class Wide>
std::vector<net::Prefix> merged(const Single& single, const Wide& wide) {
  std::vector<net::Prefix> out(wide.begin(), wide.end());
  for (const auto& address : single) out.push_back(net::Prefix::single(address));
  std::ranges::sort(out);
  return out;
}

}  // namespace

std::vector<net::Prefix> HostState::host_prefixes() const { return merged(host_.single, host_.wide); }
std::vector<net::Prefix> HostState::broadcast_prefixes() const {
  return merged(broadcast_.single, broadcast_.wide);
}

std::vector<std::uint32_t> HostState::uplinks() const {
  std::vector<std::uint32_t> out;
  for (const auto& [key, confirmed] : defaults_)
    if (out.empty() || out.back() != key.interface) out.push_back(key.interface);
  return out;  // the map is ordered by interface first
}

const Link* HostState::link(std::uint32_t index) const {
  const auto found = links_.find(index);
  return found == links_.end() ? nullptr : &found->second;
}

std::vector<net::Prefix> HostState::onlink_prefixes() const {
  std::vector<net::Prefix> out;
  for (const auto& [key, confirmed] : onlink_)
    if (out.empty() || out.back() != key.prefix) out.push_back(key.prefix);
  return out;
}

}  // namespace cordon::netlink
