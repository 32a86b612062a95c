#include "core/icmp/errors.h"

#include <doctest/doctest.h>

#include "core/icmp/host_error.h"
#include "core/wire/icmp.h"
#include "core/wire/udp.h"
#include "tests/wire/packets.h"

using namespace cordon;
using icmp::ErrorKind;
using icmp::NoError;
using test::hex;
using test::operator+;
using wire::EtherType;

namespace {

constexpr net::MacAddress kOurs{{0x02, 0, 0, 0, 0, 1}};
constexpr net::MacAddress kGuests{{0x52, 0x54, 0, 0, 0, 2}};

icmp::ErrorPath path(bool v4) { return {kOurs, kGuests, *net::parse_ip(v4 ? "10.0.2.2" : "fe80::1")}; }

wire::Packet parse(const test::Buffer& ip) {
  const auto type = std::to_integer<unsigned>(ip[0]) >> 4U == 4 ? EtherType::kIpv4 : EtherType::kIpv6;
  return wire::parse_packet(ip, type, wire::ChecksumPolicy::kSkipL4).value();
}

struct Built {
  std::array<std::byte, icmp::kMaxErrorFrame> buffer{};
  std::expected<std::size_t, NoError> length = 0;
  Built() { buffer.fill(std::byte{0xee}); }
  [[nodiscard]] test::Buffer ip() const {
    return {buffer.begin() + 14, buffer.begin() + static_cast<std::ptrdiff_t>(length.value())};
  }
};

Built error_about(const test::Buffer& ip, icmp::ErrorReport report) {
  Built built;
  const auto packet = parse(ip);
  built.length = icmp::build_error(path(packet.source.is_v4()), report, packet, built.buffer);
  return built;
}

}  // namespace

TEST_CASE("icmp errors: administratively prohibited for IPv4, byte by byte") {
  const auto offending = test::ipv4(17, test::kUdpHello);
  const auto built = error_about(offending, {ErrorKind::kAdminProhibited, 0});
  CHECK(test::Buffer(built.buffer.begin(), built.buffer.begin() + 14) ==
        hex("525400000002 020000000001 0800"));
  auto expected =
      hex("45c0 0000 0000 4000 4001 0000 0a000202 0a00020f") + hex("030d 0000 00000000") + offending;
  test::put16(expected, 2, static_cast<std::uint32_t>(expected.size()));
  test::fix_ipv4_checksum(expected);
  test::fix_l4_checksum(expected, 2);
  CHECK(built.ip() == expected);
}

TEST_CASE("icmp errors: each kind in both families") {
  struct Case {
    ErrorKind kind;
    std::string_view v4;  // type, code, rest
    std::string_view v6;
  };
  const icmp::ErrorReport mtu{ErrorKind::kPacketTooBig, 1400};
  for (const Case& c : {Case{ErrorKind::kNetUnreachable, "0300 00000000", "0100 00000000"},
                        Case{ErrorKind::kHostUnreachable, "0301 00000000", "0103 00000000"},
                        Case{ErrorKind::kProtocolUnreachable, "0302 00000000", "0401 00000006"},
                        Case{ErrorKind::kPortUnreachable, "0303 00000000", "0104 00000000"},
                        Case{ErrorKind::kPacketTooBig, "0304 00000578", "0200 00000578"},
                        Case{ErrorKind::kAdminProhibited, "030d 00000000", "0101 00000000"},
                        Case{ErrorKind::kTimeExceeded, "0b00 00000000", "0300 00000000"}}) {
    CAPTURE(static_cast<int>(c.kind));
    for (const bool v4 : {true, false}) {
      const auto offending = v4 ? test::ipv4(17, test::kUdpHello) : test::ipv6(17, test::kUdpHello);
      const auto ip = error_about(offending, {c.kind, mtu.mtu}).ip();
      const auto packet =
          wire::parse_packet(ip, v4 ? EtherType::kIpv4 : EtherType::kIpv6, wire::ChecksumPolicy::kVerifyL4)
              .value();
      const auto expected = hex(v4 ? c.v4 : c.v6);
      auto head = test::Buffer(packet.l4.begin(), packet.l4.begin() + 8);
      head.erase(head.begin() + 2, head.begin() + 4);
      CHECK(head == expected);
      CHECK(test::Buffer(packet.l4.begin() + 8, packet.l4.end()) == offending);
      CHECK(packet.destination == parse(offending).source);
    }
  }
}

