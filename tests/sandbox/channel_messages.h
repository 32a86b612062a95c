// Messages by hand, so that a change of messages.h shows here. x86-64 and arm64 are little-endian.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "sandbox/channel.h"

namespace cordon::sandbox::test {

using Raw = std::vector<std::uint8_t>;

inline base::Bytes bytes(const Raw& raw) { return base::as_bytes(raw.data(), raw.size()); }

inline void put16(Raw& raw, unsigned value) {
  raw.push_back(static_cast<std::uint8_t>(value & 0xffU));
  raw.push_back(static_cast<std::uint8_t>(value >> 8U));
}
inline void put32(Raw& raw, std::uint32_t value) {
  put16(raw, value & 0xffffU);
  put16(raw, value >> 16U);
}
inline Raw header(unsigned type, std::uint32_t slot, std::uint32_t generation) {
  Raw raw;
  put16(raw, 3);
  put16(raw, type);
  put32(raw, slot);
  put32(raw, generation);
  return raw;
}
inline void put_tuple(Raw& raw, std::uint8_t protocol, std::uint8_t family, unsigned guest_port,
                      unsigned remote_port, const Raw& guest, const Raw& remote) {
  raw.push_back(protocol);
  raw.push_back(family);
  put16(raw, guest_port);
  put16(raw, remote_port);
  put16(raw, 0);
  for (const Raw& address : {guest, remote}) {
    Raw padded = address;
    padded.resize(16, 0);
    raw.insert(raw.end(), padded.begin(), padded.end());
  }
}
inline Raw request_v4() {
  Raw raw = header(1, 7, 3);
  put_tuple(raw, 6, 4, 40000, 443, {10, 0, 2, 15}, {192, 0, 2, 1});
  return raw;
}
inline Raw close_message() {
  Raw raw = header(2, 7, 3);
  raw.insert(raw.end(), {1, 4, 0, 0});
  put32(raw, 1000);
  put32(raw, 0);
  put32(raw, 0);
  put32(raw, 2);  // 2 << 32 bytes to the guest
  put32(raw, 9);
  put32(raw, 0);  // 9 datagrams
  return raw;
}
inline Raw packet_report() {
  Raw raw = header(3, 0, 0);
  put_tuple(raw, 17, 6, 0, 53, {0xfe, 0x80}, {0x20, 0x01, 0x0d, 0xb8});
  raw.insert(raw.end(), {2, 0, 0, 0, 0, 9, 0, 0});
  return raw;
}
inline Raw counters() {
  Raw raw = header(4, 0, 0);
  raw.resize(16 + 8 * 96, 0);
  raw[16] = 5;
  return raw;
}

inline Raw volumes() {
  Raw raw = header(7, 7, 3);
  raw.resize(40, 0);
  raw[16] = 1;
  raw[24] = 2;
  raw[32] = 3;
  return raw;
}

inline Raw claim() {
  Raw raw = header(5, 7, 3);
  put32(raw, 0x01020304);
  return raw;
}
inline Raw decline() {
  Raw raw = header(6, 0, 0);
  put32(raw, 9);
  return raw;
}
inline void put_shaping(Raw& raw, unsigned shaper, std::uint64_t rate, unsigned outer = 0,
                        std::uint64_t outer_rate = 0, std::uint32_t report = 0) {
  put16(raw, shaper);
  put16(raw, outer);
  for (const std::uint64_t value : {rate, outer_rate}) {
    put32(raw, static_cast<std::uint32_t>(value));
    put32(raw, static_cast<std::uint32_t>(value >> 32U));
  }
  put32(raw, report);
}
inline Raw grant() {
  Raw raw = header(16, 1, 2);
  put32(raw, 1500);
  put32(raw, 65536);
  put_shaping(raw, 64, std::uint64_t{3} << 32U, 63, 5, 99);
  return raw;
}
inline Raw inbound_udp(std::string_view payload) {
  Raw raw = header(19, 0, 0);
  put32(raw, 77);
  put_tuple(raw, 17, 4, 5353, 40000, {10, 0, 2, 15}, {192, 0, 2, 1});
  put32(raw, 1400);
  put32(raw, 0);
  put_shaping(raw, 0, 0);
  put32(raw, static_cast<std::uint32_t>(payload.size()));
  raw.insert(raw.end(), payload.begin(), payload.end());
  return raw;
}
inline Raw inbound_tcp() {
  Raw raw = inbound_udp("");
  raw[16] = 6;
  return raw;
}
inline Raw late_datagram() {
  Raw raw = header(20, 7, 3);
  put32(raw, 2);
  raw.insert(raw.end(), {'h', 'i'});
  return raw;
}

inline Raw reshape() {
  Raw raw = header(21, 7, 3);
  put_shaping(raw, 9, 200, 1, 5000, 4096);
  return raw;
}

struct Edit {
  std::size_t offset;
  std::uint8_t value;
};
struct Bad {
  std::string_view name;
  Raw base;
  std::vector<Edit> edits;
  Violation violation;
};

}  // namespace cordon::sandbox::test
