#include "core/wire/udp.h"

#include <doctest/doctest.h>

#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using wire::ParseError;
using wire::UdpView;

TEST_CASE("udp: a datagram, and bytes behind its length") {
  const auto bytes = hex("9c40 0035 000d 1234 68656c6c6f ffff");
  const auto view = UdpView::parse(bytes).value();
  CHECK(view.source_port() == net::Port{40000});
  CHECK(view.destination_port() == net::Port{53});
  CHECK(view.checksum() == 0x1234);
  CHECK(view.payload().size() == 5);
}

TEST_CASE("udp: an empty datagram") { CHECK(UdpView::parse(hex("9c40 0035 0008 0000"))->payload().empty()); }

TEST_CASE("udp: malformed") {
  struct Case {
    std::string_view name;
    std::string_view bytes;
    ParseError error;
  };
  for (const Case& c : {Case{"empty", "", ParseError::kUdpTruncated},
                        Case{"seven bytes", "9c400035000800", ParseError::kUdpTruncated},
                        Case{"length 0", "9c40003500000000", ParseError::kUdpLength},
                        Case{"length 7", "9c40003500070000", ParseError::kUdpLength},
                        Case{"length beyond", "9c40003500090000", ParseError::kUdpLengthLong},
                        Case{"length 65535", "9c400035ffff0000", ParseError::kUdpLengthLong},
                        Case{"source port 0", "0000003500080000", ParseError::kUdpPortZero},
                        Case{"destination port 0", "9c40000000080000", ParseError::kUdpPortZero}}) {
    CAPTURE(c.name);
    CHECK(UdpView::parse(hex(c.bytes)).error() == c.error);
  }
}
