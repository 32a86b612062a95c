// https://github.com/corelight/community-id-spec version 1. SHA-1 is what the specification asks for; it
// identifies, it protects nothing.
#include <algorithm>
#include <array>
#include <tuple>

#include "core/base/bytes.h"
#include "policy/audit_record.h"
#include "policy/digest.h"

namespace cordon::policy {
namespace {

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
  return "1:" + base64(sha1(std::span{message}.first(size)));
}

}  // namespace cordon::policy
