// The addresses a guest has made for itself (SLAAC, RFC 4862; privacy addresses, RFC 8981): few at a time.
//
// A /64 holds more addresses than anybody can count, so a guest that changes its source with each packet
// would fill every table keyed by it and every record that names it. At most kMost addresses are live. One
// more takes the place of the address unused for longest, but only when that one has rested for kIdle; else
// it is refused. Rotating privacy addresses (Linux: one a day, seven days) never come near that. The plan's
// own addresses are not counted here.
//
// Every worker of the translator has a table (each packet), and the broker has one for the guest (each flow),
// with the same rule; the broker does not believe the translator.
#pragma once

#include <array>
#include <cstddef>

#include "core/base/time.h"
#include "core/net/ip_address.h"

namespace cordon::lan {

class SlaacTable {
 public:
  static constexpr std::size_t kMost = 16;
  static constexpr base::Duration kIdle = std::chrono::minutes{5};

  // True: the address is (now) one of the live ones; its use is noted.
  [[nodiscard]] bool admit(const net::IpAddress& address, base::Instant now);
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  struct Entry {
    net::IpAddress address;
    base::Instant used;
  };
  std::array<Entry, kMost> entries_{};
  std::size_t count_ = 0;
};

}  // namespace cordon::lan
