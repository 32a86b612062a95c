// Router advertisements: what the guest's kernel needs for SLAAC, a default route and names (RFC 4861, 4862,
// 8106).
//
// Theory of operation. A solicitation from an address is answered at once and by unicast (RFC 4861 section
// 6.2.6 allows it), within a token bucket. One from the unspecified address wants a multicast advertisement;
// of those at most one leaves per 3 s, and one that has to wait is sent when they are over: nothing is
// forgotten. Unasked ones, if configured, start with three at 0, 16 and 32 s and then come every 200 to 600 s
// at random (MaxRtrAdvInterval's largest sensible default, so that an idle guest costs nothing). The machine
// is pure: it says when it wants to be called, and randomness is a seed.
//
// The lifetimes follow from the interval: router and DNS three times 600 s, prefix as RFC 4861 section 6.2.1
// has it (30 and 7 days).
#pragma once

#include <cstdint>

#include "core/base/time.h"
#include "core/base/token_bucket.h"
#include "core/lan/addresses.h"
#include "core/lan/answer.h"
#include "core/wire/packet.h"

namespace cordon::lan {

class RouterAdvertiser {
 public:
  // `config.v6` is set when `config.services.router` is.
  RouterAdvertiser(const LanConfig& config, std::uint64_t seed) : config_(config), random_(seed) {}

  // The first unasked advertisement is due at `now`.
  void start(base::Instant now);
  // A valid router solicitation.
  Answer on_solicitation(net::MacAddress source_mac, const wire::Packet& packet, base::Instant now,
                         ReplyBuffer out);
  // When on_timer() has something to send; never() in peace.
  [[nodiscard]] base::Instant next_deadline() const { return due_; }
  // 0: nothing is due.
  std::size_t on_timer(base::Instant now, ReplyBuffer out);

 private:
  [[nodiscard]] std::size_t write(net::MacAddress destination_mac, net::Ipv6Address destination,
                                  ReplyBuffer out) const;
  [[nodiscard]] std::size_t multicast(base::Instant now, ReplyBuffer out);
  void schedule(base::Instant now);

  const LanConfig& config_;
  std::uint64_t random_;
  base::TokenBucket unicast_{2, 5};
  base::Instant due_ = base::Instant::never();
  base::Instant last_multicast_ = base::Instant::from_nanos(INT64_MIN / 2);
  unsigned initial_ = 0;  // of the first three, how many have left
};

}  // namespace cordon::lan
