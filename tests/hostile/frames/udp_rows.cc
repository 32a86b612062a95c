// 4.6 UDP and ICMP.
#include "tests/hostile/frames/rows.h"

namespace cordon::hostile {
namespace {

void add_datagram_rows(Rows& rows, bool v6) {
  const Maker& make = rows.make;
  const std::uint16_t base = v6 ? 8450 : 8400;
  const auto port = [&](unsigned n) { return static_cast<std::uint16_t>(base + n); };
  Frames lengths;
  for (unsigned length = 0; length < 8; ++length)
    lengths.emplace_back(make.udp({.length = static_cast<std::uint16_t>(length)}, {}, v6));
  lengths.emplace_back(make.udp({.length = std::uint16_t{14}}, {}, v6));
  lengths.emplace_back(make.udp({.length = std::uint16_t{65535}}, {}, v6));
  const Buffer datagram = make.udp_bytes({}, {}, v6);
  for (std::size_t size = 0; size < 8; ++size)
    lengths.emplace_back(
        make.packet({}, Buffer(datagram.begin(), datagram.begin() + static_cast<std::ptrdiff_t>(size)), v6));
  rows.drop("UDP-01", "lengths below 8 or beyond the packet, headers cut short", lengths);
  // The checksum covers what the length says; the pseudo header's length is the packet's own.
  Buffer trimmed = make.udp_bytes({.to = port(0)}, {}, v6);
  rows.ask("UDP-01", "bytes behind the datagram are not its own",
           {make.packet({}, trimmed, v6) + hex("ffff"), make.udp({.to = port(1), .payload = {}}, {}, v6)},
           {port(0), port(1)});
  rows.drop_by_sum(
      "UDP-02", "a wrong checksum",
      {make.udp({.sum = std::uint16_t{0x1234}}, {}, v6), make.udp({.sum = std::uint16_t{0xffff}}, {}, v6)});
  // Sums to zero, which travels as ffff.
  Udp zero{.from = 40000, .to = port(2), .payload = hex("0000")};
  const Ip ip = make.filled({}, v6);
  Buffer l4 = make.udp_bytes(
      {.from = zero.from, .to = zero.to, .payload = zero.payload, .sum = std::uint16_t{0}}, {}, v6);
  const std::uint16_t rest = l4_checksum(ip.from, ip.to, 17, l4);
  zero.payload = {static_cast<std::byte>(rest >> 8U), static_cast<std::byte>(rest & 0xffU)};
  zero.sum = std::uint16_t{0xffff};
  rows.ask("UDP-02", "a checksum that is zero, and says ffff", {make.udp(zero, {}, v6)}, {port(2)});
  if (v6)
    rows.drop_by_sum("UDP-02", "no checksum, over IPv6", {make.udp({.sum = std::uint16_t{0}}, {}, true)});
  else
    rows.ask("UDP-02", "no checksum, over IPv4", {make.udp({.to = port(3), .sum = std::uint16_t{0}})},
             {port(3)});
  rows.ask("UDP-03", "the largest datagram in one frame",
           {make.udp({.to = port(4), .payload = zeros(v6 ? 65487 : 65507)}, {}, v6)}, {port(4)});
  rows.drop(
      "UDP-04", "ports of zero",
      {make.udp({.from = 0}, {}, v6), make.udp({.to = 0}, {}, v6), make.udp({.from = 0, .to = 0}, {}, v6)});
}

Buffer quote(const Maker& make, bool v6, std::uint8_t protocol, std::size_t size) {
  // As if the remote had written to the guest.
  const Place& place = make.place;
  const Ip ip{.from = v6 ? place.remote6 : place.remote4,
              .to = v6 ? place.guest6 : place.guest4,
              .protocol = protocol};
  const Buffer l4 = protocol == 6 ? make.tcp_bytes({.from = 80, .to = 45000, .flags = kAck}, ip, v6)
                                  : make.udp_bytes({.from = 9000, .to = 45000}, ip, v6);
  Buffer packet = make.ip(ip, l4);
  packet.resize(std::min(packet.size(), size));
  return packet;
}

void add_icmp_rows(Rows& rows) {
  const Maker& make = rows.make;
  const Place& place = make.place;
  Frames echoes;
  std::vector<std::uint16_t> asked;
  for (unsigned id = 0; id < 40; ++id)
    for (const bool v6 : {false, true}) {
      Buffer body(4);
      test::put16(body, 0, id * 1639);
      test::put16(body, 2, 65535 - id);
      echoes.emplace_back(make.icmp(v6 ? 128 : 8, 0, body + zeros(id), {}, v6));
      asked.push_back(0);
    }
  rows.ask("ICM-01", "echo with all sorts of identifiers and sequence numbers", echoes, asked);
  rows.ask("ICM-01", "echo of 64 KiB", {make.icmp(8, 0, hex("00070001") + zeros(65500))}, {0});
  rows.add({"ICM-01",
            "the gateway's own echo",
            {make.icmp(8, 0, hex("00070001") + zeros(56), {.to = place.gateway4}),
             make.icmp(128, 0, hex("00070001") + zeros(56), {.to = place.gateway6})},
            {{Counter::kAnsweredLocally, 2}},
            Says::kAnswer});
  Frames unknown, truncated, sums;
  for (unsigned type = 0; type < 256; ++type)
    if (type != 8) unknown.emplace_back(make.icmp(static_cast<std::uint8_t>(type), 0, zeros(28)));
  rows.drop("ICM-02", "every type but echo", unknown, Counter::kDropProtocol);
  rows.drop("ICM-02", "echo with a code",
            {make.icmp(8, 1, hex("00010001")), make.icmp(8, 255, hex("00010001")),
             make.icmp(128, 9, hex("00010001"), {}, true)});
  const Buffer whole = make.icmp(8, 0, hex("00010001"));
  const Buffer icmp(whole.begin() + 34, whole.end());
  for (std::size_t size = 0; size < 8; ++size) {
    const Buffer part(icmp.begin(), icmp.begin() + static_cast<std::ptrdiff_t>(size));
    truncated.emplace_back(make.packet({.protocol = 1}, part));
    truncated.emplace_back(make.packet({.protocol = 58}, part, true));
  }
  rows.drop("ICM-02", "cut short", truncated);
  sums.emplace_back(make.packet({.protocol = 1}, hex("0800ffff00010001")));
  sums.emplace_back(make.packet({.protocol = 58}, hex("8000ffff00010001"), true));
  rows.drop_by_sum("ICM-02", "wrong checksums", sums);
}

void add_error_rows(Rows& rows) {
  const Maker& make = rows.make;
  const Place& place = make.place;
  Frames errors;
  for (const bool v6 : {false, true})
    for (const std::uint8_t protocol : {std::uint8_t{6}, std::uint8_t{17}, std::uint8_t{50}})
      for (const std::size_t size : {0U, 7U, 20U, 27U, 28U, 40U, 47U, 48U, 60U}) {
        const Buffer about = quote(make, v6, protocol, size);
        for (const char* rest : {"00000000", "00000044", "0000ffff", "ffffffff"}) {
          if (v6) {
            errors.emplace_back(make.icmp(2, 0, hex(rest) + about, {}, true));
            errors.emplace_back(make.icmp(1, 4, hex(rest) + about, {}, true));
          } else {
            errors.emplace_back(make.icmp(3, 4, hex(rest) + about));
            errors.emplace_back(make.icmp(3, 3, hex(rest) + about));
            errors.emplace_back(make.icmp(5, 1, hex(rest) + about));
            errors.emplace_back(make.icmp(11, 0, hex(rest) + about));
          }
        }
      }
  rows.drop("ICM-03", "errors about packets of no flow, cut anywhere, with any MTU", errors,
            Counter::kDropProtocol);
  // What makes us speak: with options, short, a fragment, about groups or errors.
  rows.drop(
      "ICM-04", "time exceeded about packets with options and almost no payload",
      {make.packet({.protocol = 17, .ttl = 1, .options = hex("01010101")}, make.udp_bytes({}, {}, false)),
       make.udp({.payload = zeros(1400)}, {.ttl = 1}), make.udp({.payload = zeros(1400)}, {.ttl = 1}, true)},
      Counter::kDropHopLimit, Says::kError);
  rows.drop("ICM-04", "nothing is said about errors of the guest",
            {make.icmp(3, 1, zeros(4) + quote(make, false, 17, 60), {.ttl = 1}),
             make.icmp(1, 0, zeros(4) + quote(make, true, 17, 60), {.ttl = 1}, true)},
            Counter::kDropHopLimit);
  rows.drop("ICM-04", "nothing about groups",
            {make.udp({}, {.to = "224.0.0.251", .ttl = 1}), make.udp({}, {.to = "ff02::fb", .ttl = 1})},
            Counter::kDropMulticast);
  Frames groups;
  for (const std::uint8_t type : {std::uint8_t{130}, std::uint8_t{131}, std::uint8_t{132}, std::uint8_t{143}})
    groups.emplace_back(make.icmp(type, 0, zeros(24), {.to = "ff02::16", .ttl = 1}));
  rows.drop("ICM-05", "MLD", groups, Counter::kIgnoredGroups);
  Frames others;
  for (const int type : {138, 139, 140, 141, 142, 144, 145, 146, 147, 148, 149, 151, 152, 153, 200, 255})
    others.emplace_back(make.icmp(static_cast<std::uint8_t>(type), 0, zeros(28), {.to = place.remote6}));
  rows.drop("ICM-05", "node information, mobility, renumbering, certification paths", others,
            Counter::kDropProtocol);
  rows.drop("UDP-07", "SSDP, mDNS, LLMNR, NetBIOS",
            {make.udp({.to = 1900}, {.to = "239.255.255.250"}), make.udp({.to = 5353}, {.to = "224.0.0.251"}),
             make.udp({.to = 5355}, {.to = "224.0.0.252"}), make.udp({.to = 5353}, {.to = "ff02::fb"}),
             make.udp({.to = 1900}, {.to = "ff02::c"})},
            Counter::kDropMulticast);
  rows.drop(
      "UDP-07", "NetBIOS and others to everybody",
      {make.udp({.to = 137}, {.to = place.broadcast4}), make.udp({.to = 138}, {.to = "255.255.255.255"})},
      Counter::kDropBroadcast);
}

}  // namespace

void add_udp_rows(Rows& rows) {
  for (const bool v6 : {false, true}) add_datagram_rows(rows, v6);
  add_icmp_rows(rows);
  add_error_rows(rows);
}

}  // namespace cordon::hostile
