// 4.1 Ethernet and ARP.
#include "tests/hostile/frames/rows.h"

namespace cordon::hostile {

void Rows::drop(const char* id, std::string what, Frames frames, Counter outcome, Says says) {
  const std::size_t count = frames.size();
  add({id, std::move(what), std::move(frames), {{outcome, count}}, says});
}

void Rows::drop_by_sum(const char* id, std::string what, Frames frames) {
  drop(id, std::move(what), std::move(frames));
  all.back().verifies = true;
}

void Rows::ask(const char* id, std::string what, Frames frames, std::vector<std::uint16_t> ports) {
  const std::size_t count = frames.size();
  add({id,
       std::move(what),
       std::move(frames),
       {{Counter::kNewFlow, count}},
       Says::kNothing,
       std::move(ports)});
}

namespace {

// 802.1Q and its kin in front of an IPv4 packet, the innermost last.
Buffer tagged(const Maker& make, const std::vector<std::uint16_t>& types, std::uint16_t tag) {
  Buffer inner = hex("0800") + make.ip({}, make.udp_bytes({}, {}, false));
  for (std::size_t i = types.size(); i-- > 1;) {
    Buffer head(4);
    test::put16(head, 0, types[i]);
    test::put16(head, 2, tag);
    inner = head + inner;
  }
  Buffer first(2);
  test::put16(first, 0, tag);
  return make.ethernet(types[0], first + inner);
}

void add_ethernet_rows(Rows& rows) {
  const Maker& make = rows.make;
  Frames shorts;
  for (std::size_t size = 0; size < 14; ++size) shorts.emplace_back(Buffer(size, std::byte{0xff}));
  rows.drop("ETH-01", "frames of 0 to 13 bytes", shorts);
  rows.drop("ETH-01", "fourteen bytes and nothing behind them",
            {make.ethernet(0x0800, {}), make.ethernet(0x86dd, {})});
  rows.drop("ETH-04", "802.1Q, QinQ and priority tags, up to four",
            {tagged(make, {0x8100}, 5), tagged(make, {0x8100}, 0), tagged(make, {0x88a8}, 5),
             tagged(make, {0x88a8, 0x8100}, 5), tagged(make, {0x8100, 0x8100, 0x8100, 0x8100}, 7)});
  rows.drop("ETH-04", "the tag type of old switches", {tagged(make, {0x9100}, 5)});
  Frames lengths;
  for (const unsigned length : {0U, 1U, 38U, 46U, 1500U, 1535U})
    lengths.emplace_back(
        make.ethernet(static_cast<std::uint16_t>(length), hex("424203") + zeros(60), {}, "0180c2000000"));
  rows.drop("ETH-05", "802.3 with LLC: STP and any other length", lengths);
  rows.drop("ETH-05", "SNAP around an IPv4 packet",
            {make.ethernet(60, hex("aaaa03 000000 0800") + make.ip({}, make.udp_bytes({}, {}, false)))});
  rows.drop(
      "ETH-05", "LLDP, LACP, 802.1X, PPPoE, MPLS, WoL",
      {make.ethernet(0x88cc, zeros(46), {}, "0180c200000e"),
       make.ethernet(0x8809, zeros(110), {}, "0180c2000002"),
       make.ethernet(0x888e, zeros(46), {}, "0180c2000003"), make.ethernet(0x8863, zeros(46)),
       make.ethernet(0x8864, zeros(46)), make.ethernet(0x8847, zeros(46)), make.ethernet(0x0842, zeros(102))},
      Counter::kDropEtherType);
  Frames forged;
  for (const std::string& mac : {make.place.our_mac, std::string("ffffffffffff"), std::string("01005e000001"),
                                 std::string("333300000001"), std::string("000000000000"),
                                 std::string("0200000000aa"), std::string("0200000000ab")}) {
    Buffer frame = make.udp();
    const Buffer source = hex(mac);
    std::copy(source.begin(), source.end(), frame.begin() + 6);
    forged.emplace_back(frame);
    frame = make.udp({}, {}, true);
    std::copy(source.begin(), source.end(), frame.begin() + 6);
    forged.emplace_back(frame);
    frame = make.arp(1, make.place.guest_mac, make.place.guest4, make.place.gateway4);
    std::copy(source.begin(), source.end(), frame.begin() + 6);
    forged.emplace_back(frame);
  }
  rows.drop("ETH-06", "source MAC ours, of everybody, of a group, zero, changing", forged,
            Counter::kDropSpoofed);
  Frames foreign;
  for (const bool v6 : {false, true})
    for (const char* mac : {"0200000000aa", "000000000000", "020000000015"}) {
      Buffer frame = make.udp({}, {}, v6);
      const Buffer to = hex(mac);
      std::copy(to.begin(), to.end(), frame.begin());
      foreign.emplace_back(frame);
    }
  rows.drop("ETH-07", "a unicast MAC that is not ours", foreign, Counter::kDropLocal);
  const Buffer second = make.ip({.protocol = 6}, make.tcp_bytes({.to = 666}, {.protocol = 6}, false));
  rows.ask("ETH-08", "a second packet in the padding",
           {make.udp({.to = 7001}) + second, make.udp({.to = 7002}, {}, true) + second}, {7001, 7002});
}

void add_arp_rows(Rows& rows) {
  const Maker& make = rows.make;
  const Place& place = make.place;
  const std::string net = place.network4.substr(0, place.network4.rfind('.') + 1);
  Frames scan;
  for (int host = 0; host < 256; ++host)
    scan.emplace_back(make.arp(1, place.guest_mac, place.guest4, net + std::to_string(host)));
  rows.add({"ARP-01",
            "a question for every address of the subnet",
            scan,
            {{Counter::kAnsweredLocally, 2}, {Counter::kDropLocal, 254}},
            Says::kAnswer});
  const Buffer whole = make.arp(1, place.guest_mac, place.guest4, place.gateway4);
  Frames cut;
  for (std::size_t size = 14; size < 42; ++size) {
    Buffer frame = whole;
    frame.resize(size);
    cut.emplace_back(frame);
  }
  rows.drop("ARP-02", "cut at every byte", cut, Counter::kDropLanBroken);
  Frames odd;
  struct Change {
    std::size_t at;
    std::uint8_t value;
  };
  // Hardware type, protocol type, lengths, operation.
  for (const Change change : {Change{15, 0}, Change{15, 6}, Change{14, 1}, Change{16, 0x86}, Change{18, 0},
                              Change{18, 5}, Change{18, 255}, Change{19, 0}, Change{19, 16}, Change{19, 255},
                              Change{21, 0}, Change{21, 3}, Change{21, 8}, Change{20, 1}}) {
    Buffer frame = whole;
    frame[change.at] = static_cast<std::byte>(change.value);
    odd.emplace_back(frame);
  }
  rows.drop("ARP-02", "other hardware, protocols, lengths and operations", odd, Counter::kDropLanBroken);
  Frames claims;
  for (const std::uint16_t operation : {std::uint16_t{1}, std::uint16_t{2}})
    for (const std::string& claimed : {place.gateway4, place.dns4, place.neighbour4, place.broadcast4,
                                       std::string("8.8.8.8"), std::string("255.255.255.255")})
      claims.emplace_back(make.arp(operation, place.guest_mac, claimed, claimed));
  claims.emplace_back(make.arp(1, "0200000000aa", place.guest4, place.gateway4));
  claims.emplace_back(make.arp(2, place.our_mac, place.gateway4, place.guest4));
  rows.drop("ARP-03", "claims of the gateway's, a neighbour's and other addresses", claims,
            Counter::kDropSpoofed);
  rows.add({"ARP-04",
            "a probe for the gateway is answered",
            {make.arp(1, place.guest_mac, "0.0.0.0", place.gateway4)},
            {{Counter::kAnsweredLocally, 1}},
            Says::kAnswer});
  rows.drop("ARP-04", "a probe for the own lease, and its announcement",
            {make.arp(1, place.guest_mac, "0.0.0.0", place.guest4),
             make.arp(1, place.guest_mac, place.guest4, place.guest4),
             make.arp(2, place.guest_mac, place.guest4, place.guest4)},
            Counter::kDropLocal);
}

}  // namespace

void add_link_rows(Rows& rows) {
  add_ethernet_rows(rows);
  add_arp_rows(rows);
}

}  // namespace cordon::hostile
