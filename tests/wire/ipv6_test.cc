#include "core/wire/ipv6.h"

#include <doctest/doctest.h>

#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using test::operator+;
using wire::Ipv6View;
using wire::ParseError;

namespace {

test::Buffer pad_header(unsigned next, unsigned extra_words = 0) {
  test::Buffer out(8 + std::size_t{extra_words} * 8);
  out[0] = static_cast<std::byte>(next);
  out[1] = static_cast<std::byte>(extra_words);
  return out;  // Pad1 options
}

}  // namespace

TEST_CASE("ipv6: a plain packet, and padding behind it") {
  const auto packet = test::ipv6(17, test::kUdpHello);
  const auto padded = packet + test::zeros(20);
  const auto view = Ipv6View::parse(padded).value();
  CHECK(view.source() == net::parse_ipv6("fd00:c0:2d::15").value());
  CHECK(view.destination() == net::parse_ipv6("2001:db8::1").value());
  CHECK(view.protocol() == wire::IpProtocol::kUdp);
  CHECK(view.hop_limit() == 64);
  CHECK(view.packet().size() == packet.size());
  CHECK(view.payload().size() == test::kUdpHello.size());
  CHECK_FALSE(view.is_fragment());
}

TEST_CASE("ipv6: truncated at every length") {
  const auto packet = test::ipv6(60, pad_header(17) + test::kUdpHello);
  for (std::size_t size = 0; size < packet.size(); ++size) {
    CAPTURE(size);
    REQUIRE(Ipv6View::parse(base::Bytes{packet}.first(size)).error() ==
            (size < 40 ? ParseError::kIpv6Truncated : ParseError::kIpv6PayloadLength));
  }
}

TEST_CASE("ipv6: version, hop limit, traffic class") {
  auto packet = test::ipv6(17, test::kUdpHello);
  packet[0] = std::byte{0x45};
  CHECK(Ipv6View::parse(packet).error() == ParseError::kIpv6Version);
  CHECK(Ipv6View::parse(test::ipv6(17, test::kUdpHello, 0)).error() == ParseError::kHopLimitZero);
  packet[0] = std::byte{0x6b};
  packet[1] = std::byte{0x8f};
  CHECK(Ipv6View::parse(packet)->traffic_class() == 0xb8);
}

TEST_CASE("ipv6: extension headers") {
  const auto udp = test::kUdpHello;
  struct Case {
    std::string_view name;
    unsigned first;
    test::Buffer payload;
    std::optional<ParseError> error;
  };
  test::Buffer eight;
  for (int i = 0; i < 7; ++i) eight = eight + pad_header(60);
  const auto nine = eight + pad_header(60) + pad_header(17) + udp;
  eight = eight + pad_header(17) + udp;
  const Case cases[] = {
      {"destination options", 60, pad_header(17) + udp, {}},
      {"hop-by-hop first", 0, pad_header(60) + pad_header(17) + udp, {}},
      {"hop-by-hop second", 60, pad_header(0) + pad_header(17) + udp, ParseError::kIpv6HopByHopNotFirst},
      {"hop-by-hop twice", 0, pad_header(0) + pad_header(17) + udp, ParseError::kIpv6HopByHopNotFirst},
      {"eight headers", 60, eight, {}},
      {"nine headers", 60, nine, ParseError::kIpv6ExtensionCount},
      {"512 bytes", 60, pad_header(17, 63) + udp, {}},
      {"520 bytes", 60, pad_header(17, 64) + udp, ParseError::kIpv6ExtensionBytes},
      {"512 and 8 bytes", 60, pad_header(60, 63) + pad_header(17) + udp, ParseError::kIpv6ExtensionBytes},
      {"an empty upper layer is for its own parser", 60, pad_header(17), {}},
      {"longer than the packet", 60, hex("11ff000000000000"), ParseError::kIpv6ExtensionTruncated},
      {"fewer than 8 bytes", 60, hex("1100000000"), ParseError::kIpv6ExtensionTruncated},
      {"nothing behind the chain", 60, {}, ParseError::kIpv6ExtensionTruncated},
      {"routing type 0", 43, hex("1100000000000000") + udp, ParseError::kIpv6RoutingHeader},
      {"routing type 4", 43, hex("1100040000000000") + udp, ParseError::kIpv6RoutingHeader},
      {"routing behind options", 60, pad_header(43) + hex("1100020000000000") + udp,
       ParseError::kIpv6RoutingHeader},
      {"no next header", 59, {}, ParseError::kIpv6NoNextHeader},
      {"no next header with payload", 60, pad_header(59) + udp, ParseError::kIpv6NoNextHeader},
      {"PadN", 60, hex("11000104ffffffff") + udp, {}},
      {"PadN overruns", 60, hex("1100010500000000") + udp, ParseError::kIpv6OptionLength},
      {"option without length", 60, hex("1100000000000001") + udp, ParseError::kIpv6OptionLength},
      {"unknown, skip", 60, hex("11003e0400000000") + udp, {}},
      {"unknown, discard", 60, hex("11007e0400000000") + udp, ParseError::kIpv6OptionUnknown},
      {"unknown, discard and report", 60, hex("1100be0400000000") + udp, ParseError::kIpv6OptionUnknown},
      {"unknown, discard and report unicast", 60, hex("1100fe0400000000") + udp,
       ParseError::kIpv6OptionUnknown},
      {"jumbo payload", 0, hex("1100c20400010000") + udp, ParseError::kIpv6OptionUnknown},
      {"home address", 60, hex("1102 c910") + test::zeros(16) + hex("01020000") + udp,
       ParseError::kIpv6OptionUnknown},
      {"router alert", 0, hex("1100050200000100") + udp, {}},
      {"router alert of the wrong size", 0, hex("1100050400000000") + udp, ParseError::kIpv6OptionLength},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto packet = test::ipv6(static_cast<std::uint8_t>(c.first), c.payload);
    const auto view = Ipv6View::parse(packet);
    if (c.error) {
      CHECK(view.error() == *c.error);
    } else {
      REQUIRE(view.has_value());
      CHECK(view->protocol() == wire::IpProtocol::kUdp);
      CHECK(view->payload_offset() + view->payload().size() == packet.size());
    }
  }
}

