// 4.5 TCP, as far as a row needs no connection; the others are in tcp_scripts_test.cc.
#include "tests/hostile/frames/rows.h"

namespace cordon::hostile {
namespace {

void add_header_rows(Rows& rows, bool v6) {
  const Maker& make = rows.make;
  rows.drop("TCP-01", "ports of zero",
            {make.tcp({.from = 0, .to = 0}, {}, v6), make.tcp({.from = 0}, {}, v6),
             make.tcp({.to = 0}, {}, v6), make.tcp({.to = 0, .flags = kAck}, {}, v6)});
  Frames offsets;
  for (unsigned words = 0; words < 5; ++words) offsets.emplace_back(make.tcp({.offset = words}, {}, v6));
  offsets.emplace_back(make.tcp({.offset = 6U}, {}, v6));
  offsets.emplace_back(make.tcp({.offset = 15U}, {}, v6));
  offsets.emplace_back(make.tcp({.payload = zeros(39), .offset = 15U}, {}, v6));
  const Buffer segment = make.tcp_bytes({}, {}, v6);
  for (std::size_t size = 0; size < 20; ++size)
    offsets.emplace_back(make.packet(
        {.protocol = 6}, Buffer(segment.begin(), segment.begin() + static_cast<std::ptrdiff_t>(size)), v6));
  rows.drop("TCP-02", "data offsets below 5 or beyond the segment, headers cut short", offsets);
  rows.drop_by_sum(
      "TCP-03", "checksums that are wrong, zero or of the pseudo header alone",
      {make.tcp({.sum = std::uint16_t{0x1234}}, {}, v6), make.tcp({.sum = std::uint16_t{0}}, {}, v6),
       make.tcp({.sum = std::uint16_t{0xffff}}, {}, v6)});
  // All 512 combinations of flags towards no connection: a SYN opens, whatever rides along with it.
  Frames strays, opens;
  std::vector<std::uint16_t> ports;
  for (unsigned flags = 0; flags < 512; ++flags) {
    const bool opening = (flags & kSyn) != 0 && (flags & (kAck | kRst | kFin)) == 0;
    const auto from = static_cast<std::uint16_t>(20000 + flags);
    const Buffer frame =
        make.tcp({.from = from, .to = 8000, .ack = 77, .flags = static_cast<std::uint16_t>(flags)}, {}, v6);
    (opening ? opens : strays).emplace_back(frame);
    if (opening) ports.push_back(8000);
  }
  rows.drop("TCP-04", "every combination of flags that opens nothing", strays, Counter::kStraySegment,
            Says::kReset);
  rows.ask("TCP-23", "a SYN with any of PSH, URG, ECE, CWR and AE", opens, ports);
  rows.drop("TCP-13", "an unasked SYN-ACK", {make.tcp({.ack = 1, .flags = kSyn | kAck}, {}, v6)},
            Counter::kStraySegment, Says::kReset);
  rows.drop("TCP-11", "a reset for no connection is not answered",
            {make.tcp({.flags = kRst}, {}, v6), make.tcp({.flags = kRst | kAck}, {}, v6)},
            Counter::kStraySegment);
}

void add_option_rows(Rows& rows, bool v6) {
  const Maker& make = rows.make;
  std::uint16_t port = v6 ? 8300 : 8200;
  const auto syn = [&](const char* options, const Buffer& payload = {}) {
    Buffer bytes = hex(options);
    bytes.resize((bytes.size() + 3) / 4 * 4);
    return Frame(make.tcp({.to = port++, .options = bytes, .payload = payload}, {}, v6));
  };
  rows.drop("TCP-06", "options of length 0 or 1, beyond the header, or of a size of their own",
            {syn("0200"), syn("0201"), syn("ff00"), syn("ff01"), syn("01010102"), syn("02040505 01010103"),
             syn("0203050000000000"), syn("03040700"), syn("0403 0000"), syn("050b 00000000000000000000"),
             syn("0528 0000"), syn("0101010101010101ff10")});
  const auto ports = [](std::uint16_t from, std::size_t count) {
    std::vector<std::uint16_t> out;
    for (std::size_t i = 0; i < count; ++i) out.push_back(static_cast<std::uint16_t>(from + i));
    return out;
  };
  std::uint16_t first = port;
  rows.ask(
      "TCP-06", "soup of forty bytes, unknown kinds, SACK in a SYN, time stamps",
      {syn("01010101010101010101010101010101010101010101010101010101010101010101010101010101"),
       syn("00ffffffffffffffffffffff"), syn("fe0400000000"), syn("050a0000000000000001"), syn("1303 00 00")},
      ports(first, 5));
  first = port;
  rows.ask("TCP-22", "time stamps, which are not taken up",
           {syn("080a0000000000000000"), syn("0402080affffffff00000000")}, ports(first, 2));
  first = port;
  rows.ask("TCP-05", "MSS 0, 1, 47, 65,535, and twice",
           {syn("02040000"), syn("02040001"), syn("0204002f"), syn("0204ffff"), syn("020405b402040001")},
           ports(first, 5));
  first = port;
  rows.ask("TCP-07", "window scale 14, 15 and 255, and twice",
           {syn("03030e00"), syn("03030f00"), syn("0303ff00"), syn("0303000303ff0000")}, ports(first, 4));
  first = port;
  rows.ask(
      "TCP-10", "a SYN with data, with and without a Fast Open cookie",
      {syn("", hex("474554202f")), syn("220a 0011223344556677", hex("474554202f")), syn("2202", zeros(1200))},
      ports(first, 3));
  rows.drop("TCP-10", "a SYN with FIN, with and without data",
            {make.tcp({.flags = kSyn | kFin}, {}, v6),
             make.tcp({.flags = kSyn | kFin, .payload = hex("474554")}, {}, v6)},
            Counter::kStraySegment, Says::kReset);
}

}  // namespace

void add_tcp_rows(Rows& rows) {
  for (const bool v6 : {false, true}) {
    add_header_rows(rows, v6);
    add_option_rows(rows, v6);
  }
  const Maker& make = rows.make;
  // A link's word on the checksum must fit the segment.
  const auto partial = [&](std::uint16_t start, std::uint16_t offset) {
    link::Offload offload;
    offload.needs_checksum = true;
    offload.checksum_start = start;
    offload.checksum_offset = offset;
    return Frame(make.tcp({.sum = std::uint16_t{0}}), offload);
  };
  rows.drop("TCP-03", "a partial checksum anywhere but in the TCP header",
            {partial(14, 10), partial(33, 16), partial(34, 6), partial(34, 17), partial(35, 16)},
            Counter::kDropOffload);
}

}  // namespace cordon::hostile
