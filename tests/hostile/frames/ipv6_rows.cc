// 4.4 IPv6 and extension headers.
#include "tests/hostile/frames/rows.h"

namespace cordon::hostile {
namespace {

// An extension header of `units` times eight bytes, padded with PadN.
Buffer extension(unsigned next, unsigned units = 1) {
  Buffer out(std::size_t{8} * units);
  out[0] = static_cast<std::byte>(next);
  out[1] = static_cast<std::byte>(units - 1);
  for (std::size_t at = 2; at < out.size();) {
    const std::size_t room = std::min<std::size_t>(out.size() - at, 257);
    if (room == 1) break;  // Pad1
    out[at] = std::byte{1};
    out[at + 1] = static_cast<std::byte>(room - 2);
    at += room;
  }
  return out;
}

void add_header_rows(Rows& rows) {
  const Maker& make = rows.make;
  const Buffer l4 = make.udp_bytes({}, {}, true);
  Frames versions, cut;
  for (unsigned version = 0; version < 16; ++version)
    if (version != 6)
      versions.emplace_back(make.packet({.first = static_cast<std::uint8_t>(version << 4U)}, l4, true));
  const Buffer whole = make.udp({}, {}, true);
  for (std::size_t size = 14; size < 14 + 40; ++size)
    cut.emplace_back(Buffer(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
  rows.drop("IP6-01", "every version but 6", versions);
  rows.drop("IP6-01", "cut within the header", cut);
  rows.drop("IP6-02", "a payload length beyond the frame, or 0 for a jumbogram",
            {make.packet({.length = std::uint16_t{14}}, l4, true),
             make.packet({.length = std::uint16_t{65535}}, l4, true),
             make.packet({.protocol = 0, .length = std::uint16_t{0}},
                         hex("11 00 c2 04 00010000") + Buffer(100, std::byte{1}), true),
             make.packet({.protocol = 0}, hex("11 00 c2 04 00000014") + l4, true)});
  rows.drop("IP6-02", "a payload length of 0, or within the UDP header",
            {make.packet({.length = std::uint16_t{0}}, l4, true),
             make.packet({.length = std::uint16_t{7}}, l4, true)});
  rows.ask("IP6-02", "padding behind the payload length", {make.udp({.to = 7601}, {}, true) + zeros(30)},
           {7601});
  Frames labels;
  std::vector<std::uint16_t> ports;
  for (unsigned i = 0; i < 64; ++i) {
    ports.push_back(static_cast<std::uint16_t>(7700 + i));
    labels.emplace_back(make.udp({.to = ports.back()},
                                 {.tos = static_cast<std::uint8_t>(i * 4 + 3), .flow = i * 0x3fff3U}, true));
  }
  rows.ask("IP6-09", "all sorts of flow labels and traffic classes", labels, ports);
}

void add_extension_rows(Rows& rows) {
  const Maker& make = rows.make;
  std::uint16_t port = 7610;
  const auto behind = [&](unsigned first, const Buffer& chain) {
    return Frame(make.packet({.protocol = static_cast<std::uint8_t>(first)},
                             chain + make.udp_bytes({.to = port++}, {}, true), true));
  };
  Buffer seven, nine, forty;
  for (int i = 0; i < 7; ++i) seven = seven + extension(i == 6 ? 17 : 60);
  for (int i = 0; i < 9; ++i) nine = nine + extension(i == 8 ? 17 : 60);
  for (int i = 0; i < 40; ++i) forty = forty + extension(i == 39 ? 17 : 60);
  rows.ask("IP6-03", "chains within the limits",
           {behind(0, extension(17)), behind(0, extension(60) + extension(17)), behind(60, seven),
            behind(60, extension(17, 63))},
           {7610, 7611, 7612, 7613});
  rows.drop("IP6-03", "hop-by-hop behind another header, or twice",
            {behind(60, extension(0) + extension(17)), behind(0, extension(0) + extension(17))});
  rows.drop("IP6-03", "nine headers, forty headers, more than 512 bytes",
            {behind(60, nine), behind(60, forty), behind(60, extension(17, 65)),
             behind(60, extension(60, 40) + extension(17, 40)), behind(60, extension(17, 256))});
  rows.drop("IP6-03", "headers that run past the end",
            {Frame(make.packet({.protocol = 0}, hex("11ff"), true)),
             Frame(make.packet({.protocol = 60}, hex("1101000000000000"), true)),
             Frame(make.packet({.protocol = 60}, hex("3c00010400000000 3cff010400000000"), true)),
             Frame(make.packet({.protocol = 0}, {}, true))});
  port = 7630;
  rows.ask("IP6-04", "padding with and without zeros, unknown options to be skipped, router alert",
           {behind(60, hex("1100 0104deadbeef")), behind(60, hex("1100 000000000000")),
            behind(60, hex("1100 1e0400000000")), behind(0, hex("1100 050200000100"))},
           {7630, 7631, 7632, 7633});
  rows.drop("IP6-04", "options that run past their header, and those to be refused where unknown",
            {behind(60, hex("1100 01ff00000000")), behind(60, hex("1100 010500000000")),
             behind(60, hex("1100 000000000001")), behind(60, hex("1100 5e0400000000")),
             behind(60, hex("1100 9e0400000000")), behind(60, hex("1100 de0400000000")),
             behind(0, hex("1100 0504000000000000")), behind(60, hex("1100 c90400000000"))});
  rows.drop("IP6-05", "routing headers of every type, also without segments left",
            {behind(43, hex("1100 0000 00000000")), behind(43, hex("1100 0001 00000000")),
             behind(43, hex("1102 0001 00000000") + address(make.place.guest6)),
             behind(43, hex("1102 0201 00000000") + address(make.place.guest6)),
             behind(43, hex("1102 0301 00000000") + zeros(16)),
             behind(43, hex("1102 0401 00000000") + address(make.place.remote6)),
             behind(43, hex("1100 ff00 00000000"))});
  Frames protocols;
  for (const unsigned protocol : {50U, 51U, 135U, 139U, 140U, 253U, 254U, 4U, 41U, 47U, 132U, 255U, 2U})
    protocols.emplace_back(make.packet({.protocol = static_cast<std::uint8_t>(protocol)}, zeros(40), true));
  rows.drop("IP6-06", "AH, ESP, HIP, shim6, mobility, tunnels, experiments", protocols,
            Counter::kDropProtocol, Says::kError);
  rows.drop("IP6-06", "no next header, with and without bytes behind it",
            {make.packet({.protocol = 59}, {}, true), make.packet({.protocol = 59}, zeros(40), true),
             make.packet({.protocol = 60}, hex("3b00010400000000") + zeros(8), true)});
  rows.drop("IP6-06", "ICMP and IGMP of the other family",
            {make.packet({.protocol = 1}, hex("0800f7fe00000001"), true)}, Counter::kDropProtocol,
            Says::kError);
}

void add_address_rows(Rows& rows) {
  const Maker& make = rows.make;
  const Place& place = make.place;
  Frames forged;
  for (const std::string& from :
       {std::string("::"), std::string("::1"), std::string("ff02::1"), std::string("ff0e::1"),
        "::ffff:" + place.guest4, "::" + place.guest4, std::string("fd00::16"), place.gateway6, place.dns6,
        std::string("2001:db8::99"), place.our_link_local, place.guest_link_local, std::string("fe80:1::15"),
        std::string("fec0::1"), std::string("64:ff9b::a00:20f")}) {
    forged.emplace_back(make.udp({}, {.from = from}, true));
    forged.emplace_back(make.tcp({}, {.from = from}, true));
    forged.emplace_back(make.icmp(128, 0, hex("00010001"), {.from = from}, true));
  }
  rows.drop("IP6-07", "a source that is not the guest's, towards the world", forged, Counter::kDropSpoofed);
  rows.drop(
      "IP6-07", "the unspecified address for anything but the link's own messages",
      {make.udp({}, {.from = "::", .to = "ff02::fb"}), make.tcp({}, {.from = "::", .to = place.gateway6}),
       make.icmp(128, 0, hex("00010001"), {.from = "::", .to = place.gateway6})},
      Counter::kDropSpoofed);
  Frames single;
  std::vector<std::uint16_t> ports;
  for (const char* to : {"::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
                         "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::",
                         "fec0::1", "fe80::99", "fc00::1", "2001:db8::131", "2001:db8:1::200",
                         "2001:db8::", "2001:db8::fdff:ffff:ffff:ff80", "4000::1", "100::1"}) {
    ports.push_back(static_cast<std::uint16_t>(7800 + ports.size()));
    single.emplace_back(make.udp({.to = ports.back()}, {.to = to}));
    ports.push_back(7777);
    single.emplace_back(
        make.tcp({.from = static_cast<std::uint16_t>(31000 + ports.size()), .to = 7777}, {.to = to}));
  }
  rows.ask("IP6-08", "single destinations, also with an IPv4 address inside: the broker is asked", single,
           ports);
  Frames groups;
  for (const char* to :
       {"ff00::", "ff01::1", "ff02::fb", "ff02::1:ff00:2", "ff05::1:3", "ff0e::1", "ff3e::1"}) {
    groups.emplace_back(make.udp({}, {.to = to}));
    groups.emplace_back(make.tcp({}, {.to = to}));
    groups.emplace_back(make.icmp(128, 0, hex("00010001"), {.to = to}));
  }
  rows.drop("IP6-08", "groups", groups, Counter::kDropMulticast);
  rows.drop("IP6-08", "nobody",
            {make.udp({}, {.to = "::"}), make.tcp({}, {.to = "::"}),
             make.icmp(128, 0, hex("00010001"), {.to = "::"})},
            Counter::kDropBroadcast);
}

}  // namespace

void add_ipv6_rows(Rows& rows) {
  add_header_rows(rows);
  add_extension_rows(rows);
  add_address_rows(rows);
}

}  // namespace cordon::hostile
