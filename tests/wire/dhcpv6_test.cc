#include "core/wire/dhcpv6.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using wire::Dhcpv6View;
using wire::ParseError;

TEST_CASE("dhcpv6 view: the options of a message") {
  const auto bytes =
      hex("05 abcdef 0001 0003 000100 0002 0004 00010203 000e 0000 0006 0006 0017 0018 ffff 0008 0002 0001"
          "0027 0003 01 01 61 0063 0001 00"
          "0003 002c 00000007 00000001 00000002 0005 001c fd000000000000000000000000000001 00000001 00000002"
          "          000d 0000"
          "0004 0004 00000008  0019 000c 00000009 00000000 00000000");
  const auto view = Dhcpv6View::parse(bytes);
  REQUIRE(view);
  CHECK(view->type() == wire::Dhcpv6Type::kRenew);
  CHECK(view->transaction() == 0xabcdef);
  CHECK(view->client_id().size() == 3);
  CHECK(view->server_id().size() == 4);
  CHECK(view->rapid_commit());
  CHECK(view->has_option_request());
  CHECK(view->requests(23));
  CHECK(view->requests(24));
  CHECK_FALSE(view->requests(39));
  CHECK_FALSE(view->requests(0xffff));
  CHECK(view->fqdn_flags() == 1);
  REQUIRE(view->associations().size() == 3);
  CHECK(view->associations()[0].option == 3);
  CHECK(view->associations()[0].id == 7);
  REQUIRE(view->associations()[0].listed().size() == 1);
  CHECK(view->associations()[0].listed()[0] == *net::parse_ipv6("fd00::1"));
  CHECK(view->associations()[1].option == 4);
  CHECK(view->associations()[2].option == 25);
  CHECK(view->associations()[2].id == 9);
}

TEST_CASE("dhcpv6 view: what is malformed, and why") {
  struct Case {
    std::string_view name;
    std::string bytes;
    ParseError expected;
  };
  const auto repeat = [](std::string_view text, int times) {
    std::string all;
    while (times-- > 0) all += text;
    return all;
  };
  const std::string_view address = "0005 0018 fd000000000000000000000000000001 00000000 00000000";
  const Case cases[] = {
      {"nothing", "", ParseError::kDhcpv6Truncated},
      {"no transaction", "01 abcd", ParseError::kDhcpv6Truncated},
      {"type 0", "00 abcdef", ParseError::kDhcpv6MessageType},
      {"type 14", "0e abcdef", ParseError::kDhcpv6MessageType},
      {"half an option header", "01 abcdef 000100", ParseError::kDhcpv6OptionLength},
      {"a length that runs out", "01 abcdef 0001 0004 000100", ParseError::kDhcpv6OptionLength},
      {"an unknown option that runs out", "01 abcdef ff00 ffff", ParseError::kDhcpv6OptionLength},
      {"empty client id", "01 abcdef 0001 0000", ParseError::kDhcpv6OptionSize},
      {"client id without value", "01 abcdef 0001 0002 0001", ParseError::kDhcpv6OptionSize},
      {"client id too long", "01 abcdef 0001 0083" + repeat("00", 131), ParseError::kDhcpv6OptionSize},
      {"client id twice", "01 abcdef 0001 0003 000100 0001 0003 000100", ParseError::kDhcpv6OptionRepeated},
      {"server id twice", "01 abcdef 0002 0003 000100 0002 0003 000100", ParseError::kDhcpv6OptionRepeated},
      {"IA_NA too short", "01 abcdef 0003 000b 00000001 00000000 000000", ParseError::kDhcpv6OptionSize},
      {"IA_TA too short", "01 abcdef 0004 0003 000000", ParseError::kDhcpv6OptionSize},
      {"IA_PD too short", "01 abcdef 0019 000b 00000001 00000000 000000", ParseError::kDhcpv6OptionSize},
      {"an option in IA_NA that runs out", "01 abcdef 0003 0011 00000001 00000000 00000000 0005 0018 00",
       ParseError::kDhcpv6OptionLength},
      {"IA address too short", "01 abcdef 0003 0011 00000001 00000000 00000000 0005 0001 00",
       ParseError::kDhcpv6OptionSize},
      {"IA prefix too short", "01 abcdef 0019 0011 00000001 00000000 00000000 001a 0001 00",
       ParseError::kDhcpv6OptionSize},
      {"an option in an IA address that runs out",
       "01 abcdef 0004 0023 00000001 0005 001b fd000000000000000000000000000001 00000000 00000000 000d00",
       ParseError::kDhcpv6OptionLength},
      {"option request of an odd size", "01 abcdef 0006 0003 001700", ParseError::kDhcpv6OptionSize},
      {"option request twice", "01 abcdef 0006 0000 0006 0000", ParseError::kDhcpv6OptionRepeated},
      {"elapsed time of 1", "01 abcdef 0008 0001 00", ParseError::kDhcpv6OptionSize},
      {"rapid commit with a value", "01 abcdef 000e 0001 00", ParseError::kDhcpv6OptionSize},
      {"rapid commit twice", "01 abcdef 000e 0000 000e 0000", ParseError::kDhcpv6OptionRepeated},
      {"empty FQDN", "01 abcdef 0027 0000", ParseError::kDhcpv6OptionSize},
      {"FQDN twice", "01 abcdef 0027 0001 00 0027 0001 00", ParseError::kDhcpv6OptionRepeated},
      {"status code of 1", "01 abcdef 000d 0001 00", ParseError::kDhcpv6OptionSize},
      {"nine associations", "01 abcdef" + repeat("0004 0004 00000001", 9), ParseError::kDhcpv6TooManyOptions},
      {"nine addresses", "01 abcdef 0004 0100 00000001" + repeat(address, 9),
       ParseError::kDhcpv6TooManyOptions},
      {"129 options", "01 abcdef" + repeat("0010 0000", 129), ParseError::kDhcpv6TooManyOptions},
      {"129 options inside", "01 abcdef 0004 0204 00000001" + repeat("0010 0000", 128),
       ParseError::kDhcpv6TooManyOptions},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto bytes = hex(c.bytes);
    const auto view = Dhcpv6View::parse(bytes);
    REQUIRE_FALSE(view);
    CHECK(view.error() == c.expected);
  }
}
