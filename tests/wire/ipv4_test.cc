#include "core/wire/ipv4.h"

#include <doctest/doctest.h>

#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using test::operator+;
using wire::Ipv4View;
using wire::ParseError;

TEST_CASE("ipv4: a plain packet") {
  const auto packet = test::ipv4(17, test::kUdpHello);
  const auto view = Ipv4View::parse(packet).value();
  CHECK(view.source() == net::Ipv4Address{10, 0, 2, 15});
  CHECK(view.destination() == net::Ipv4Address{192, 0, 2, 1});
  CHECK(view.protocol() == wire::IpProtocol::kUdp);
  CHECK(view.ttl() == 64);
  CHECK(view.identification() == 0x1234);
  CHECK(view.dont_fragment());
  CHECK_FALSE(view.is_fragment());
  CHECK(view.payload().size() == test::kUdpHello.size());
}

TEST_CASE("ipv4: Ethernet padding is cut off, a second packet in it is not seen") {
  const auto packet = test::ipv4(17, test::kUdpHello);
  const auto padded = packet + test::ipv4(6, test::zeros(20));
  const auto view = Ipv4View::parse(padded).value();
  CHECK(view.packet().size() == packet.size());
  CHECK(view.payload().size() == test::kUdpHello.size());
}

TEST_CASE("ipv4: truncated at every length") {
  const auto packet = test::ipv4(17, test::kUdpHello);
  for (std::size_t size = 0; size < packet.size(); ++size) {
    CAPTURE(size);
    const auto view = Ipv4View::parse(base::Bytes{packet}.first(size));
    REQUIRE(view.error() == (size < 20 ? ParseError::kIpv4Truncated : ParseError::kIpv4TotalLengthLong));
  }
}

TEST_CASE("ipv4: fields that contradict") {
  struct Case {
    std::string_view name;
    std::size_t at;
    unsigned value;
    ParseError error;
  };
  for (const Case& c : {Case{"version 6", 0, 0x65, ParseError::kIpv4Version},
                        Case{"version 0", 0, 0x05, ParseError::kIpv4Version},
                        Case{"header of 0 words", 0, 0x40, ParseError::kIpv4HeaderLength},
                        Case{"header of 4 words", 0, 0x44, ParseError::kIpv4HeaderLength},
                        Case{"header beyond the packet", 0, 0x4f, ParseError::kIpv4Truncated},
                        Case{"total length 0", 3, 0, ParseError::kIpv4TotalLength},
                        Case{"total length below the header", 3, 19, ParseError::kIpv4TotalLength},
                        Case{"total length above the frame", 3, 34, ParseError::kIpv4TotalLengthLong},
                        Case{"total length 65281", 2, 0xff, ParseError::kIpv4TotalLengthLong},
                        Case{"reserved flag", 6, 0x80, ParseError::kIpv4ReservedFlag},
                        Case{"TTL 0", 8, 0, ParseError::kHopLimitZero}}) {
    CAPTURE(c.name);
    auto packet = test::ipv4(17, test::kUdpHello);
    packet[c.at] = static_cast<std::byte>(c.value);
    if ((c.value & 0x0fU) >= 5 || c.at != 0) {
      if (c.error != ParseError::kIpv4Truncated) test::fix_ipv4_checksum(packet);
    }
    CHECK(Ipv4View::parse(packet).error() == c.error);
  }
}

TEST_CASE("ipv4: every single bit of the header is covered by the checksum") {
  const auto packet = test::ipv4(17, test::kUdpHello);
  for (std::size_t bit = 0; bit < 160; ++bit) {
    auto bad = packet;
    bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    CAPTURE(bit);
    REQUIRE_FALSE(Ipv4View::parse(bad).has_value());
  }
  auto bad = packet;
  bad[19] ^= std::byte{1};
  CHECK(Ipv4View::parse(bad).error() == ParseError::kIpv4Checksum);
}

