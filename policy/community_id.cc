// https://github.com/corelight/community-id-spec version 1. SHA-1 is what the specification asks for; it
// identifies, it protects nothing.
#include <algorithm>
#include <array>
#include <bit>
#include <tuple>

#include "core/base/bytes.h"
#include "policy/audit_record.h"

namespace cordon::policy {
namespace {

constexpr std::size_t kBlock = 64;

// FIPS 180-4 section 6.1 for a message that fits one block (ours has at most 40 bytes).
std::array<std::byte, 20> sha1_one_block(base::Bytes message) {
  std::array<std::byte, kBlock> block{};
  std::ranges::copy(message, block.begin());
  block[message.size()] = std::byte{0x80};
  base::store_be<std::uint64_t>(std::span{block}.last<8>(), std::uint64_t{message.size()} * 8);
  std::array<std::uint32_t, 80> w{};
  for (std::size_t i = 0; i < 16; ++i)
    w[i] = base::load_be<std::uint32_t>(std::span<const std::byte, 4>{block.data() + 4 * i, 4});
  for (std::size_t i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  const std::array<std::uint32_t, 5> start{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  auto [a, b, c, d, e] = start;
  for (std::size_t i = 0; i < 80; ++i) {
    const auto [f, k] = i < 20   ? std::pair{(b & c) | (~b & d), 0x5a827999U}
                        : i < 40 ? std::pair{b ^ c ^ d, 0x6ed9eba1U}
                        : i < 60 ? std::pair{(b & c) | (b & d) | (c & d), 0x8f1bbcdcU}
                                 : std::pair{b ^ c ^ d, 0xca62c1d6U};
    const auto next = std::rotl(a, 5) + f + e + k + w[i];
    e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
  }
  const std::array<std::uint32_t, 5> step{a, b, c, d, e};
  std::array<std::byte, 20> digest{};
  for (std::size_t i = 0; i < 5; ++i)
    base::store_be<std::uint32_t>(std::span<std::byte, 4>{digest.data() + 4 * i, 4}, start[i] + step[i]);
  return digest;
}

std::string base64(base::Bytes bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto left = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = (group << 8U) | (j < left ? std::to_integer<std::uint32_t>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      out += j <= left ? kDigits[(group >> (18U - 6U * static_cast<unsigned>(j))) & 63U] : '=';
  }
  return out;
}

}  // namespace

std::string community_id(const flow::Tuple& tuple) {
  // Echo has no ports: the spec puts the type and the type of the answer in their place.
  const bool echo = tuple.protocol == flow::Protocol::kIcmpEcho;
  const bool v6 = tuple.guest.address.is_v6();
  const std::uint16_t ask = v6 ? 128 : 8;
  const std::uint16_t answer = v6 ? 129 : 0;
  std::tuple from{tuple.guest.address, echo ? ask : tuple.guest.port.number()};
  std::tuple to{tuple.remote.address, echo ? answer : tuple.remote.port.number()};
  if (to < from) std::swap(from, to);

  std::array<std::byte, 40> message{};  // two bytes of seed, zero
  std::size_t size = 2;
  const auto put = [&](std::uint8_t byte) { message[size++] = std::byte{byte}; };
  for (const auto& end : {from, to})
    for (const auto byte : std::get<0>(end).bytes()) put(byte);
  put(echo && v6 ? 58 : static_cast<std::uint8_t>(tuple.protocol));
  put(0);
  for (const auto& end : {from, to}) {
    put(static_cast<std::uint8_t>(std::get<1>(end) >> 8U));
    put(static_cast<std::uint8_t>(std::get<1>(end) & 0xffU));
  }
  return "1:" + base64(sha1_one_block(std::span{message}.first(size)));
}

}  // namespace cordon::policy
