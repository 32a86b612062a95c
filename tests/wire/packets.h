// Bytes for the tests: hexadecimal literals, and packets composed field by field with a checksum that is
// written differently from the one under test.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <random>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"

namespace cordon::test {

using Buffer = std::vector<std::byte>;

// "45 00 00 14": spaces are free.
inline Buffer hex(std::string_view text) {
  Buffer out;
  unsigned digits = 0;
  unsigned value = 0;
  for (const char c : text) {
    if (c == ' ' || c == '\n') continue;
    const unsigned digit = c <= '9' ? static_cast<unsigned>(c - '0') : static_cast<unsigned>(c - 'a') + 10;
    value = value * 16 + digit;
    if (++digits % 2 == 0) {
      out.push_back(static_cast<std::byte>(value));
      value = 0;
    }
  }
  return out;
}

inline Buffer operator+(Buffer a, const Buffer& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline Buffer zeros(std::size_t count) { return Buffer(count); }

// RFC 1071, byte by byte.
inline std::uint16_t slow_sum(base::Bytes bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto value = std::to_integer<std::uint32_t>(bytes[i]);
    sum += i % 2 == 0 ? value << 8U : value;
    sum = (sum & 0xffffU) + (sum >> 16U);
  }
  return static_cast<std::uint16_t>(sum);
}

inline void put16(Buffer& bytes, std::size_t at, std::uint32_t value) {
  bytes[at] = static_cast<std::byte>(value >> 8U & 0xffU);
  bytes[at + 1] = static_cast<std::byte>(value & 0xffU);
}

// 10.0.2.15 -> 192.0.2.1, with options in multiples of four bytes; lengths and checksum filled in.
inline Buffer ipv4(std::uint8_t protocol, const Buffer& payload, const Buffer& options = {},
                   std::uint16_t flags_and_offset = 0x4000) {
  Buffer header = hex("45 00 0000 1234 0000 40 00 0000 0a00020f c0000201") + options;
  header[0] = static_cast<std::byte>(0x40 + header.size() / 4);
  put16(header, 2, static_cast<std::uint32_t>(header.size() + payload.size()));
  put16(header, 6, flags_and_offset);
  header[9] = std::byte{protocol};
  put16(header, 10, static_cast<std::uint16_t>(~slow_sum(header)));
  return header + payload;
}

// fd00:c0:2d::15 -> 2001:db8::1
inline Buffer ipv6(std::uint8_t next_header, const Buffer& payload, std::uint8_t hop_limit = 64) {
  Buffer header =
      hex("60000000 0000 00 00 fd0000c0002d00000000000000000015 20010db8000000000000000000000001");
  put16(header, 4, static_cast<std::uint32_t>(payload.size()));
  header[6] = std::byte{next_header};
  header[7] = std::byte{hop_limit};
  return header + payload;
}

inline void fix_ipv4_checksum(Buffer& packet) {
  put16(packet, 10, 0);
  const std::size_t header = (std::to_integer<std::size_t>(packet[0]) & 0x0fU) * 4;
  put16(packet, 10, static_cast<std::uint16_t>(~slow_sum(base::Bytes{packet}.first(header))));
}

// Over pseudo header and L4 bytes of an IP packet without options; 0xffff when its checksum is right.
inline std::uint16_t l4_sum(base::Bytes ip) {
  const bool v4 = std::to_integer<unsigned>(ip[0]) >> 4U == 4;
  const base::Bytes addresses = v4 ? ip.subspan(12, 8) : ip.subspan(8, 32);
  const base::Bytes l4 = ip.subspan(v4 ? 20 : 40);
  const auto protocol = std::to_integer<std::uint32_t>(v4 ? ip[9] : ip[6]);
  const std::uint32_t pseudo =
      protocol == 1 ? 0 : slow_sum(addresses, protocol + static_cast<std::uint32_t>(l4.size()));
  return slow_sum(l4, pseudo);
}

inline void fix_l4_checksum(Buffer& ip, std::size_t field_in_l4) {
  const std::size_t l4 = std::to_integer<unsigned>(ip[0]) >> 4U == 4 ? 20 : 40;
  put16(ip, l4 + field_in_l4, 0);
  put16(ip, l4 + field_in_l4, static_cast<std::uint16_t>(~l4_sum(ip)));
}

inline const Buffer kUdpHello = hex("9c40 0035 000d 0000") + hex("68656c6c6f");  // 40000 -> 53, "hello"

inline Buffer random_bytes(std::mt19937& random, std::size_t size) {
  Buffer out(size);
  for (std::byte& b : out) b = static_cast<std::byte>(random() & 0xffU);
  return out;
}

}  // namespace cordon::test
