#include "tests/hostile/frames/place.h"

#include <arpa/inet.h>

#include <array>
#include <stdexcept>

namespace cordon::hostile {

using test::put16;
using test::slow_sum;

namespace {

Buffer number16(std::uint32_t value) {
  return {static_cast<std::byte>(value >> 8U & 0xffU), static_cast<std::byte>(value & 0xffU)};
}
Buffer number32(std::uint32_t value) { return number16(value >> 16U) + number16(value & 0xffffU); }
Buffer byte(unsigned value) { return {static_cast<std::byte>(value & 0xffU)}; }

}  // namespace

bool is_v6(const std::string& address) { return address.find(':') != std::string::npos; }

Buffer address(const std::string& text) {
  std::array<std::byte, 16> bytes{};
  const bool v6 = is_v6(text);
  if (::inet_pton(v6 ? AF_INET6 : AF_INET, text.c_str(), bytes.data()) != 1) throw std::runtime_error(text);
  return {bytes.begin(), bytes.begin() + (v6 ? 16 : 4)};
}

std::uint16_t l4_checksum(const std::string& from, const std::string& to, std::uint8_t protocol,
                          base::Bytes l4) {
  std::uint32_t sum = 0;
  if (protocol != 1) {
    sum = slow_sum(address(from) + address(to), protocol + static_cast<std::uint32_t>(l4.size() & 0xffffU));
    sum += static_cast<std::uint32_t>(l4.size() >> 16U);
  }
  return static_cast<std::uint16_t>(~slow_sum(l4, sum));
}

Ip Maker::filled(Ip ip, bool v6) const {
  if (!ip.from.empty()) v6 = is_v6(ip.from);
  if (!ip.to.empty()) v6 = is_v6(ip.to);
  if (ip.from.empty()) ip.from = v6 ? place.guest6 : place.guest4;
  if (ip.to.empty()) ip.to = v6 ? place.remote6 : place.remote4;
  return ip;
}

Buffer Maker::ethernet(std::uint16_t type, const Buffer& payload, std::string from, std::string to) const {
  if (from.empty()) from = place.guest_mac;
  if (to.empty()) to = place.our_mac;
  return hex(to) + hex(from) + number16(type) + payload;
}

Buffer Maker::ip(Ip ip, const Buffer& payload, bool v6) const {
  ip = filled(ip, v6);
  if (is_v6(ip.from)) {
    Buffer header = number32(0x60000000U | std::uint32_t{ip.tos} << 20U | (ip.flow & 0xfffffU)) +
                    number16(ip.length.value_or(static_cast<std::uint16_t>(payload.size()))) +
                    byte(ip.protocol) + byte(ip.ttl) + address(ip.from) + address(ip.to);
    if (ip.first) header[0] = static_cast<std::byte>(*ip.first);
    return header + payload;
  }
  const std::size_t size = 20 + ip.options.size();
  Buffer header = byte(static_cast<unsigned>(0x40 + size / 4)) + byte(ip.tos) +
                  number16(ip.length.value_or(static_cast<std::uint16_t>(size + payload.size()))) +
                  number16(ip.id) + number16(ip.fragment) + byte(ip.ttl) + byte(ip.protocol) + number16(0) +
                  address(ip.from) + address(ip.to) + ip.options;
  if (ip.first) header[0] = static_cast<std::byte>(*ip.first);
  put16(header, 10, ip.sum.value_or(static_cast<std::uint16_t>(~slow_sum(header))));
  return header + payload;
}

Buffer Maker::packet(const Ip& wanted, const Buffer& payload, bool v6) const {
  const Ip whole = filled(wanted, v6);
  return ethernet(is_v6(whole.from) ? 0x86dd : 0x0800, ip(whole, payload));
}

Buffer Maker::udp_bytes(const Udp& udp, const Ip& wanted, bool v6) const {
  const Ip ip = filled(wanted, v6);
  Buffer l4 = number16(udp.from) + number16(udp.to) +
              number16(udp.length.value_or(static_cast<std::uint16_t>(8 + udp.payload.size()))) +
              number16(0) + udp.payload;
  std::uint16_t sum = l4_checksum(ip.from, ip.to, 17, l4);
  if (sum == 0) sum = 0xffff;
  put16(l4, 6, udp.sum.value_or(sum));
  return l4;
}

Buffer Maker::udp(const Udp& udp, Ip ip, bool v6) const {
  ip.protocol = 17;
  return packet(ip, udp_bytes(udp, ip, v6), v6);
}

Buffer Maker::tcp_bytes(const Tcp& tcp, const Ip& wanted, bool v6) const {
  const Ip ip = filled(wanted, v6);
  const unsigned words = tcp.offset.value_or(static_cast<unsigned>(5 + tcp.options.size() / 4));
  Buffer l4 = number16(tcp.from) + number16(tcp.to) + number32(tcp.seq) + number32(tcp.ack) +
              number16((words & 0xfU) << 12U | (tcp.flags & 0xfffU)) + number16(tcp.window) + number16(0) +
              number16(tcp.urgent) + tcp.options + tcp.payload;
  put16(l4, 16, tcp.sum.value_or(l4_checksum(ip.from, ip.to, 6, l4)));
  return l4;
}

Buffer Maker::tcp(const Tcp& tcp, Ip ip, bool v6) const {
  ip.protocol = 6;
  return packet(ip, tcp_bytes(tcp, ip, v6), v6);
}

Buffer Maker::icmp(std::uint8_t type, std::uint8_t code, const Buffer& body, Ip wanted, bool v6) const {
  Ip ip = filled(wanted, v6);
  ip.protocol = is_v6(ip.from) ? 58 : 1;
  Buffer l4 = byte(type) + byte(code) + number16(0) + body;
  put16(l4, 2, l4_checksum(ip.from, ip.to, ip.protocol, l4));
  return packet(ip, l4);
}

Buffer Maker::arp(std::uint16_t operation, const std::string& sender_mac, const std::string& sender,
                  const std::string& target) const {
  const Buffer body = hex("0001 0800 06 04") + number16(operation) + hex(sender_mac) + address(sender) +
                      hex("000000000000") + address(target);
  return ethernet(0x0806, body, {}, "ffffffffffff");
}

Buffer Maker::fragment(const Piece& piece, Ip wanted, bool v6) const {
  Ip ip = filled(wanted, v6);
  if (is_v6(ip.from)) {
    const Buffer header = byte(ip.protocol) + byte(0) +
                          number16(static_cast<std::uint32_t>(piece.offset | (piece.more ? 1U : 0U))) +
                          number32(ip.id);
    ip.protocol = 44;
    return packet(ip, header + piece.bytes);
  }
  ip.fragment = static_cast<std::uint16_t>((ip.fragment & 0xc000U & (ip.fragment == 0x4000 ? 0U : 0xc000U)) |
                                           (piece.more ? 0x2000U : 0U) | piece.offset / 8);
  return packet(ip, piece.bytes);
}

}  // namespace cordon::hostile
