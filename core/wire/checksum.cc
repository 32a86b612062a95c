#include "core/wire/checksum.h"

#include <bit>
#include <cstring>

namespace cordon::wire {
namespace {

constexpr std::uint16_t swap_if_little(std::uint16_t value) {
  return std::endian::native == std::endian::little ? std::byteswap(value) : value;
}

constexpr std::uint16_t fold(std::uint64_t sum) {
  sum = (sum & 0xffffffffU) + (sum >> 32U);
  sum = (sum & 0xffffffffU) + (sum >> 32U);
  sum = (sum & 0xffffU) + (sum >> 16U);
  sum = (sum & 0xffffU) + (sum >> 16U);
  sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<std::uint16_t>(sum);
}

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Sum of the 16-bit words in machine order; an odd last byte is padded with a zero byte behind it. Halves of
// 64-bit words go to 64-bit accumulators: no carry can be lost below 2^35 bytes, and the loop vectorises.
std::uint64_t sum_words(base::Bytes bytes) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t low0 = 0, low1 = 0, high0 = 0, high1 = 0;
  for (; left >= 32; at += 32, left -= 32) {
    const auto a = load<std::uint64_t>(at);
    const auto b = load<std::uint64_t>(at + 8);
    const auto c = load<std::uint64_t>(at + 16);
    const auto d = load<std::uint64_t>(at + 24);
    low0 += a & 0xffffffffU;
    high0 += a >> 32U;
    low1 += b & 0xffffffffU;
    high1 += b >> 32U;
    low0 += c & 0xffffffffU;
    high0 += c >> 32U;
    low1 += d & 0xffffffffU;
    high1 += d >> 32U;
  }
  std::uint64_t sum = low0 + low1 + high0 + high1;
  for (; left >= 4; at += 4, left -= 4) sum += load<std::uint32_t>(at);
  if (left >= 2) {
    sum += load<std::uint16_t>(at);
    at += 2;
    left -= 2;
  }
  if (left != 0) {
    std::uint16_t last = 0;
    std::memcpy(&last, at, 1);
    sum += last;
  }
  return sum;
}

}  // namespace

void ChecksumSum::add(base::Bytes bytes) {
  const std::uint16_t piece = fold(sum_words(bytes));
  // Behind an odd number of bytes each byte of this piece changes its place in the word.
  sum_ += odd_ ? std::byteswap(piece) : piece;
  odd_ = odd_ != (bytes.size() % 2 != 0);
}

void ChecksumSum::add(std::span<const iovec> pieces) {
  for (const iovec& piece : pieces) add(base::as_bytes(piece.iov_base, piece.iov_len));
}

void ChecksumSum::add_word(std::uint16_t value) { sum_ += swap_if_little(value); }

void ChecksumSum::add_address(const net::IpAddress& address) { add(std::as_bytes(address.bytes())); }

void ChecksumSum::add_pseudo_header(const net::IpAddress& source, const net::IpAddress& destination,
                                    std::uint8_t protocol, std::uint32_t l4_length) {
  add_address(source);
  add_address(destination);
  add_word(protocol);
  add_word(static_cast<std::uint16_t>(l4_length >> 16U));  // zero for IPv4
  add_word(static_cast<std::uint16_t>(l4_length));
}

std::uint16_t ChecksumSum::folded() const { return swap_if_little(fold(sum_)); }

std::uint16_t checksum(base::Bytes bytes) {
  ChecksumSum sum;
  sum.add(bytes);
  return sum.finish();
}

}  // namespace cordon::wire