TEST_CASE("icmp errors: MTU limits") {
  const auto rest = [](const Built& built) { return wire::IcmpView::parse(parse(built.ip()).l4)->rest(); };
  const auto v4 = test::ipv4(17, test::kUdpHello);
  const auto v6 = test::ipv6(17, test::kUdpHello);
  CHECK(rest(error_about(v4, {ErrorKind::kPacketTooBig, 0})) == 68);
  CHECK(rest(error_about(v4, {ErrorKind::kPacketTooBig, 0xffffffff})) == 65535);
  CHECK(rest(error_about(v6, {ErrorKind::kPacketTooBig, 68})) == 1280);
  CHECK(rest(error_about(v6, {ErrorKind::kPacketTooBig, 9000})) == 9000);
}

TEST_CASE("icmp errors: the quote is cut at 576 and 1280 bytes, also of a super-frame") {
  for (const std::size_t size : {0UL, 519UL, 520UL, 521UL, 1183UL, 1184UL, 1185UL, 65000UL}) {
    CAPTURE(size);
    const auto v4 = error_about(test::ipv4(17, test::zeros(size)), {ErrorKind::kAdminProhibited, 0}).ip();
    CHECK(v4.size() == std::min<std::size_t>(576, 28 + 20 + size));
    const auto v6 = error_about(test::ipv6(17, test::zeros(size)), {ErrorKind::kAdminProhibited, 0}).ip();
    CHECK(v6.size() == std::min<std::size_t>(1280, 48 + 40 + size));
  }
}

TEST_CASE("icmp errors: a parameter problem points at the next-header field behind extension headers") {
  const auto offending = test::ipv6(0, hex("3c00050200000000 8400010400000000") + test::zeros(4));
  const auto built = error_about(offending, {ErrorKind::kProtocolUnreachable, 0});
  CHECK(wire::IcmpView::parse(parse(built.ip()).l4)->rest() == 48);
}

TEST_CASE("icmp errors: what they are never about") {
  struct Case {
    std::string_view name;
    test::Buffer ip;
    NoError why;
  };
  auto group4 = test::ipv4(17, test::kUdpHello);
  group4[16] = std::byte{224};
  test::fix_ipv4_checksum(group4);
  auto broadcast = test::ipv4(17, test::kUdpHello);
  std::fill_n(broadcast.begin() + 16, 4, std::byte{255});
  test::fix_ipv4_checksum(broadcast);
  auto unspecified = test::ipv4(17, test::kUdpHello);
  std::fill_n(unspecified.begin() + 12, 4, std::byte{0});
  test::fix_ipv4_checksum(unspecified);
  auto group6 = test::ipv6(17, test::kUdpHello);
  group6[24] = std::byte{0xff};
  const Case cases[] = {
      {"later fragment", test::ipv4(17, test::zeros(8), {}, 0x2001), NoError::kAboutFragment},
      {"later fragment, IPv6", test::ipv6(44, hex("1100000800000001") + test::zeros(8)),
       NoError::kAboutFragment},
      {"multicast", group4, NoError::kAboutGroup},
      {"multicast, IPv6", group6, NoError::kAboutGroup},
      {"broadcast", broadcast, NoError::kAboutGroup},
      {"no source", unspecified, NoError::kAboutUnspecified},
      {"unreachable", test::ipv4(1, hex("0301000000000000")), NoError::kAboutIcmpError},
      {"source quench", test::ipv4(1, hex("0400000000000000")), NoError::kAboutIcmpError},
      {"redirect", test::ipv4(1, hex("0501000000000000")), NoError::kAboutIcmpError},
      {"time exceeded", test::ipv4(1, hex("0b00000000000000")), NoError::kAboutIcmpError},
      {"parameter problem", test::ipv4(1, hex("0c00000000000000")), NoError::kAboutIcmpError},
      {"ICMP without a type", test::ipv4(1, {}), NoError::kAboutIcmpError},
      {"ICMPv6 unknown error", test::ipv6(58, hex("7f00000000000000")), NoError::kAboutIcmpError},
      {"ICMPv6 redirect", test::ipv6(58, hex("8900000000000000")), NoError::kAboutIcmpError},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto built = error_about(c.ip, {ErrorKind::kPortUnreachable, 0});
    REQUIRE_FALSE(built.length.has_value());
    CHECK(built.length.error() == c.why);
  }
  CHECK(error_about(test::ipv4(1, hex("0800000000000000")), {}).length.has_value());  // a ping may be refused
  CHECK(
      error_about(test::ipv4(17, test::zeros(8), {}, 0x2000), {}).length.has_value());  // the first fragment
  Built built;
  const auto ip = test::ipv4(17, test::kUdpHello);
  CHECK(icmp::build_error(path(false), {}, parse(ip), built.buffer).error() == NoError::kFamily);
}

