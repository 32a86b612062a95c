#include "core/wire/tcp_options.h"

#include <algorithm>

namespace cordon::wire {
namespace {

enum OptionKind : std::uint8_t {
  kEndOfList = 0,
  kNoOperation = 1,
  kMss = 2,
  kWindowScale = 3,
  kSackPermitted = 4,
  kSack = 5,
};

using MssValue = Field<std::uint16_t, 2>;
using ScaleValue = Field<std::uint8_t, 2>;

bool size_is_right(std::uint8_t kind, std::size_t length) {
  switch (kind) {
    case kMss: return length == 4;
    case kWindowScale: return length == 3;
    case kSackPermitted: return length == 2;
    case kSack: return length >= 10 && length <= 34 && length % 8 == 2;
    default: return true;
  }
}

void read_sack(Bytes blocks, TcpOptions& out) {
  for (; blocks.size() >= 8 && out.sack_count < TcpOptions::kMaxSackBlocks; blocks = blocks.subspan(8)) {
    const SackBlock block{net::SeqNum{Field<std::uint32_t, 0>::get(blocks)},
                          net::SeqNum{Field<std::uint32_t, 4>::get(blocks)}};
    if (block.right.after(block.left)) out.sack[out.sack_count++] = block;
  }
}

void take(std::uint8_t kind, Bytes option, bool syn, TcpOptions& out) {
  switch (kind) {
    case kMss:
      if (syn && !out.mss) out.mss = MssValue::get(option);
      break;
    case kWindowScale:
      if (syn && !out.window_scale)
        out.window_scale = std::min(ScaleValue::get(option), TcpOptions::kMaxWindowScale);
      break;
    case kSackPermitted: out.sack_permitted = out.sack_permitted || syn; break;
    case kSack:
      if (!syn && out.sack_count == 0) read_sack(option.subspan(2), out);
      break;
    default: break;
  }
}

}  // namespace

std::expected<TcpOptions, ParseError> parse_tcp_options(Bytes options, bool syn) {
  TcpOptions out;
  std::size_t at = 0;
  while (at < options.size()) {
    const auto kind = std::to_integer<std::uint8_t>(options[at]);
    if (kind == kEndOfList) break;
    if (kind == kNoOperation) {
      ++at;
      continue;
    }
    if (at + 1 >= options.size()) return std::unexpected(ParseError::kTcpOptionLength);
    const auto length = std::to_integer<std::size_t>(options[at + 1]);
    if (length < 2 || length > options.size() - at) return std::unexpected(ParseError::kTcpOptionLength);
    if (!size_is_right(kind, length)) return std::unexpected(ParseError::kTcpOptionSize);
    take(kind, options.subspan(at, length), syn, out);
    at += length;
  }
  return out;
}

}  // namespace cordon::wire
