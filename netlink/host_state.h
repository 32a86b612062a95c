// Host state: which addresses are this host's, by the kernel's own account. A pure value: the monitor feeds
// it events, tests feed it invented ones.
//
// An address belongs to the host when it is assigned to any interface (tentative, deprecated, secondary, link
// up or down: all the same), is the broadcast address of one, lies in a prefix assigned to a loopback
// interface, is the subnet-router anycast address of an IPv6 prefix, or is covered by a route of type local,
// anycast or broadcast in any table (AnyIP, VRF). Each such holder is an entry of its own; an address is the
// host's while one holder is left.
//
// Rule Q: a holder that vanished counts for 30 s more. The kernel announces a deletion before the address
// stops being local, and an address that flips must not open a hole in between. Only expire() forgets.
//
// A dump (first load, or again after an overrun) is bracketed by begin_dump()/end_dump(): holders that the
// dump did not confirm are treated as vanished.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "core/base/time.h"
#include "netlink/event.h"

namespace cordon::netlink {

inline constexpr base::Duration kLingerAfterRemoval = std::chrono::seconds{30};

enum class HolderKind : std::uint8_t {
  kAddress,
  kAddressBroadcast,
  kSubnetAnycast,
  kLocalRoute,
  kBroadcastRoute
};

class HostState {
 public:
  // What an event did to the meaning. `gained`: some address is the host's that was not before.
  struct Effect {
    bool gained = false;
    bool changed = false;  // anything that a decision can depend on: gained, lost, uplinks, links
    // The kernel drops or replaces routes here without saying which: only a new dump tells.
    bool needs_dump = false;
    void add(const Effect& other) {
      gained |= other.gained;
      changed |= other.changed;
      needs_dump |= other.needs_dump;
    }
  };

  Effect apply(const Event& event, base::Instant now);
  void begin_dump();
  Effect end_dump(base::Instant now);
  // Forgets what vanished at least 30 s ago. True: an address ceased to be the host's.
  bool expire(base::Instant now);
  // When expire() next has something to do.
  [[nodiscard]] base::Instant next_expiry() const;

  // Addresses and local routes of this host (not broadcast addresses).
  [[nodiscard]] bool is_host(const net::IpAddress& address) const { return covers(host_, address); }
  [[nodiscard]] bool is_broadcast(const net::IpAddress& address) const { return covers(broadcast_, address); }
  // Can packets to it arrive now? Other than is_host(), what has vanished does not linger here.
  [[nodiscard]] bool is_assigned(const net::IpAddress& address) const;
  // Sorted, without duplicates.
  [[nodiscard]] std::vector<net::Prefix> host_prefixes() const;
  [[nodiscard]] std::vector<net::Prefix> broadcast_prefixes() const;
  // Interfaces that carry a default route, ascending.
  [[nodiscard]] std::vector<std::uint32_t> uplinks() const;
  [[nodiscard]] const Link* link(std::uint32_t index) const;
  [[nodiscard]] const std::map<std::uint32_t, Link>& links() const { return links_; }
  // On-link prefixes of assigned addresses (live ones), for the word `onlink`.
  [[nodiscard]] std::vector<net::Prefix> onlink_prefixes() const;

 private:
  struct Key {
    HolderKind kind;
    net::Prefix prefix;
    std::uint32_t interface;
    std::uint32_t table;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Holder {
    std::optional<base::Instant> gone;
    bool confirmed = true;
  };
  // Exact addresses sorted for binary search, shorter prefixes in a short list.
  struct Set {
    std::vector<net::IpAddress> single;
    std::vector<net::Prefix> wide;
  };
  struct OnlinkKey {
    net::Prefix prefix;
    net::IpAddress address;
    std::uint32_t interface;
    friend auto operator<=>(const OnlinkKey&, const OnlinkKey&) = default;
  };
  struct DefaultKey {
    std::uint32_t interface;
    net::Family family;
    std::uint32_t table;
    std::optional<net::IpAddress> gateway;
    friend auto operator<=>(const DefaultKey&, const DefaultKey&) = default;
  };

  static bool covers(const Set& set, const net::IpAddress& address);
  Effect hold(const Key& key, bool present, base::Instant now);
  void forget_interface(std::uint32_t index, base::Instant now);
  Effect apply_link(const Change<Link>& change, base::Instant now);
  Effect apply_address(const Change<Address>& change, base::Instant now);
  Effect apply_route(const Change<Route>& change, base::Instant now);
  void rebuild();

  bool dumping_ = false;  // the sets are rebuilt once, at the end of a dump
  std::map<Key, Holder> holders_;
  std::map<std::uint32_t, Link> links_;
  std::map<OnlinkKey, bool> onlink_;     // value: confirmed by the running dump
  std::map<DefaultKey, bool> defaults_;  // likewise
  std::map<std::uint32_t, bool> link_confirmed_;
  Set host_;
  Set broadcast_;
};

}  // namespace cordon::netlink