TEST_CASE("ipv4: options") {
  struct Case {
    std::string_view name;
    std::string_view options;
    std::optional<ParseError> error;
  };
  const Case cases[] = {
      {"NOP and end of list", "01010100", {}},
      {"bytes behind the end of the list are not read", "00ffffff", {}},
      {"40 bytes of NOP",
       "0101010101010101010101010101010101010101010101010101010101010101010101010101010101010101",
       {}},
      {"record route, empty", "07070400000000 00", {}},
      {"record route, full", "0707080a000001 00", {}},
      {"record route, pointer too small", "07070300000000 00", ParseError::kIpv4OptionPointer},
      {"record route, pointer beyond", "07070900000000 00", ParseError::kIpv4OptionPointer},
      {"record route without room for its pointer", "07020101", ParseError::kIpv4OptionLength},
      {"record route twice", "07030401 07030401", ParseError::kIpv4OptionRepeated},
      {"timestamp", "4408050000000000", {}},
      {"timestamp, pointer overflow", "44080a0000000000", ParseError::kIpv4OptionPointer},
      {"timestamp twice", "44040501 44040501", ParseError::kIpv4OptionRepeated},
      {"router alert (RFC 2113)", "94040000", {}},
      {"unknown option is skipped", "9e040102", {}},
      {"loose source route", "83070408080808 00", ParseError::kIpv4SourceRoute},
      {"strict source route", "89070408080808 00", ParseError::kIpv4SourceRoute},
      {"source route behind NOPs", "01 83070408080808", ParseError::kIpv4SourceRoute},
      {"length 0", "94000000", ParseError::kIpv4OptionLength},
      {"length 1", "94010000", ParseError::kIpv4OptionLength},
      {"length 255", "94ff0000", ParseError::kIpv4OptionLength},
      {"kind without a length", "01010194", ParseError::kIpv4OptionLength},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    auto options = hex(c.options);
    if (options.size() > 40) options.resize(40);
    const auto packet = test::ipv4(17, test::kUdpHello, options);
    const auto view = Ipv4View::parse(packet);
    if (c.error) {
      CHECK(view.error() == *c.error);
    } else {
      REQUIRE(view.has_value());
      CHECK(view->options().size() == options.size());
      CHECK(view->payload().size() == test::kUdpHello.size());
    }
  }
}

TEST_CASE("ipv4: fragments are reported, impossible ones refused") {
  struct Case {
    std::string_view name;
    unsigned flags_and_offset;
    std::size_t payload;
    std::optional<ParseError> error;
  };
  for (const Case& c :
       {Case{"first", 0x2000, 16, {}}, Case{"middle", 0x2001, 8, {}}, Case{"last", 0x0001, 5, {}},
        Case{"more fragments, 7 bytes", 0x2000, 7, ParseError::kIpv4FragmentLength},
        Case{"more fragments, empty", 0x2000, 0, ParseError::kIpv4FragmentLength},
        Case{"last, empty", 0x0001, 0, ParseError::kIpv4FragmentLength},
        Case{"ends at 65515", 0x1ffc, 11, {}},  // 8188 * 8 = 65504
        Case{"ends at 65516 (ping of death)", 0x1ffc, 12, ParseError::kIpv4FragmentOverflow},
        Case{"offset 65528", 0x1fff, 8, ParseError::kIpv4FragmentOverflow}}) {
    CAPTURE(c.name);
    const auto packet =
        test::ipv4(17, test::zeros(c.payload), {}, static_cast<std::uint16_t>(c.flags_and_offset));
    const auto view = Ipv4View::parse(packet);
    if (c.error) {
      CHECK(view.error() == *c.error);
    } else {
      REQUIRE(view.has_value());
      CHECK(view->is_fragment());
      CHECK(view->more_fragments() == ((c.flags_and_offset & 0x2000U) != 0));
      CHECK(view->fragment_offset() == (c.flags_and_offset & 0x1fffU) * 8);
    }
  }
}