TEST_CASE("icmp errors: about a flow, the original is rebuilt") {
  for (const bool v4 : {true, false}) {
    const flow::Tuple tuple{flow::Protocol::kUdp,
                            {*net::parse_ip(v4 ? "10.0.2.15" : "fd00:c0:2d::15"), net::Port{40000}},
                            {*net::parse_ip(v4 ? "192.0.2.1" : "2001:db8::1"), net::Port{53}}};
    Built built;
    const auto payload = hex("68656c6c6f");
    built.length =
        icmp::build_flow_error(path(v4), {ErrorKind::kPortUnreachable, 0}, tuple, payload, 5, built.buffer);
    const auto ip = built.ip();
    const auto outer =
        wire::parse_packet(ip, v4 ? EtherType::kIpv4 : EtherType::kIpv6, wire::ChecksumPolicy::kVerifyL4)
            .value();
    CHECK(outer.destination == tuple.guest.address);
    const auto quote = test::Buffer(outer.l4.begin() + 8, outer.l4.end());
    const auto inner =
        wire::parse_packet(quote, v4 ? EtherType::kIpv4 : EtherType::kIpv6, wire::ChecksumPolicy::kVerifyL4)
            .value();
    CHECK(inner.source == tuple.guest.address);
    CHECK(inner.destination == tuple.remote.address);
    const auto udp = wire::UdpView::parse(inner.l4).value();
    CHECK(udp.source_port() == net::Port{40000});
    CHECK(udp.destination_port() == net::Port{53});
    CHECK(test::Buffer(udp.payload().begin(), udp.payload().end()) == payload);
  }
}

