// TCP options we honour: MSS (RFC 9293 3.7.1), window scale (RFC 7323), SACK (RFC 2018). Others are skipped.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>

#include "core/net/seq_num.h"
#include "core/wire/field.h"
#include "core/wire/parse_error.h"

namespace cordon::wire {

struct SackBlock {
  net::SeqNum left;   // first byte held
  net::SeqNum right;  // first byte not held
  friend constexpr bool operator==(const SackBlock&, const SackBlock&) = default;
};

struct TcpOptions {
  static constexpr std::size_t kMaxSackBlocks = 4;
  static constexpr std::uint8_t kMaxWindowScale = 14;  // RFC 7323 section 2.3

  std::optional<std::uint16_t> mss;          // SYN only; as sent, the machine clamps
  std::optional<std::uint8_t> window_scale;  // SYN only; at most 14
  bool sack_permitted = false;               // SYN only
  std::array<SackBlock, kMaxSackBlocks> sack{};
  std::uint8_t sack_count = 0;  // blocks whose edges are in order; others are left out
};

// `options`: TcpView::options(). `syn`: options that only a SYN may carry are ignored elsewhere. A repeated
// option: the first one counts. A length that is 0, 1 or overruns is an error, and so is a known option of
// the wrong size.
[[nodiscard]] std::expected<TcpOptions, ParseError> parse_tcp_options(Bytes options, bool syn);

}  // namespace cordon::wire
