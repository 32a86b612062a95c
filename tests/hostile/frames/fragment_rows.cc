// 4.3 Fragments.
#include <algorithm>

#include "tests/hostile/frames/rows.h"

namespace cordon::hostile {
namespace {

using Piece = Maker::Piece;

struct Cut {
  std::size_t at, end;
  bool more;
};

// Parts of one datagram, in the order they are named.
class Cutter {
 public:
  Cutter(const Maker& make, Buffer l4, Ip ip, bool v6)
      : make_(make), l4_(std::move(l4)), ip_(std::move(ip)), v6_(v6) {}
  [[nodiscard]] Frames operator()(std::initializer_list<Cut> cuts) const {
    Frames out;
    for (const Cut& cut : cuts) {
      Buffer bytes(l4_.begin() + static_cast<std::ptrdiff_t>(std::min(cut.at, l4_.size())),
                   l4_.begin() + static_cast<std::ptrdiff_t>(std::min(cut.end, l4_.size())));
      bytes.resize(cut.end - cut.at, std::byte{0xee});  // bytes the datagram does not have
      out.emplace_back(make_.fragment({cut.at, bytes, cut.more}, ip_, v6_));
    }
    return out;
  }

 private:
  const Maker& make_;
  Buffer l4_;
  Ip ip_;
  bool v6_;
};

Cutter datagram(const Maker& make, std::uint16_t port, std::size_t payload, bool v6, std::uint16_t id) {
  Buffer bytes(payload);
  for (std::size_t i = 0; i < payload; ++i) bytes[i] = static_cast<std::byte>(i * 31 + payload);
  const Ip ip{.protocol = 17, .id = id, .fragment = 0};
  return {make, make.udp_bytes({.to = port, .payload = bytes}, ip, v6), ip, v6};
}

void held_then(Rows& rows, const char* id, const char* what, Frames frames, std::uint64_t dropped,
               Counter outcome = Counter::kDropFragment) {
  const std::size_t count = frames.size();
  rows.add({id, what, std::move(frames), {{Counter::kFragmentHeld, count - dropped}, {outcome, dropped}}});
}

void add_flood_rows(Rows& rows, bool v6) {
  const Maker& make = rows.make;
  Frames never, ids, backwards;
  for (unsigned i = 0; i < 600; ++i) {
    const Ip ip{.protocol = 17, .id = static_cast<std::uint16_t>(i), .fragment = 0};
    never.emplace_back(make.fragment({0, zeros(1400), true}, ip, v6));
  }
  rows.drop("FRG-01", "first fragments of datagrams that never end", never, Counter::kFragmentHeld);
  for (unsigned i = 0; i < 8192; ++i) {
    const Ip ip{.protocol = 17, .id = static_cast<std::uint16_t>(i * 8), .fragment = 0};
    ids.emplace_back(make.fragment({8, zeros(8), true}, ip, v6));
  }
  rows.drop("FRG-09", "a flood of identifications", ids, Counter::kFragmentHeld);
  const Ip ip{.protocol = 17, .id = 7, .fragment = 0};
  const Buffer l4 = make.udp_bytes({.to = 7501, .payload = Buffer(32000, std::byte{7})}, ip, v6);
  for (std::size_t end = l4.size(); end > 0;) {
    const std::size_t at = (end - 1) / 8 * 8;
    backwards.emplace_back(make.fragment(
        {at,
         Buffer(l4.begin() + static_cast<std::ptrdiff_t>(at), l4.begin() + static_cast<std::ptrdiff_t>(end)),
         end != l4.size()},
        ip, v6));
    end = at;
  }
  const std::size_t count = backwards.size();
  rows.add({"FRG-08",
            "a datagram in pieces of eight bytes, last one first",
            std::move(backwards),
            {{Counter::kFragmentHeld, count - 1}, {Counter::kNewFlow, 1}},
            Says::kNothing,
            {7501}});
}

void add_overlap_rows(Rows& rows, bool v6) {
  const Maker& make = rows.make;
  const auto parts = [&](std::initializer_list<Cut> cuts) { return datagram(make, 7502, 192, v6, 9)(cuts); };
  held_then(rows, "FRG-04", "the same fragment twice",
            parts({{0, 80, true}, {0, 80, true}, {80, 200, false}}), 2);
  held_then(rows, "FRG-04", "shifted by eight", parts({{0, 80, true}, {72, 152, true}, {152, 200, false}}),
            2);
  held_then(rows, "FRG-04", "teardrop: inside of the one before",
            parts({{0, 80, true}, {24, 32, false}, {80, 200, false}}), 2);
  held_then(rows, "FRG-04", "around the one before",
            parts({{64, 80, true}, {0, 160, true}, {160, 200, false}}), 2);
  held_then(rows, "FRG-04", "a second start with other ports",
            parts({{8, 200, false}, {0, 16, true}, {0, 8, true}}), 2);
  held_then(rows, "FRG-07", "the end twice", parts({{80, 200, false}, {80, 200, false}, {0, 80, true}}), 2);
  held_then(rows, "FRG-07", "two ends", parts({{80, 200, false}, {200, 240, false}, {0, 80, true}}), 2);
  held_then(rows, "FRG-07", "a shorter end", parts({{80, 160, true}, {80, 120, false}, {0, 80, true}}), 2);
  held_then(rows, "FRG-07", "bytes behind the end", parts({{8, 80, false}, {80, 160, true}, {0, 8, true}}),
            2);
}

void add_whole_rows(Rows& rows, bool v6) {
  const Maker& make = rows.make;
  const std::uint16_t base = v6 ? 7520 : 7510;
  const auto row = [&](const char* id, const char* what, Frames frames, std::uint16_t port) {
    const std::size_t count = frames.size();
    rows.add({id,
              what,
              std::move(frames),
              {{Counter::kFragmentHeld, count - 1}, {Counter::kNewFlow, 1}},
              Says::kNothing,
              {port}});
  };
  const auto port = [&](unsigned n) { return static_cast<std::uint16_t>(base + n); };
  const auto large = datagram(make, port(0), 60000, v6, 20);
  row("FRG-02", "a datagram of 60,000 bytes, its fragments in any order",
      large({{40000, 50000, true},
             {0, 20000, true},
             {50000, 60008, false},
             {30000, 40000, true},
             {20000, 30000, true}}),
      port(0));
  const auto largest = datagram(make, port(1), v6 ? 65527 : 65507, v6, 21);
  row("FRG-02", "the largest there is", largest({{0, 32768, true}, {32768, v6 ? 65535U : 65515U, false}}),
      port(1));
  const Ip ip{.protocol = 6, .id = 30, .fragment = 0};
  const Cutter segment(make, make.tcp_bytes({.to = port(2), .options = hex("020405b4")}, ip, v6), ip, v6);
  row("FRG-10", "a first fragment that ends within the TCP header", segment({{0, 8, true}, {8, 24, false}}),
      port(2));
  const Cutter split(make, make.tcp_bytes({.to = port(3), .options = hex("020405b4")}, ip, v6), ip, v6);
  row("FRG-10", "and its parts the other way round", split({{16, 24, false}, {8, 16, true}, {0, 8, true}}),
      port(3));
  // A whole that is wrong.
  const Ip bad{.protocol = 17, .id = 31, .fragment = 0};
  const Cutter sum(make, make.udp_bytes({.payload = zeros(64), .sum = std::uint16_t{0x1234}}, bad, v6), bad,
                   v6);
  held_then(rows, "FRG-10", "the whole has a wrong checksum", sum({{0, 40, true}, {40, 72, false}}), 1);
  const Cutter length(make, make.udp_bytes({.payload = zeros(64), .length = std::uint16_t{500}}, bad, v6),
                      bad, v6);
  held_then(rows, "FRG-10", "the whole promises more bytes than it has",
            length({{0, 40, true}, {40, 72, false}}), 1);
}

void add_impossible_rows(Rows& rows) {
  const Maker& make = rows.make;
  const auto one = [&](std::size_t at, std::size_t size, bool more, bool v6) {
    return Frame(make.fragment({at, zeros(size), more}, {.protocol = 17, .id = 40, .fragment = 0}, v6));
  };
  rows.drop("FRG-03", "a first fragment as long as a packet can be is held, and leads nowhere",
            {one(0, 65512, true, false)}, Counter::kFragmentHeld);
  rows.drop("FRG-05", "fragments that end behind 65,535 bytes",
            {one(65528, 8, false, false), one(65528, 80, true, false), one(65512, 8, false, false),
             one(65528, 8, false, true), one(65528, 1400, false, true), one(60000, 6000, false, true)});
  rows.drop("FRG-07", "no multiple of eight, and not the last; nothing at all",
            {one(0, 7, true, false), one(0, 1401, true, false), one(80, 0, false, false),
             one(80, 0, true, false), one(0, 0, true, false), one(0, 7, true, true), one(0, 1401, true, true),
             one(80, 0, false, true), one(0, 0, true, true)});
  rows.drop("FRG-11", "the reserved flag, with and without others",
            {make.udp({}, {.fragment = 0x8000}), make.udp({}, {.fragment = 0xc000}),
             make.udp({}, {.fragment = 0xa000})});
  // RFC 6864 lets a fragment say DF; the datagram is put together all the same.
  const Buffer l4 = make.udp_bytes({.to = 7531, .payload = zeros(64)}, {}, false);
  const Buffer start(l4.begin(), l4.begin() + 40), rest(l4.begin() + 40, l4.end());
  rows.add({"FRG-11",
            "DF on fragments",
            {make.packet({.fragment = 0x6000}, start), make.packet({.fragment = 0x4005}, rest)},
            {{Counter::kFragmentHeld, 1}, {Counter::kNewFlow, 1}},
            Says::kNothing,
            {7531}});
  // The first fragment's TTL and class are the datagram's; options are nobody's.
  const Buffer other = make.udp_bytes({.to = 7532, .payload = zeros(64)}, {}, false);
  const Buffer head(other.begin(), other.begin() + 40), tail(other.begin() + 40, other.end());
  rows.add(
      {"FRG-06",
       "another TTL, class and options on the second fragment",
       {make.packet({.ttl = 64, .id = 50, .fragment = 0x2000}, head),
        make.packet({.ttl = 1, .tos = 0xff, .id = 50, .fragment = 0x0005, .options = hex("01010101")}, tail)},
       {{Counter::kFragmentHeld, 1}, {Counter::kNewFlow, 1}},
       Says::kNothing,
       {7532}});
  rows.drop("FRG-06", "another protocol, identification or destination is another datagram",
            {make.packet({.protocol = 17, .id = 51, .fragment = 0x2000}, head),
             make.packet({.protocol = 6, .id = 51, .fragment = 0x0005}, tail),
             make.packet({.protocol = 17, .id = 52, .fragment = 0x0005}, tail),
             make.packet({.to = "192.0.2.11", .protocol = 17, .id = 51, .fragment = 0x0005}, tail)},
            Counter::kFragmentHeld);
  rows.drop("FRG-06", "a fragment from another source",
            {make.packet({.from = "8.8.8.8", .fragment = 0x2000}, head)}, Counter::kDropSpoofed);
}

void add_fragment_header_rows(Rows& rows) {
  const Maker& make = rows.make;
  const auto header = [](const char* next, const char* offset) {
    return hex(next) + hex("00") + hex(offset) + hex("0000002a");
  };
  const auto l4 = [&](std::uint16_t port) { return make.udp_bytes({.to = port}, {}, true); };
  rows.ask("FRG-12", "atomic fragments are whole",
           {make.packet({.protocol = 44}, header("11", "0000") + l4(7541), true),
            make.packet({.protocol = 44}, header("11", "0006") + l4(7542), true)},
           {7541, 7542});
  const Buffer twice = header("2c", "0000") + header("11", "0000") + l4(7543);
  const Buffer behind = header("3c", "0000") + hex("1100010400000000") + l4(7544);
  rows.drop("FRG-12", "a fragment header behind another one, cut short, or of a length that cannot be",
            {make.packet({.protocol = 44}, twice, true), make.packet({.protocol = 44}, hex("11000001"), true),
             make.packet({.protocol = 44}, header("11", "0001"), true)});
  rows.ask("FRG-12", "options behind an atomic fragment header",
           {make.packet({.protocol = 44}, behind, true)}, {7544});
  // Destination options in front, 600 bytes: more than a chain may have.
  Buffer chain;
  for (int i = 0; i < 3; ++i) {
    Buffer options(200);
    options[0] = i == 2 ? std::byte{44} : std::byte{60};
    options[1] = std::byte{24};
    options[2] = std::byte{1};
    options[3] = std::byte{196};
    chain = chain + options;
  }
  rows.drop("FRG-12", "a fragment header behind a chain that is too long",
            {make.packet({.protocol = 60}, chain + header("11", "0000") + l4(7545), true)});
  // A whole whose inside begins with a fragment header.
  const Buffer inside = header("11", "0000") + l4(7546) + zeros(3);
  rows.add(
      {"FRG-12",
       "fragments that hold a fragment",
       {make.packet({.protocol = 44}, header("2c", "0001") + Buffer(inside.begin(), inside.begin() + 8),
                    true),
        make.packet({.protocol = 44}, header("2c", "0008") + Buffer(inside.begin() + 8, inside.end()), true)},
       {{Counter::kFragmentHeld, 1}, {Counter::kDropFragment, 1}}});
}

}  // namespace

void add_fragment_rows(Rows& rows) {
  for (const bool v6 : {false, true}) {
    add_flood_rows(rows, v6);
    add_overlap_rows(rows, v6);
    add_whole_rows(rows, v6);
  }
  add_impossible_rows(rows);
  add_fragment_header_rows(rows);
}

}  // namespace cordon::hostile