TEST_CASE("ipv6: an upper protocol nobody serves ends the walk") {
  for (const unsigned protocol : {50U, 51U, 135U, 139U, 253U, 255U}) {
    CAPTURE(protocol);
    const auto packet = test::ipv6(static_cast<std::uint8_t>(protocol), test::zeros(8));
    CHECK(static_cast<unsigned>(Ipv6View::parse(packet)->protocol()) == protocol);
  }
}

TEST_CASE("ipv6: fragment headers") {
  const auto udp = test::kUdpHello + test::zeros(3);  // 16 bytes
  SUBCASE("an atomic fragment is a whole packet (RFC 6946)") {
    const auto packet = test::ipv6(44, hex("1100 0000 00000007") + udp);
    const auto view = Ipv6View::parse(packet).value();
    CHECK_FALSE(view.is_fragment());
    CHECK(view.protocol() == wire::IpProtocol::kUdp);
    CHECK(view.payload().size() == 16);
  }
  SUBCASE("first and later fragments") {
    const auto first_packet = test::ipv6(44, hex("1100 0001 00000007") + udp);
    const auto first = Ipv6View::parse(first_packet).value();
    CHECK(first.is_fragment());
    CHECK(first.more_fragments());
    CHECK(first.fragment_id() == 7);
    const auto last_packet = test::ipv6(44, hex("3c00 0010 00000007") + hex("ff"));
    const auto last = Ipv6View::parse(last_packet).value();
    CHECK(last.fragment_offset() == 16);
    CHECK_FALSE(last.more_fragments());
    CHECK(last.protocol() == wire::IpProtocol::kDestinationOptions);  // the walk stops here
  }
  struct Case {
    std::string_view name;
    test::Buffer payload;
    ParseError error;
  };
  for (const Case& c :
       {Case{"nested", hex("2c00 0000 00000001 1100 0000 00000002") + udp, ParseError::kIpv6FragmentRepeated},
        Case{"more fragments, 15 bytes", hex("1100 0001 00000001") + test::zeros(15),
             ParseError::kIpv6FragmentLength},
        Case{"more fragments, empty", hex("1100 0001 00000001"), ParseError::kIpv6FragmentLength},
        Case{"beyond 65535", hex("1100 fff8 00000001") + test::zeros(8), ParseError::kIpv6FragmentOverflow},
        Case{"truncated", hex("1100 0001 0000"), ParseError::kIpv6ExtensionTruncated}}) {
    CAPTURE(c.name);
    CHECK(Ipv6View::parse(test::ipv6(44, c.payload)).error() == c.error);
  }
}

TEST_CASE("ipv6: random chains never read beyond the packet") {
  std::mt19937 random(8200);
  constexpr std::array<unsigned, 8> kKinds{0, 6, 17, 43, 44, 58, 59, 60};
  for (int round = 0; round < 20000; ++round) {
    auto payload = test::random_bytes(random, random() % 96);
    for (std::size_t at = 0; at < payload.size(); at += 8)
      payload[at] = static_cast<std::byte>(kKinds[random() % kKinds.size()]);
    for (std::size_t at = 1; at < payload.size(); at += 8)
      payload[at] = static_cast<std::byte>(random() % 4 == 0 ? random() % 256 : 0);
    const auto packet = test::ipv6(static_cast<std::uint8_t>(kKinds[random() % kKinds.size()]), payload);
    // Exact size, so that the sanitizers see an overrun.
    const auto view = Ipv6View::parse(packet);
    if (view) REQUIRE(view->payload_offset() + view->payload().size() == packet.size());
  }
}
