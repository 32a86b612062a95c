// What a service of the link has to say to one message.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/base/bytes.h"
#include "core/net/ip_address.h"
#include "core/wire/parse_error.h"

namespace cordon::lan {

enum class Outcome : std::uint8_t {
  kReply,          // `length` bytes are in the buffer: send them
  kNotForUs,       // about somebody else's address, or for another server: normal, silent
  kNothingToSay,   // an announcement or answer of the guest's; a release
  kMalformed,      // see `error`
  kRateLimited,    // no token
  kForeignSender,  // the message claims an address or MAC that is not the guest's: see `claimed`
  kRouterMessage,  // RA or redirect from the guest: hostile or misconfigured
  kRelayed,        // came through a DHCP relay: there is none on this link
};
[[nodiscard]] std::string_view name(Outcome outcome);

struct Answer {
  Outcome outcome = Outcome::kNotForUs;
  std::optional<wire::ParseError> error;  // with kMalformed
  std::size_t length = 0;                 // with kReply
  // With kForeignSender and kRouterMessage: the address that was claimed, for the record.
  std::optional<net::IpAddress> claimed = {};
};

inline constexpr std::size_t kMaxReply = 1536;  // no service sends more than an Ethernet frame
using ReplyBuffer = std::span<std::byte, kMaxReply>;

}  // namespace cordon::lan
