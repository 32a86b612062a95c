// What rtnetlink told us, as values. parse.h makes them from bytes; host_state.h folds them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/net/ip_address.h"
#include "core/net/prefix.h"

namespace cordon::netlink {

struct Link {
  std::uint32_t index = 0;
  std::string name;
  std::uint32_t mtu = 0;
  bool up = false;
  bool loopback = false;
  bool carrier = true;  // without it addresses and routes stay, but ignore_routes_with_linkdown skips them
  friend bool operator==(const Link&, const Link&) = default;
};

struct Address {
  std::uint32_t interface = 0;
  net::IpAddress
      address;  // ours: IFA_LOCAL where present (IFA_ADDRESS is then the peer of a point-to-point link)
  unsigned prefix_length = 0;
  std::optional<net::IpAddress> broadcast;
  friend bool operator==(const Address&, const Address&) = default;
};

enum class RouteType : std::uint8_t {
  kUnicast,
  kLocal,
  kBroadcast,
  kAnycast,
  kMulticast,
  kBlackhole,
  kUnreachable,
  kProhibit,
  kOther,
  kNone  // an answer's only: no route at all
};

// A next hop of a multipath route.
struct Hop {
  std::uint32_t interface = 0;
  std::optional<net::IpAddress> gateway = {};  // none: on-link
  bool dead = false;
  friend bool operator==(const Hop&, const Hop&) = default;
};

struct Route {
  net::Prefix destination;
  RouteType type = RouteType::kUnicast;
  std::uint32_t table = 0;
  std::uint32_t interface = 0;            // 0: none (reject routes, multipath)
  std::optional<net::IpAddress> gateway;  // none: on-link
  std::vector<Hop> hops = {};             // of a multipath route
  std::uint32_t metric = 0;               // of two routes to one prefix the lower one counts
  bool dead = false;                      // there, but not used: its interface is down
  friend bool operator==(const Route&, const Route&) = default;
};

// `present`: new or changed; otherwise removed. `replaces`: it took the place of another one, which the
// kernel does not announce as removed.
template <class T>
struct Change {
  T value;
  bool present = true;
  bool replaces = false;
};
using Event = std::variant<Change<Link>, Change<Address>, Change<Route>>;

}  // namespace cordon::netlink
