#include "core/wire/packet.h"

#include <doctest/doctest.h>

#include "core/wire/describe.h"
#include "core/wire/tcp.h"
#include "core/wire/udp.h"
#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using test::operator+;
using wire::ChecksumPolicy;
using wire::EtherType;
using wire::ParseError;

namespace {

const test::Buffer kEcho4 = hex("0800 0000 0007 0001 6162");
const test::Buffer kEcho6 = hex("8000 0000 0007 0001 6162");
const test::Buffer kTcpSyn = hex("c000 01bb 0000002a 00000000 5002 ffff 0000 0000");

struct Kind {
  std::string_view name;
  bool v4;
  std::uint8_t protocol;
  const test::Buffer& l4;
  std::size_t checksum_at;
  ParseError error;
};
const Kind kKinds[] = {
    {"udp4", true, 17, test::kUdpHello, 6, ParseError::kUdpChecksum},
    {"udp6", false, 17, test::kUdpHello, 6, ParseError::kUdpChecksum},
    {"tcp4", true, 6, kTcpSyn, 16, ParseError::kTcpChecksum},
    {"tcp6", false, 6, kTcpSyn, 16, ParseError::kTcpChecksum},
    {"icmp", true, 1, kEcho4, 2, ParseError::kIcmpChecksum},
    {"icmp6", false, 58, kEcho6, 2, ParseError::kIcmpChecksum},
};

test::Buffer make(const Kind& kind) {
  auto packet = kind.v4 ? test::ipv4(kind.protocol, kind.l4) : test::ipv6(kind.protocol, kind.l4);
  test::fix_l4_checksum(packet, kind.checksum_at);
  return packet;
}

EtherType type_of(const Kind& kind) { return kind.v4 ? EtherType::kIpv4 : EtherType::kIpv6; }

}  // namespace

TEST_CASE("packet: both families give the same value") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.name);
    const auto bytes = make(kind);
    const auto padded = bytes + test::zeros(7);
    const auto packet = wire::parse_packet(padded, type_of(kind), ChecksumPolicy::kVerifyL4).value();
    CHECK(packet.source == *net::parse_ip(kind.v4 ? "10.0.2.15" : "fd00:c0:2d::15"));
    CHECK(packet.destination == *net::parse_ip(kind.v4 ? "192.0.2.1" : "2001:db8::1"));
    CHECK(static_cast<unsigned>(packet.protocol) == kind.protocol);
    CHECK(packet.hop_limit == 64);
    CHECK(packet.dont_fragment);
    CHECK_FALSE(packet.is_fragment);
    CHECK(packet.l4_offset == (kind.v4 ? 34 : 54));
    CHECK(packet.ip.size() == bytes.size());
    CHECK(packet.l4.size() == kind.l4.size());
  }
}

TEST_CASE("packet: every flipped L4 bit is found, unless the link vouches") {
  for (const Kind& kind : kKinds) {
    const auto good = make(kind);
    for (std::size_t bit = (good.size() - kind.l4.size()) * 8; bit < good.size() * 8; ++bit) {
      auto bad = good;
      bad[bit / 8] ^= static_cast<std::byte>(0x80U >> (bit % 8));
      CAPTURE(kind.name);
      CAPTURE(bit);
      const auto skipped = wire::parse_packet(bad, type_of(kind), ChecksumPolicy::kSkipL4);
      REQUIRE(skipped.has_value());
      REQUIRE_FALSE(wire::verify_l4_checksum(*skipped).has_value());
      const auto verified = wire::parse_packet(bad, type_of(kind), ChecksumPolicy::kVerifyL4);
      REQUIRE_FALSE(verified.has_value());
    }
    auto bad = good;
    bad.back() ^= std::byte{1};
    CHECK(wire::parse_packet(bad, type_of(kind), ChecksumPolicy::kVerifyL4).error() == kind.error);
  }
}

TEST_CASE("packet: UDP without a checksum passes for IPv4 only") {
  const auto v4 = test::ipv4(17, test::kUdpHello);
  CHECK(wire::parse_packet(v4, EtherType::kIpv4, ChecksumPolicy::kVerifyL4).has_value());
  const auto v6 = test::ipv6(17, test::kUdpHello);
  CHECK(wire::parse_packet(v6, EtherType::kIpv6, ChecksumPolicy::kVerifyL4).error() ==
        ParseError::kUdpChecksumMissing);
}

TEST_CASE("packet: the family comes from the Ethernet type, not from the version nibble") {
  const auto v4 = test::ipv4(17, test::kUdpHello);
  CHECK(wire::parse_packet(v4 + test::zeros(20), EtherType::kIpv6, ChecksumPolicy::kSkipL4).error() ==
        ParseError::kIpv6Version);
  const auto v6 = test::ipv6(17, test::kUdpHello);
  CHECK(wire::parse_packet(v6, EtherType::kIpv4, ChecksumPolicy::kSkipL4).error() ==
        ParseError::kIpv4Version);
  CHECK(wire::parse_packet(v4, EtherType{0x88cc}, ChecksumPolicy::kSkipL4).error() ==
        ParseError::kEthernetUnknownType);
}

TEST_CASE("packet: L4 begins behind IPv4 options and IPv6 extension headers") {
  auto v4 = test::ipv4(6, kTcpSyn, hex("94040000"));
  const auto with_option = wire::parse_packet(v4, EtherType::kIpv4, ChecksumPolicy::kSkipL4).value();
  CHECK(with_option.l4_offset == 38);
  CHECK(wire::TcpView::parse(with_option.l4)->destination_port() == net::Port{443});
  auto v6 = test::ipv6(60, hex("0600010400000000") + kTcpSyn);
  const auto with_header = wire::parse_packet(v6, EtherType::kIpv6, ChecksumPolicy::kSkipL4).value();
  CHECK(with_header.l4_offset == 62);
  CHECK(with_header.protocol == wire::IpProtocol::kTcp);
  CHECK(wire::TcpView::parse(with_header.l4)->destination_port() == net::Port{443});
}

