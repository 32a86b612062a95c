#include "core/wire/ethernet.h"

#include <doctest/doctest.h>

#include <set>

#include "core/wire/arp.h"
#include "core/wire/parse_error.h"
#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using wire::ParseError;

namespace {
template <class... T>
constexpr auto bytes(T... values) {
  return std::array<std::byte, sizeof...(T)>{static_cast<std::byte>(values)...};
}
constexpr auto kFrame = bytes(0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 0x08, 0x00, 0x45);
static_assert(wire::EthernetView::parse(kFrame)->type() == wire::EtherType::kIpv4);
static_assert(wire::EthernetView::parse(kFrame)->source() == net::MacAddress{{0x52, 0x54, 0, 0, 0, 2}});
static_assert(wire::EthernetView::parse(kFrame)->destination() == net::MacAddress{{0x52, 0x54, 0, 0, 0, 1}});
static_assert(wire::EthernetView::parse(kFrame)->payload().size() == 1);
static_assert(wire::EthernetView::parse(std::span{kFrame}.first(13)).error() ==
              ParseError::kEthernetTruncated);
}  // namespace

TEST_CASE("ethernet: frames of 0 to 13 bytes are truncated, 14 bytes are an empty frame") {
  for (std::size_t size = 0; size < 14; ++size)
    CHECK(wire::EthernetView::parse(base::Bytes{kFrame}.first(size)).error() ==
          ParseError::kEthernetTruncated);
  CHECK(wire::EthernetView::parse(base::Bytes{kFrame}.first(14)).value().payload().empty());
}

TEST_CASE("ethernet: every type is accepted, a length field and tags are not") {
  auto frame = hex("525400000001 525400000002 0000");
  for (unsigned type = 0; type <= 0xffff; ++type) {
    test::put16(frame, 12, type);
    const auto view = wire::EthernetView::parse(frame);
    CAPTURE(type);
    if (type < 0x600) {
      REQUIRE(view.error() == ParseError::kEthernetLengthField);
    } else if (type == 0x8100 || type == 0x88a8 || type == 0x9100) {
      REQUIRE(view.error() == ParseError::kEthernetVlanTag);
    } else {
      REQUIRE(static_cast<unsigned>(view->type()) == type);
    }
  }
}

TEST_CASE("parse error: each reason has a name of its own") {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < wire::kParseErrorCount; ++i) {
    const auto text = wire::name(static_cast<ParseError>(i));
    CAPTURE(text);
    CHECK(text != "unknown");
    CHECK(names.insert(text).second);
  }
  CHECK(wire::name(ParseError::kIpv4SourceRoute) == "ipv4_source_route");
}

TEST_CASE("arp: a request, and each way to be malformed") {
  const auto request = hex("0001 0800 06 04 0001 525400000002 0a00020f 000000000000 0a000202");
  const auto view = wire::ArpView::parse(request).value();
  CHECK(view.operation() == wire::ArpOperation::kRequest);
  CHECK(view.sender_mac() == net::MacAddress{{0x52, 0x54, 0, 0, 0, 2}});
  CHECK(view.sender_ip() == net::Ipv4Address{10, 0, 2, 15});
  CHECK(view.target_ip() == net::Ipv4Address{10, 0, 2, 2});
  CHECK(view.target_mac() == net::MacAddress{});

  struct Case {
    std::string_view name;
    std::size_t at;
    unsigned value;
    ParseError error;
  };
  for (const Case& c : {Case{"hardware type", 1, 6, ParseError::kArpHardware},
                        Case{"hardware length", 4, 8, ParseError::kArpHardware},
                        Case{"protocol type", 2, 0x86, ParseError::kArpProtocol},
                        Case{"protocol length", 5, 16, ParseError::kArpProtocol},
                        Case{"operation 0", 7, 0, ParseError::kArpOperation},
                        Case{"RARP", 7, 3, ParseError::kArpOperation}}) {
    CAPTURE(c.name);
    auto bad = request;
    bad[c.at] = static_cast<std::byte>(c.value);
    CHECK(wire::ArpView::parse(bad).error() == c.error);
  }
  for (std::size_t size = 0; size < 28; ++size)
    CHECK(wire::ArpView::parse(base::Bytes{request}.first(size)).error() == ParseError::kArpTruncated);
}

TEST_CASE("arp: what is written is what RFC 826 says, and reads back") {
  test::Buffer out(28, std::byte{0xee});
  wire::put_arp(
      out, {wire::ArpOperation::kReply, net::MacAddress{{2, 0, 0, 0, 0, 1}}, net::Ipv4Address{10, 0, 2, 2},
            net::MacAddress{{0x52, 0x54, 0, 0, 0, 2}}, net::Ipv4Address{10, 0, 2, 15}});
  CHECK(out == hex("0001 0800 06 04 0002 020000000001 0a000202 525400000002 0a00020f"));
}