TEST_CASE("icmp errors: about a flow whose payload is only known in part") {
  const flow::Tuple tuple{flow::Protocol::kUdp,
                          {*net::parse_ip("10.0.2.15"), net::Port{40000}},
                          {*net::parse_ip("192.0.2.1"), net::Port{53}}};
  for (const std::uint32_t length : {9U, 1472U, 65507U, 4'000'000'000U}) {
    CAPTURE(length);
    Built built;
    built.length = icmp::build_flow_error(path(true), {ErrorKind::kPacketTooBig, 1400}, tuple,
                                          hex("0102030405060708"), length, built.buffer);
    const auto ip = built.ip();
    CHECK(ip.size() == 20 + 8 + 20 + 8 + 8);
    const auto quoted_total = base::load_be<std::uint16_t>(base::Bytes{ip}.subspan<30, 2>());
    const auto quoted_udp = base::load_be<std::uint16_t>(base::Bytes{ip}.subspan<52, 2>());
    CHECK(quoted_total == std::min<std::uint32_t>(length, 65507) + 28);
    CHECK(quoted_udp == quoted_total - 20);
    CHECK(ip[54] == std::byte{0});  // the checksum cannot be known
    CHECK(ip[55] == std::byte{0});
    CHECK(test::slow_sum(base::Bytes{ip}.subspan(28, 20)) == 0xffff);
  }
}

TEST_CASE("icmp errors: about TCP and echo flows") {
  flow::Tuple tuple{flow::Protocol::kTcp,
                    {*net::parse_ip("10.0.2.15"), net::Port{40000}},
                    {*net::parse_ip("192.0.2.1"), net::Port{80}}};
  Built tcp;
  tcp.length = icmp::build_flow_error(path(true), {ErrorKind::kHostUnreachable, 0}, tuple, {}, 0, tcp.buffer,
                                      0x01020304);
  const auto tcp_ip = tcp.ip();
  CHECK(test::Buffer(tcp_ip.begin() + 48, tcp_ip.begin() + 56) == hex("9c40 0050 01020304"));
  tuple.protocol = flow::Protocol::kIcmpEcho;
  tuple.guest.port = net::Port{0x0707};
  tuple.remote.port = net::Port{0};
  Built echo;
  echo.length =
      icmp::build_flow_error(path(true), {ErrorKind::kTimeExceeded, 0}, tuple, {}, 0, echo.buffer, 9);
  const auto echo_ip = echo.ip();
  CHECK(echo_ip[48] == std::byte{8});
  CHECK(test::Buffer(echo_ip.begin() + 52, echo_ip.begin() + 56) == hex("0707 0009"));
}

TEST_CASE("icmp errors: no flow error about groups, mixed families or the unspecified") {
  Built built;
  const net::Endpoint guest{*net::parse_ip("10.0.2.15"), net::Port{1}};
  const auto build = [&](const char* remote, const net::Endpoint& from) {
    return icmp::build_flow_error(path(true), {},
                                  {flow::Protocol::kUdp, from, {*net::parse_ip(remote), net::Port{1}}}, {}, 0,
                                  built.buffer);
  };
  CHECK(build("239.1.1.1", guest).error() == NoError::kAboutGroup);
  CHECK(build("2001:db8::1", guest).error() == NoError::kFamily);
  CHECK(build("192.0.2.1", {*net::parse_ip("0.0.0.0"), net::Port{1}}).error() == NoError::kAboutUnspecified);
}

TEST_CASE("icmp errors: refusals") {
  CHECK(icmp::report_for(flow::RefuseHow::kReject).kind == ErrorKind::kAdminProhibited);
  CHECK(icmp::report_for(flow::RefuseHow::kConnectionRefused).kind == ErrorKind::kPortUnreachable);
  CHECK(icmp::report_for(flow::RefuseHow::kHostUnreachable).kind == ErrorKind::kHostUnreachable);
  CHECK(icmp::report_for(flow::RefuseHow::kNetworkUnreachable).kind == ErrorKind::kNetUnreachable);
}

TEST_CASE("icmp errors: the limiter gives a burst and then a rate") {
  icmp::ErrorLimiter limiter;
  int allowed = 0;
  for (int i = 0; i < 1000; ++i)
    if (limiter.allow({})) ++allowed;
  CHECK(allowed == 100);
}

TEST_CASE("host errors: the error queue's meaning for the guest") {
  struct Case {
    std::string_view name;
    icmp::HostError error;
    std::optional<icmp::ErrorReport> expected;
  };
  const auto report = [](ErrorKind kind, std::uint32_t mtu = 0) {
    return std::optional{icmp::ErrorReport{kind, mtu}};
  };
  const Case cases[] = {
      {"port unreachable", {111, 2, 3, 3, 0}, report(ErrorKind::kPortUnreachable)},
      {"net unreachable", {101, 2, 3, 0, 0}, report(ErrorKind::kNetUnreachable)},
      {"host unreachable", {113, 2, 3, 1, 0}, report(ErrorKind::kHostUnreachable)},
      {"protocol unreachable", {92, 2, 3, 2, 0}, report(ErrorKind::kProtocolUnreachable)},
      {"fragmentation needed", {90, 2, 3, 4, 1400}, report(ErrorKind::kPacketTooBig, 1400)},
      {"communication prohibited", {113, 2, 3, 13, 0}, report(ErrorKind::kAdminProhibited)},
      {"host prohibited", {113, 2, 3, 10, 0}, report(ErrorKind::kAdminProhibited)},
      {"unknown code", {113, 2, 3, 99, 0}, {}},
      {"TTL exceeded", {113, 2, 11, 0, 0}, report(ErrorKind::kTimeExceeded)},
      {"reassembly time", {113, 2, 11, 1, 0}, {}},
      {"source quench", {0, 2, 4, 0, 0}, {}},
      {"redirect", {0, 2, 5, 0, 0}, {}},
      {"parameter problem", {71, 2, 12, 0, 0}, {}},
      {"v6 port", {111, 3, 1, 4, 0}, report(ErrorKind::kPortUnreachable)},
      {"v6 no route", {101, 3, 1, 0, 0}, report(ErrorKind::kNetUnreachable)},
      {"v6 prohibited", {13, 3, 1, 1, 0}, report(ErrorKind::kAdminProhibited)},
      {"v6 address", {113, 3, 1, 3, 0}, report(ErrorKind::kHostUnreachable)},
      {"v6 too big", {90, 3, 2, 0, 1280}, report(ErrorKind::kPacketTooBig, 1280)},
      {"v6 hop limit", {113, 3, 3, 0, 0}, report(ErrorKind::kTimeExceeded)},
      {"v6 next header", {71, 3, 4, 1, 40}, report(ErrorKind::kProtocolUnreachable)},
      {"v6 header field", {71, 3, 4, 0, 40}, {}},
      {"v6 echo reply is no error", {0, 3, 129, 0, 0}, {}},
      {"local: message too long", {90, 1, 0, 0, 1500}, report(ErrorKind::kPacketTooBig, 1500)},
      {"local: no route", {101, 1, 0, 0, 0}, report(ErrorKind::kNetUnreachable)},
      {"local: out of memory", {12, 1, 0, 0, 0}, {}},
      {"time stamp", {42, 4, 0, 0, 0}, {}},
      {"no origin", {0, 0, 3, 3, 0}, {}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    CHECK(icmp::to_guest_error(c.error) == c.expected);
  }
}

TEST_CASE("icmp errors: random packets give bounded, well-formed errors or none") {
  std::mt19937 random(792);
  for (int round = 0; round < 20000; ++round) {
    const bool v4 = random() % 2 == 0;
    constexpr std::array<std::uint8_t, 6> kProtocols{1, 6, 17, 58, 60, 44};
    auto payload = test::random_bytes(random, random() % 64);
    if (payload.size() > 2) payload[1] = std::byte{0};
    const auto protocol = kProtocols[random() % kProtocols.size()];
    const auto ip = v4 ? test::ipv4(protocol, payload) : test::ipv6(protocol, payload);
    const auto type = v4 ? EtherType::kIpv4 : EtherType::kIpv6;
    const auto packet = wire::parse_packet(ip, type, wire::ChecksumPolicy::kSkipL4);
    if (!packet) continue;
    Built built;
    const auto kind = static_cast<ErrorKind>(random() % 7);
    built.length =
        icmp::build_error(path(v4), {kind, static_cast<std::uint32_t>(random())}, *packet, built.buffer);
    if (!built.length) continue;
    const auto error = built.ip();
    REQUIRE(error.size() <= (v4 ? 576 : 1280));
    REQUIRE(wire::parse_packet(error, type, wire::ChecksumPolicy::kVerifyL4).has_value());
  }
}
