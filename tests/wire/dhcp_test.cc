#include "core/wire/dhcp.h"

#include <doctest/doctest.h>

#include "tests/wire/packets.h"

using namespace cordon;
using test::Buffer;
using test::hex;
using test::operator+;
using wire::DhcpView;
using wire::ParseError;

namespace {

Buffer message(std::string_view options, std::string_view sname = "", std::string_view file = "") {
  Buffer out = hex("01 01 06 00 11223344 0000 8000 0a00020f 00000000 00000000 0a000209 525400000002") +
               test::zeros(10);
  Buffer name = hex(sname);
  name.resize(64);
  Buffer boot = hex(file);
  boot.resize(128);
  return out + name + boot + hex("63825363") + hex(options);
}

}  // namespace

TEST_CASE("dhcp view: the fields and options of a request") {
  const auto bytes = message(
      "350103 3204 0a000210 3604 0a000202 3702 0103 3701 79 3902 05dc 3d03 01aabb 5000 5103 010000 00 ff 35");
  const auto view = DhcpView::parse(bytes);
  REQUIRE(view);
  CHECK(view->type() == wire::DhcpType::kRequest);
  CHECK(view->transaction() == 0x11223344);
  CHECK(view->wants_broadcast());
  CHECK(view->client_address() == net::Ipv4Address{10, 0, 2, 15});
  CHECK(view->relay_address() == net::Ipv4Address{10, 0, 2, 9});
  CHECK(view->client_mac() == net::MacAddress{{0x52, 0x54, 0, 0, 0, 2}});
  CHECK(view->requested() == net::Ipv4Address{10, 0, 2, 16});
  CHECK(view->server() == net::Ipv4Address{10, 0, 2, 2});
  CHECK(view->max_size() == 1500);
  CHECK(view->client_id().size() == 3);
  CHECK(view->rapid_commit());
  CHECK(view->fqdn_flags() == 1);
  CHECK(view->has_parameter_list());
  for (unsigned code = 0; code < 256; ++code) {
    CAPTURE(code);
    CHECK(view->requests(static_cast<std::uint8_t>(code)) == (code == 1 || code == 3 || code == 0x79));
  }
}

TEST_CASE("dhcp view: options continue in file and sname when option 52 says so") {
  struct Case {
    std::string_view name;
    Buffer bytes;
    bool file, sname;
  };
  for (const Case& c :
       {Case{"neither", message("350101 ff", "3604 01010101 ff", "3204 02020202 ff"), false, false},
        Case{"file", message("350101 340101 ff", "3604 01010101 ff", "3204 02020202 ff"), true, false},
        Case{"sname", message("350101 340102 ff", "3604 01010101 ff", "3204 02020202 ff"), false, true},
        Case{"both", message("350101 340103 ff", "3604 01010101 ff", "3204 02020202 ff"), true, true}}) {
    CAPTURE(c.name);
    const auto view = DhcpView::parse(c.bytes);
    REQUIRE(view);
    CHECK(view->requested().has_value() == c.file);
    CHECK(view->server().has_value() == c.sname);
  }
}

TEST_CASE("dhcp view: what is malformed, and why") {
  struct Case {
    std::string_view name;
    Buffer bytes;
    ParseError expected;
  };
  auto reply = message("350101 ff");
  reply[0] = std::byte{2};
  auto token_ring = message("350101 ff");
  token_ring[1] = std::byte{6};
  auto long_address = message("350101 ff");
  long_address[2] = std::byte{16};
  auto cookie = message("350101 ff");
  cookie[236] = std::byte{0};
  const Case cases[] = {
      {"a reply", reply, ParseError::kDhcpHeader},
      {"another hardware type", token_ring, ParseError::kDhcpHeader},
      {"another hardware length", long_address, ParseError::kDhcpHeader},
      {"no cookie", cookie, ParseError::kDhcpCookie},
      {"no options at all", message(""), ParseError::kDhcpNoEnd},
      {"no end", message("350101"), ParseError::kDhcpNoEnd},
      {"pads without end", message("350101 000000"), ParseError::kDhcpNoEnd},
      {"no type: BOOTP", message("ff"), ParseError::kDhcpMessageType},
      {"type 0", message("350100 ff"), ParseError::kDhcpMessageType},
      {"type 9", message("350109 ff"), ParseError::kDhcpMessageType},
      {"type of two bytes", message("35020101 ff"), ParseError::kDhcpOptionSize},
      {"type twice", message("350101 350103 ff"), ParseError::kDhcpOptionRepeated},
      {"a code at the very end", message("350101 32"), ParseError::kDhcpOptionLength},
      {"a length that runs out", message("350101 3204 0a0002"), ParseError::kDhcpOptionLength},
      {"an unknown option that runs out", message("350101 e0ff ff"), ParseError::kDhcpOptionLength},
      {"requested address of 3", message("350101 3203 0a0002 ff"), ParseError::kDhcpOptionSize},
      {"requested address of 0", message("350101 3200 ff"), ParseError::kDhcpOptionSize},
      {"server of 5", message("350101 3605 0a00020202 ff"), ParseError::kDhcpOptionSize},
      {"server twice", message("350101 3604 0a000202 3604 0a000202 ff"), ParseError::kDhcpOptionRepeated},
      {"client id of 1", message("350101 3d01 01 ff"), ParseError::kDhcpOptionSize},
      {"empty list", message("350101 3700 ff"), ParseError::kDhcpOptionSize},
      {"empty host name", message("350101 0c00 ff"), ParseError::kDhcpOptionSize},
      {"max size of 1", message("350101 3901 ff ff"), ParseError::kDhcpOptionSize},
      {"max size too small", message("350101 3902 023f ff"), ParseError::kDhcpOptionSize},
      {"rapid commit with a value", message("350101 5001 01 ff"), ParseError::kDhcpOptionSize},
      {"FQDN of 2", message("350101 5102 0100 ff"), ParseError::kDhcpOptionSize},
      {"overload 0", message("350101 340100 ff"), ParseError::kDhcpOverload},
      {"overload 4", message("350101 340104 ff"), ParseError::kDhcpOverload},
      {"overload within file", message("350101 340101 ff", "", "340102 ff"), ParseError::kDhcpOptionRepeated},
      {"file without end", message("350101 340101 ff"), ParseError::kDhcpNoEnd},
      {"type again in sname", message("350101 340102 ff", "350103 ff"), ParseError::kDhcpOptionRepeated},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto view = DhcpView::parse(c.bytes);
    REQUIRE_FALSE(view);
    CHECK(view.error() == c.expected);
  }
  const auto whole = message("350101 ff");
  for (std::size_t size = 0; size < 240; ++size) {
    const auto view = DhcpView::parse(base::Bytes{whole}.first(size));
    REQUIRE_FALSE(view);
    CHECK(view.error() == ParseError::kDhcpTruncated);
  }
}