TEST_CASE("packet: fragments carry no verifiable checksum and say where they belong") {
  const auto bytes = test::ipv4(17, test::zeros(16), {}, 0x2003);
  const auto packet = wire::parse_packet(bytes, EtherType::kIpv4, ChecksumPolicy::kVerifyL4).value();
  CHECK(packet.is_fragment);
  CHECK(packet.more_fragments);
  CHECK(packet.fragment_offset == 24);
  CHECK(packet.fragment_id == 0x1234);
}

TEST_CASE("describe: one line for usual frames") {
  const auto eth4 = hex("525400000001 525400000002 0800");
  auto tcp = test::ipv4(6, kTcpSyn);
  test::fix_l4_checksum(tcp, 16);
  CHECK(wire::describe(eth4 + tcp) == "10.0.2.15:49152 > 192.0.2.1:443 tcp S seq 42 ack 0 win 65535 len 0");
  CHECK(wire::describe(eth4 + test::ipv4(17, test::kUdpHello)) == "10.0.2.15:40000 > 192.0.2.1:53 udp len 5");
  CHECK(wire::describe(eth4 + test::ipv4(132, test::zeros(4))) == "10.0.2.15 > 192.0.2.1 protocol 132 len 4");
  CHECK(wire::describe(hex("525400000001 525400000002 86dd 60")) == "ip refused: ipv6_truncated");
  CHECK(wire::describe({}) == "refused: ethernet_truncated");
  CHECK(wire::describe(
            hex("ffffffffffff 525400000002 0806 0001 0800 06 04 0001 525400000002 0a00020f 000000000000 "
                "0a000202")) == "arp who-has 10.0.2.2 tell 10.0.2.15 52:54:00:00:00:02");
}

TEST_CASE("describe: any bytes give one line") {
  std::mt19937 random(1);
  constexpr std::array<unsigned, 4> kTypes{0x0800, 0x0806, 0x86dd, 0x88cc};
  for (int round = 0; round < 20000; ++round) {
    const Kind& kind = kKinds[random() % std::size(kKinds)];
    auto frame = hex("525400000001 525400000002 0000") + make(kind);
    test::put16(frame, 12, random() % 4 == 0 ? kTypes[random() % 4] : static_cast<unsigned>(type_of(kind)));
    for (std::size_t flips = random() % 6; flips > 0; --flips)
      frame[12 + random() % (frame.size() - 12)] = static_cast<std::byte>(random() & 0xffU);
    frame.resize(random() % (frame.size() + 1));
    const auto line = wire::describe(frame);
    REQUIRE_FALSE(line.empty());
    REQUIRE(line.find('\n') == std::string::npos);
  }
}

TEST_CASE("packet: the start of a TCP segment stands for all of it, and of nothing else") {
  const auto tcp = kTcpSyn + test::zeros(5000);
  const auto options6 = hex("06 00 01 04 00000000") + tcp;
  struct Case {
    std::string_view name;
    test::Buffer packet;
    bool v4;
    std::size_t start, l4_offset;  // 0: no
  };
  const auto with_fragment = [&](test::Buffer packet) {
    packet[6] = std::byte{0x20};
    return packet;
  };
  const Case cases[] = {
      {"IPv4", test::ipv4(6, tcp), true, 200, 34},
      {"IPv4, just the headers", test::ipv4(6, tcp), true, 40, 34},
      {"IPv4, less than the headers", test::ipv4(6, tcp), true, 39, 0},
      {"IPv6", test::ipv6(6, tcp), false, 200, 54},
      {"IPv6 with options", test::ipv6(60, options6), false, 200, 62},
      {"IPv6 with options that are not all there", test::ipv6(60, options6), false, 47, 0},
      {"UDP", test::ipv4(17, tcp), true, 200, 0},
      {"ICMPv6", test::ipv6(58, tcp), false, 200, 0},
      {"IPv4 with padding", test::ipv4(6, tcp) + test::zeros(1), true, 200, 0},
      {"IPv6 with padding", test::ipv6(6, tcp) + test::zeros(1), false, 200, 0},
      {"a fragment, and a wrong sum", with_fragment(test::ipv4(6, tcp)), true, 200, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto type = c.v4 ? EtherType::kIpv4 : EtherType::kIpv6;
    test::Buffer bytes = c.packet;
    const iovec rest{bytes.data() + c.start, bytes.size() - c.start};
    const auto read = [&](std::size_t tail) {
      return wire::parse_tcp_start(std::span(bytes).first(c.start), type, std::span(&rest, 1), tail);
    };
    const auto packet = read(rest.iov_len);
    REQUIRE(packet.has_value() == (c.l4_offset != 0));
    // A length that is not the frame's.
    CHECK_FALSE(read(rest.iov_len - 2));
    CHECK_FALSE(read(rest.iov_len + 1));
    CHECK_FALSE(wire::parse_tcp_start(std::span(bytes).first(c.start), EtherType::kArp, {}, rest.iov_len));
    if (!packet) continue;
    CHECK(packet->l4_offset == c.l4_offset);
    CHECK(packet->ip.size() == c.start);
    CHECK(packet->l4.size() == c.start - (c.l4_offset - 14));
    CHECK(packet->tail_size == rest.iov_len);
    CHECK(packet->tail.data() == &rest);
  }
}
