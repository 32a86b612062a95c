#include "core/wire/ndp.h"

#include <doctest/doctest.h>

#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using test::operator+;
using wire::NdpView;
using wire::ParseError;

namespace {

const std::string_view kTarget = "fd0000c0002d00000000000000000002";

wire::Packet packet_of(const test::Buffer& l4, const char* source = "fd00:c0:2d::15",
                       const char* destination = "ff02::1:ff00:2") {
  wire::Packet packet;
  packet.source = *net::parse_ip(source);
  packet.destination = *net::parse_ip(destination);
  packet.protocol = wire::IpProtocol::kIcmpv6;
  packet.hop_limit = 255;
  packet.l4 = l4;
  return packet;
}

}  // namespace

TEST_CASE("ndp: a neighbour solicitation with its option") {
  const auto l4 = hex("87000000 00000000") + hex(kTarget) + hex("0101525400000002");
  const auto view = NdpView::parse(packet_of(l4)).value();
  CHECK(view.type() == wire::NdpType::kNeighbourSolicitation);
  CHECK(view.target() == net::parse_ipv6("fd00:c0:2d::2").value());
  CHECK(view.source_mac() == net::MacAddress{{0x52, 0x54, 0, 0, 0, 2}});
  CHECK_FALSE(view.target_mac());
}

TEST_CASE("ndp: truncated at every length") {
  const auto l4 = hex("87000000 00000000") + hex(kTarget) + hex("0101525400000002");
  for (std::size_t size = 0; size < l4.size(); ++size) {
    CAPTURE(size);
    const auto cut = test::Buffer(l4.begin(), l4.begin() + static_cast<std::ptrdiff_t>(size));
    const auto view = NdpView::parse(packet_of(cut));
    if (size == 24) {
      CHECK(view.has_value());  // without its option it is still one
    } else {
      CHECK(view.error() == (size < 24 ? ParseError::kNdpTruncated : ParseError::kNdpOptionLength));
    }
  }
}

TEST_CASE("ndp: malformed messages") {
  struct Case {
    std::string_view name;
    std::string_view head;
    std::string_view target;
    std::string_view options;
    const char* source;
    const char* destination;
    ParseError error;
  };
  const char* guest = "fd00:c0:2d::15";
  const char* group = "ff02::1:ff00:2";
  const std::string_view ns = "8700000000000000";
  for (const Case& c : {
           Case{"option length 0", ns, kTarget, "0e00000000000000", guest, group,
                ParseError::kNdpOptionLength},
           Case{"option overruns", ns, kTarget, "0e02000000000000", guest, group,
                ParseError::kNdpOptionLength},
           Case{"option cut short", ns, kTarget, "0101525400", guest, group, ParseError::kNdpOptionLength},
           Case{"link-layer option of 16 bytes", ns, kTarget, "01025254000000020000000000000000", guest,
                group, ParseError::kNdpOptionSize},
           Case{"code 1", "8701000000000000", kTarget, "", guest, group, ParseError::kNdpCode},
           Case{"target is a group", ns, "ff020000000000000000000000000001", "", guest, group,
                ParseError::kNdpTarget},
           Case{"DAD with a link-layer option", ns, kTarget, "0101525400000002", "::", group,
                ParseError::kNdpSource},
           Case{"DAD to another group", ns, kTarget, "", "::", "ff02::1", ParseError::kNdpDestination},
           Case{"echo", "8000000000000000", kTarget, "", guest, group, ParseError::kNdpType},
           Case{"MLD", "8f00000000000000", kTarget, "", guest, group, ParseError::kNdpType},
           Case{"RA of 8 bytes", "8600000000000000", "", "", guest, group, ParseError::kNdpTruncated},
           Case{"redirect of 24 bytes", "8900000000000000", kTarget, "", guest, group,
                ParseError::kNdpTruncated},
       }) {
    CAPTURE(c.name);
    const auto l4 = hex(c.head) + hex(c.target) + hex(c.options);
    CHECK(NdpView::parse(packet_of(l4, c.source, c.destination)).error() == c.error);
  }
  const auto l4 = hex(ns) + hex(kTarget);
  auto routed = packet_of(l4);
  routed.hop_limit = 254;
  CHECK(NdpView::parse(routed).error() == ParseError::kNdpHopLimit);
  auto fragment = packet_of(l4);
  fragment.is_fragment = true;
  CHECK(NdpView::parse(fragment).error() == ParseError::kNdpType);
}

TEST_CASE("ndp: a hundred options end") {
  auto l4 = hex("8700000000000000") + hex(kTarget);
  for (int i = 0; i < 100; ++i) l4 = l4 + hex("0e01000000000000");
  CHECK(NdpView::parse(packet_of(l4)).has_value());
}

TEST_CASE("ndp: the solicited-node group of RFC 4291") {
  CHECK(wire::solicited_node(*net::parse_ipv6("4037::01:800:200e:8c6c")) ==
        *net::parse_ipv6("ff02::1:ff0e:8c6c"));
}

TEST_CASE("ndp: an advertisement, byte by byte") {
  test::Buffer out(32, std::byte{0xee});
  const auto target = *net::parse_ipv6("fd00:c0:2d::2");
  wire::put_advertisement(out, target, *net::parse_ipv6("fd00:c0:2d::15"),
                          {.target = target,
                           .target_mac = net::MacAddress{{2, 0, 0, 0, 0, 1}},
                           .router = true,
                           .solicited = true});
  auto ip = hex("60000000 0020 3a ff fd0000c0002d00000000000000000002 fd0000c0002d00000000000000000015") +
            hex("8800 0000 e0000000") + hex(kTarget) + hex("0201020000000001");
  test::fix_l4_checksum(ip, 2);
  CHECK(out == test::Buffer(ip.begin() + 40, ip.end()));
}
