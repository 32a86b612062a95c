// The kernel's routing decision for one destination (RTM_GETROUTE, unprivileged): its class, the interface a
// packet would leave by, and the next hop. Answers are kept in a small direct-mapped cache; invalidate()
// forgets all and is called for every route, address or link event. lookup_fresh() always asks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/base/error.h"
#include "core/net/ip_address.h"
#include "netlink/event.h"
#include "netlink/route_socket.h"

namespace cordon::netlink {

struct FibAnswer {
  RouteType type = RouteType::kNone;
  std::uint32_t interface = 0;            // 0: none
  std::optional<net::IpAddress> gateway;  // none with kUnicast: the destination is on-link
  std::optional<net::IpAddress> preferred_source;
  std::uint32_t mtu = 0;  // of the route, 0: not stated (the link's applies)
  std::uint32_t table = 0;
  [[nodiscard]] bool on_link() const { return type == RouteType::kUnicast && !gateway; }
  friend bool operator==(const FibAnswer&, const FibAnswer&) = default;
};

class Fib {
 public:
  static base::Result<Fib> open();
  // An error means the kernel could not be asked (not: no route); treat it as unreachable.
  [[nodiscard]] base::Result<FibAnswer> lookup(const net::IpAddress& destination);
  [[nodiscard]] base::Result<FibAnswer> lookup_fresh(const net::IpAddress& destination);
  // Is there a route to `destination` by this interface, be it the preferred one or not? Always asks.
  [[nodiscard]] bool reaches_by(const net::IpAddress& destination, std::uint32_t interface);
  void invalidate() { ++generation_; }

 private:
  struct Entry {
    std::uint64_t generation = 0;
    net::IpAddress destination;
    FibAnswer answer;
  };
  static constexpr std::size_t kEntries = 1024;
  explicit Fib(RouteSocket socket)
      : socket_(std::move(socket)), cache_(std::make_unique<std::array<Entry, kEntries>>()) {}

  [[nodiscard]] base::Result<FibAnswer> ask(Request& request, const net::IpAddress& destination);

  RouteSocket socket_;
  std::uint64_t generation_ = 1;
  std::unique_ptr<std::array<Entry, kEntries>> cache_;
};

}  // namespace cordon::netlink
