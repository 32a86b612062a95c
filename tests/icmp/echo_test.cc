#include "core/icmp/echo.h"

#include <doctest/doctest.h>

#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using test::operator+;
using wire::ParseError;

namespace {

wire::Packet parse(const test::Buffer& ip) {
  const auto type =
      std::to_integer<unsigned>(ip[0]) >> 4U == 4 ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6;
  return wire::parse_packet(ip, type, wire::ChecksumPolicy::kSkipL4).value();
}

}  // namespace

TEST_CASE("echo: a request of the guest and its flow") {
  for (const bool v4 : {true, false}) {
    const auto ip =
        v4 ? test::ipv4(1, hex("0800 0000 1234 0005 6162")) : test::ipv6(58, hex("8000 0000 1234 0005 6162"));
    const auto packet = parse(ip);
    const auto echo = icmp::parse_echo(packet).value();
    CHECK(echo.request);
    CHECK(echo.identifier == 0x1234);
    CHECK(echo.sequence == 5);
    CHECK(echo.payload.size() == 2);
    const auto tuple = icmp::echo_tuple(packet, echo);
    CHECK(tuple.protocol == flow::Protocol::kIcmpEcho);
    CHECK(tuple.guest.port == net::Port{0x1234});
    CHECK(tuple.remote.port == net::Port{0});
    CHECK(tuple.remote.address == packet.destination);
  }
}

TEST_CASE("echo: what is no echo") {
  struct Case {
    std::string_view name;
    test::Buffer ip;
    ParseError error;
  };
  for (const Case& c :
       {Case{"truncated", test::ipv4(1, hex("08000000123400")), ParseError::kIcmpTruncated},
        Case{"code 1", test::ipv4(1, hex("0801000012340005")), ParseError::kIcmpCode},
        Case{"unreachable", test::ipv4(1, hex("0301000012340005")), ParseError::kIcmpNotEcho},
        Case{"timestamp request", test::ipv4(1, hex("0d00000012340005")), ParseError::kIcmpNotEcho},
        Case{"ICMPv6 type in ICMP", test::ipv4(1, hex("8000000012340005")), ParseError::kIcmpNotEcho},
        Case{"ICMP type in ICMPv6", test::ipv6(58, hex("0800000012340005")), ParseError::kIcmpNotEcho},
        Case{"ICMPv6 in IPv4", test::ipv4(58, hex("8000000012340005")), ParseError::kIcmpNotEcho},
        Case{"ICMP in IPv6", test::ipv6(1, hex("0800000012340005")), ParseError::kIcmpNotEcho},
        Case{"fragment", test::ipv4(1, hex("0800000012340005"), {}, 0x2000), ParseError::kIcmpNotEcho},
        Case{"UDP", test::ipv4(17, hex("0800000012340005")), ParseError::kIcmpNotEcho}}) {
    CAPTURE(c.name);
    CHECK(icmp::parse_echo(parse(c.ip)).error() == c.error);
  }
}

TEST_CASE("echo: the identifier is taken off towards the host and put back towards the guest") {
  for (const bool v4 : {true, false}) {
    CAPTURE(v4);
    const auto family = v4 ? net::Family::kIpv4 : net::Family::kIpv6;
    const auto header = icmp::host_request_header(family, 0x0506);
    CHECK(test::Buffer(header.begin(), header.end()) ==
          (v4 ? hex("0800 0000 0000 0506") : hex("8000 0000 0000 0506")));

    // The kernel's identifier (here beef) means nothing to the guest.
    auto from_host = (v4 ? hex("0000") : hex("8100")) + hex("0000 beef 0506 616263");
    const auto reply = icmp::parse_host_echo(family, from_host).value();
    CHECK_FALSE(reply.request);
    CHECK(reply.sequence == 0x0506);

    const wire::FrameTemplate flow({net::MacAddress{{2, 0, 0, 0, 0, 1}},
                                    net::MacAddress{{0x52, 0x54, 0, 0, 0, 2}},
                                    {*net::parse_ip(v4 ? "192.0.2.1" : "2001:db8::1"), {}},
                                    {*net::parse_ip(v4 ? "10.0.2.15" : "fd00:c0:2d::15"), {}}},
                                   icmp::echo_protocol(family));
    std::array<std::byte, wire::kMaxHeaders> out{};
    const auto built =
        icmp::build_echo_reply(flow, 0x1234, reply.sequence, std::array{wire::piece(reply.payload)}, out);
    const auto frame = test::Buffer(out.begin(), out.begin() + built.length) + hex("616263");
    const auto packet = wire::parse_packet(base::Bytes{frame}.subspan(14),
                                           v4 ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6,
                                           wire::ChecksumPolicy::kVerifyL4);
    REQUIRE(packet.has_value());
    const auto echo = icmp::parse_echo(*packet).value();
    CHECK_FALSE(echo.request);
    CHECK(echo.identifier == 0x1234);
    CHECK(echo.sequence == 0x0506);
    CHECK(echo.payload.size() == 3);
  }
}
