// Answers ARP and neighbour discovery for the addresses that are ours on the guest's link.
//
// Pure: a frame's view and the time in, at most one reply frame in the caller's buffer. It never learns:
// replies go to the asking frame's source MAC, which the plane has already compared with the guest's. Replies
// are rationed by a token bucket. ARP: RFC 826, probes RFC 5227. NDP: RFC 4861; duplicate address detection
// for one of our addresses is defended (RFC 4862 section 5.4.3). Router solicitations are recognised and not
// answered: no RA is offered.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/base/time.h"
#include "core/base/token_bucket.h"
#include "core/lan/addresses.h"
#include "core/wire/ethernet.h"
#include "core/wire/packet.h"
#include "core/wire/parse_error.h"

namespace cordon::lan {

enum class Outcome : std::uint8_t {
  kReply,          // `length` bytes are in the buffer: send them
  kNotForUs,       // about somebody else's address: normal, silent
  kNothingToSay,   // an announcement or answer of the guest's, a router solicitation
  kMalformed,      // see `error`
  kRateLimited,    // no token
  kForeignSender,  // the message claims an address or MAC that is not the guest's
  kRouterMessage,  // RA or redirect from the guest: hostile or misconfigured
};
[[nodiscard]] std::string_view name(Outcome outcome);

struct Answer {
  Outcome outcome = Outcome::kNotForUs;
  std::optional<wire::ParseError> error;  // with kMalformed
  std::size_t length = 0;                 // with kReply
};

inline constexpr std::size_t kMaxReply = 128;
using ReplyBuffer = std::span<std::byte, kMaxReply>;

class Responder {
 public:
  explicit Responder(const LanConfig& config) : config_(config) {}

  // An Ethernet frame of type ARP.
  Answer on_arp(const wire::EthernetView& frame, base::Instant now, ReplyBuffer out);
  // An IPv6 packet for which is_neighbour_discovery() holds; its ICMPv6 checksum is verified.
  Answer on_ndp(net::MacAddress source_mac, const wire::Packet& packet, base::Instant now, ReplyBuffer out);

 private:
  LanConfig config_;
  base::TokenBucket replies_{1000, 200};
};

// ICMPv6 types 133 to 137 (RS, RA, NS, NA, redirect).
[[nodiscard]] bool is_neighbour_discovery(const wire::Packet& packet);

}  // namespace cordon::lan
