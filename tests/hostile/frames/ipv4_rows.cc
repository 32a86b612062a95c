// 4.2 IPv4.
#include "tests/hostile/frames/rows.h"

namespace cordon::hostile {
namespace {

Frames with_options(const Maker& make, std::initializer_list<const char*> options) {
  Frames out;
  std::uint16_t port = 7100;
  for (const char* option : options) {
    Buffer bytes = hex(option);
    bytes.resize((bytes.size() + 3) / 4 * 4);
    out.emplace_back(make.udp({.to = port++}, {.options = bytes}));
  }
  return out;
}

void add_header_rows(Rows& rows) {
  const Maker& make = rows.make;
  const Buffer l4 = make.udp_bytes({}, {}, false);
  Frames versions, lengths;
  for (unsigned version = 0; version < 16; ++version)
    if (version != 4)
      versions.emplace_back(make.packet({.first = static_cast<std::uint8_t>(version << 4U | 5U)}, l4));
  for (unsigned words = 0; words < 5; ++words)
    lengths.emplace_back(make.packet({.first = static_cast<std::uint8_t>(0x40U | words)}, l4));
  lengths.emplace_back(make.packet({.first = 0x4f}, l4));
  lengths.emplace_back(make.ethernet(0x0800, hex("4f")));
  rows.drop("IP4-01", "every version but 4", versions);
  rows.drop("IP4-01", "header length 0 to 4, or beyond the frame", lengths);
  rows.drop("IP4-02", "total length below the header's or beyond the frame",
            {make.packet({.length = std::uint16_t{0}}, l4), make.packet({.length = std::uint16_t{19}}, l4),
             make.packet({.length = std::uint16_t{34}}, l4), make.packet({.length = std::uint16_t{1500}}, l4),
             make.packet({.length = std::uint16_t{65535}}, l4)});
  rows.ask("IP4-02", "padding behind the total length",
           {make.udp({.to = 7001}) + zeros(13), make.udp({.to = 7002}) + Buffer(1400, std::byte{0xff})},
           {7001, 7002});
  rows.ask("IP4-03", "options that are well-formed are read past",
           with_options(make, {"01010101", "00ffffff", "01010100", "070704 00000000", "07070800000000",
                               "44080500 00000000", "94040000", "820b0000000000000000000000"}),
           {7100, 7101, 7102, 7103, 7104, 7105, 7106, 7107});
  rows.drop(
      "IP4-03", "options of length 0, 1 or beyond the header",
      with_options(make, {"0700", "0701", "07ff0400", "4400", "94010000", "01010107", "0709 04000000"}));
  rows.drop("IP4-03", "pointers outside of their option, and a route recorded twice",
            with_options(make, {"07070000000000", "07070300000000", "0707ff00000000", "440804000000000000",
                                "44084000000000", "0703040107030400"}));
  rows.drop("IP4-03", "source routes",
            with_options(make, {"83070400000000", "89070400000000", "8303040100000000", "01890704c0000201"}));
  const std::uint16_t right = [&] {
    const Buffer good = make.ip({}, l4);
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(good[10]) << 8U |
                                      std::to_integer<unsigned>(good[11]));
  }();
  rows.drop("IP4-04", "a wrong header checksum",
            {make.packet({.sum = static_cast<std::uint16_t>(right ^ 1U)}, l4),
             make.packet({.sum = std::uint16_t{0}}, l4), make.packet({.sum = std::uint16_t{0xffff}}, l4)});
  Frames classes;
  std::vector<std::uint16_t> ports;
  for (unsigned tos = 0; tos < 256; tos += 3) {
    ports.push_back(static_cast<std::uint16_t>(7200 + tos));
    classes.emplace_back(make.udp({.to = ports.back()}, {.tos = static_cast<std::uint8_t>(tos)}));
  }
  rows.ask("IP4-09", "all sorts of DSCP and ECN", classes, ports);
}

void add_address_rows(Rows& rows) {
  const Maker& make = rows.make;
  const Place& place = make.place;
  Frames forged;
  for (const std::string& from :
       {std::string("0.0.0.0"), std::string("0.0.0.1"), std::string("255.255.255.255"),
        std::string("224.0.0.1"), std::string("127.0.0.1"), std::string("169.254.1.1"), place.gateway4,
        place.dns4, place.neighbour4, place.network4, place.broadcast4, std::string("8.8.8.8"),
        place.remote4}) {
    forged.emplace_back(make.udp({}, {.from = from}));
    forged.emplace_back(make.tcp({}, {.from = from}));
    forged.emplace_back(make.icmp(8, 0, hex("00010001"), {.from = from}));
  }
  rows.drop("IP4-05", "a source that is not the lease, whatever the protocol", forged, Counter::kDropSpoofed);
  // Policy's to judge; the data plane asks, once each.
  Frames single;
  std::vector<std::uint16_t> ports;
  for (const std::string& to :
       {std::string("0.1.2.3"), std::string("127.0.0.1"), std::string("127.255.0.1"),
        std::string("169.254.169.254"), std::string("240.0.0.1"), std::string("10.99.0.2"),
        std::string("192.0.2.131"), std::string("198.51.100.200"), place.network4, place.neighbour4,
        place.gateway4}) {
    ports.push_back(static_cast<std::uint16_t>(7300 + ports.size()));
    single.emplace_back(make.udp({.to = ports.back()}, {.to = to}));
    ports.push_back(7777);
    single.emplace_back(
        make.tcp({.from = static_cast<std::uint16_t>(30000 + ports.size()), .to = 7777}, {.to = to}));
  }
  rows.ask("IP4-06", "single destinations that nobody may reach: the broker is asked, and it denies", single,
           ports);
  Frames groups, everybody;
  for (const char* to : {"224.0.0.1", "224.0.0.251", "239.255.255.250", "232.1.1.1"}) {
    groups.emplace_back(make.udp({}, {.to = to}));
    groups.emplace_back(make.tcp({}, {.to = to}));
    groups.emplace_back(make.icmp(8, 0, hex("00010001"), {.to = to}));
  }
  for (const std::string& to : {std::string("0.0.0.0"), std::string("255.255.255.255"), place.broadcast4}) {
    everybody.emplace_back(make.udp({}, {.to = to}));
    everybody.emplace_back(make.tcp({}, {.to = to}));
    everybody.emplace_back(make.icmp(8, 0, hex("00010001"), {.to = to}));
  }
  rows.drop("IP4-06", "groups", groups, Counter::kDropMulticast);
  rows.drop("IP4-06", "nobody, everybody, and the subnet's broadcast address", everybody,
            Counter::kDropBroadcast);
  rows.drop("IP4-07", "TTL 0", {make.udp({}, {.ttl = 0}), make.tcp({}, {.ttl = 0})});
  rows.drop(
      "IP4-07", "TTL 1 to the world",
      {make.udp({}, {.ttl = 1}), make.tcp({}, {.ttl = 1}), make.icmp(8, 0, hex("00010001"), {.ttl = 1})},
      Counter::kDropHopLimit, Says::kError);
  Frames protocols;
  for (unsigned protocol = 0; protocol < 256; ++protocol)
    if (protocol != 1 && protocol != 2 && protocol != 6 && protocol != 17 && protocol != 58)
      protocols.emplace_back(make.packet({.protocol = static_cast<std::uint8_t>(protocol)}, zeros(40)));
  rows.drop("IP4-08", "every protocol that is not carried", protocols, Counter::kDropProtocol, Says::kError);
  rows.drop_by_sum("IP4-08",
                   "ICMPv6 over IPv4, its checksum made for either family, neighbour discovery, too",
                   {make.packet({.protocol = 58}, hex("8000000000010001")),
                    make.packet({.protocol = 58, .ttl = 255}, hex("87000000") + zeros(20))});
  rows.drop("IP4-08", "IGMP, to a group and to the gateway",
            {make.packet({.to = "224.0.0.22", .protocol = 2, .ttl = 1}, hex("2200f9f800000000")),
             make.packet({.to = place.gateway4, .protocol = 2}, hex("1100eeff00000000"))},
            Counter::kIgnoredGroups);
}

}  // namespace

void add_ipv4_rows(Rows& rows) {
  add_header_rows(rows);
  add_address_rows(rows);
}

}  // namespace cordon::hostile
