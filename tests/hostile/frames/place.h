// Frames of a guest that means harm, composed field by field: whatever a row wants to be wrong is said, the
// rest is right. Nothing here is shared with the code under test, sums included.
#pragma once

#include <optional>
#include <string>

#include "tests/wire/packets.h"

namespace cordon::hostile {

using test::Buffer;
using test::hex;
using test::operator+;
using test::zeros;

// Who is who on the guest's link. Addresses are text, MACs hexadecimal digits.
struct Place {
  std::string guest_mac = "020000000015", our_mac = "020000000002";
  std::string guest4 = "10.0.2.15", gateway4 = "10.0.2.2", dns4 = "10.0.2.3", neighbour4 = "10.0.2.77",
              network4 = "10.0.2.0", broadcast4 = "10.0.2.255", remote4 = "192.0.2.10";
  std::string guest6 = "fd00::15", gateway6 = "fd00::2", dns6 = "fd00::3", remote6 = "2001:db8::10",
              our_link_local = "fe80::2", guest_link_local = "fe80::15";
};

Buffer address(const std::string& text);
bool is_v6(const std::string& address);
// Of the L4 bytes `l4` between two addresses; 0 where the sum in them is right.
std::uint16_t l4_checksum(const std::string& from, const std::string& to, std::uint8_t protocol,
                          base::Bytes l4);

struct Ip {
  std::string from, to;  // empty: the guest, the remote; both of one family
  std::uint8_t protocol = 17;
  std::uint8_t ttl = 64;
  std::uint8_t tos = 0;
  std::uint16_t id = 0x1234;
  std::uint16_t fragment = 0x4000;  // IPv4: flags and offset
  Buffer options = {};              // IPv4: multiples of four bytes
  std::uint32_t flow = 0;           // IPv6
  std::optional<std::uint16_t> length = std::nullopt;
  std::optional<std::uint16_t> sum = std::nullopt;   // IPv4
  std::optional<std::uint8_t> first = std::nullopt;  // version and header length, or version and class
};

struct Udp {
  std::uint16_t from = 40000, to = 9000;
  Buffer payload = hex("68656c6c6f");
  std::optional<std::uint16_t> length = std::nullopt, sum = std::nullopt;
};

struct Tcp {
  std::uint16_t from = 40001, to = 80;
  std::uint32_t seq = 1000, ack = 0;
  std::uint16_t flags = 2;  // FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256
  std::uint16_t window = 65535, urgent = 0;
  Buffer options = {};
  Buffer payload = {};
  std::optional<unsigned> offset = std::nullopt;  // in words
  std::optional<std::uint16_t> sum = std::nullopt;
};
inline constexpr std::uint16_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32, kEce = 64,
                               kCwr = 128, kAe = 256;

class Maker {
 public:
  explicit Maker(const Place& the_place) : place(the_place) {}

  [[nodiscard]] Buffer ethernet(std::uint16_t type, const Buffer& payload, std::string from = {},
                                std::string to = {}) const;
  // From the IP header on; `v6` where no address says it.
  [[nodiscard]] Buffer ip(Ip ip, const Buffer& payload, bool v6 = false) const;
  // As frames.
  [[nodiscard]] Buffer packet(const Ip& ip, const Buffer& payload, bool v6 = false) const;
  [[nodiscard]] Buffer udp(const Udp& udp = {}, Ip ip = {}, bool v6 = false) const;
  [[nodiscard]] Buffer tcp(const Tcp& tcp = {}, Ip ip = {}, bool v6 = false) const;
  [[nodiscard]] Buffer icmp(std::uint8_t type, std::uint8_t code, const Buffer& body, Ip ip = {},
                            bool v6 = false) const;
  [[nodiscard]] Buffer arp(std::uint16_t operation, const std::string& sender_mac, const std::string& sender,
                           const std::string& target) const;
  // L4 bytes with their checksum.
  [[nodiscard]] Buffer udp_bytes(const Udp& udp, const Ip& ip, bool v6) const;
  [[nodiscard]] Buffer tcp_bytes(const Tcp& tcp, const Ip& ip, bool v6) const;
  // `count` pieces of a datagram's bytes, cut at multiples of eight, as frames of the guest.
  struct Piece {
    std::size_t offset;
    Buffer bytes;
    bool more;
  };
  [[nodiscard]] Buffer fragment(const Piece& piece, Ip ip = {}, bool v6 = false) const;
  [[nodiscard]] Ip filled(Ip ip, bool v6) const;

  const Place& place;
};

}  // namespace cordon::hostile
