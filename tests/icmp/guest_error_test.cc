#include "core/icmp/guest_error.h"

#include <doctest/doctest.h>

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "core/icmp/errors.h"
#include "core/wire/frame_builder.h"

namespace cordon::icmp {
namespace {

const net::MacAddress kMac = *net::parse_mac("02:00:00:00:00:02");

flow::Tuple tuple(bool v6, flow::Protocol protocol) {
  return {protocol,
          {*net::parse_ip(v6 ? "fd00::15" : "10.0.2.15"), net::Port{8080}},
          {*net::parse_ip(v6 ? "2001:db8::1" : "192.0.2.1"), net::Port{50000}}};
}

// The guest's error: type, code and rest as given, about the beginning of a frame of ours.
struct Message {
  std::array<std::byte, wire::kMaxHeaders> headers{};
  std::vector<std::byte> bytes;
  wire::Packet packet;

  Message(bool v6, flow::Protocol protocol, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
          std::size_t quoted = 64) {
    const flow::Tuple t = tuple(v6, protocol);
    const wire::FrameTemplate ours({kMac, kMac, t.remote, t.guest}, protocol == flow::Protocol::kTcp
                                                                        ? wire::IpProtocol::kTcp
                                                                        : wire::IpProtocol::kUdp);
    std::array<std::byte, wire::kMaxHeaders> quote{};
    if (protocol == flow::Protocol::kTcp) {
      const wire::TcpFields fields{.seq = net::SeqNum{0x01020304}, .flags = {.ack = true}};
      wire::build_tcp(ours, fields, {}, wire::ChecksumMode::kFull, quote);
    } else {
      wire::build_udp(ours, {}, wire::ChecksumMode::kFull, quote);
    }
    const wire::FrameTemplate frame({kMac, kMac, t.guest, t.remote},
                                    v6 ? wire::IpProtocol::kIcmpv6 : wire::IpProtocol::kIcmp);
    const iovec part = wire::piece(std::span(std::as_const(quote)).subspan(14, quoted));
    const auto built = wire::build_icmp(frame, type, code, rest, std::span(&part, 1), headers);
    bytes.assign(headers.begin(), headers.begin() + built.length);
    bytes.insert(bytes.end(), quote.begin() + 14, quote.begin() + 14 + static_cast<std::ptrdiff_t>(quoted));
    packet = *wire::parse_packet(std::span(std::as_const(bytes)).subspan(14),
                                 v6 ? wire::EtherType::kIpv6 : wire::EtherType::kIpv4,
                                 wire::ChecksumPolicy::kVerifyL4);
  }
  // A byte of the quote.
  std::byte& quote(std::size_t at) {
    return bytes[static_cast<std::size_t>(packet.l4.data() - bytes.data()) + 8 + at];
  }
};

TEST_CASE("icmp guest error: too big names the flow of the packet and an MTU that can be") {
  struct Case {
    std::string_view name;
    bool v6;
    std::uint32_t rest;
    std::uint16_t mtu;
  };
  for (const Case& c :
       {Case{"IPv4", false, 1300, 1300}, Case{"IPv4 without MTU (RFC 1191)", false, 0, 576},
        Case{"IPv4 tiny", false, 68, 576}, Case{"IPv4 unused bits", false, 0xffff0000U | 1400, 1400},
        Case{"IPv6", true, 1400, 1400}, Case{"IPv6 below the least", true, 500, 1280},
        Case{"IPv6 above any", true, 0x10000000, 65535}}) {
    for (const auto protocol : {flow::Protocol::kTcp, flow::Protocol::kUdp}) {
      CAPTURE(c.name);
      const Message m(c.v6, protocol, c.v6 ? 2 : 3, c.v6 ? 0 : 4, c.rest);
      const auto error = parse_guest_error(m.packet);
      REQUIRE(error);
      CHECK(error->kind == GuestError::Kind::kTooBig);
      CHECK(error->mtu == c.mtu);
      CHECK(error->tuple == tuple(c.v6, protocol));
      if (protocol == flow::Protocol::kTcp) CHECK(error->sequence == 0x01020304);
    }
  }
}

TEST_CASE("icmp guest error: hard errors are told apart from soft ones and from other messages") {
  for (const int code : {2, 3, 9, 10, 13}) {
    CAPTURE(code);
    const Message m(false, flow::Protocol::kTcp, 3, static_cast<std::uint8_t>(code), 0);
    REQUIRE(parse_guest_error(m.packet));
    CHECK(parse_guest_error(m.packet)->kind == GuestError::Kind::kUnreachable);
  }
  for (const int code : {1, 4, 5, 6}) {
    CAPTURE(code);
    const Message m(true, flow::Protocol::kTcp, 1, static_cast<std::uint8_t>(code), 0);
    REQUIRE(parse_guest_error(m.packet));
    CHECK(parse_guest_error(m.packet)->kind == GuestError::Kind::kUnreachable);
  }
  CHECK_FALSE(parse_guest_error(Message(false, flow::Protocol::kTcp, 3, 0, 0).packet));
  CHECK_FALSE(parse_guest_error(Message(false, flow::Protocol::kTcp, 3, 1, 0).packet));
  CHECK_FALSE(parse_guest_error(Message(false, flow::Protocol::kTcp, 11, 0, 0).packet));
  CHECK_FALSE(parse_guest_error(Message(false, flow::Protocol::kTcp, 5, 1, 0).packet));
  CHECK_FALSE(parse_guest_error(Message(true, flow::Protocol::kTcp, 1, 0, 0).packet));
  CHECK_FALSE(parse_guest_error(Message(true, flow::Protocol::kTcp, 1, 3, 0).packet));
  CHECK_FALSE(parse_guest_error(Message(true, flow::Protocol::kTcp, 3, 0, 0).packet));
}

TEST_CASE("icmp guest error: a quote that is short or not of ours is nothing") {
  for (const bool v6 : {false, true}) {
    CAPTURE(v6);
    const std::size_t header = v6 ? 40 : 20;
    const std::uint8_t type = v6 ? 2 : 3, code = v6 ? 0 : 4;
    for (std::size_t quoted = 0; quoted < header + 8; ++quoted)
      CHECK_FALSE(parse_guest_error(Message(v6, flow::Protocol::kUdp, type, code, 1400, quoted).packet));
    CHECK(parse_guest_error(Message(v6, flow::Protocol::kUdp, type, code, 1400, header + 8).packet));
    Message version(v6, flow::Protocol::kUdp, type, code, 1400);
    version.quote(0) = v6 ? std::byte{0x45} : std::byte{0x60};
    CHECK_FALSE(parse_guest_error(version.packet));
    Message protocol(v6, flow::Protocol::kUdp, type, code, 1400);
    protocol.quote(v6 ? 6 : 9) = std::byte{132};
    CHECK_FALSE(parse_guest_error(protocol.packet));
  }
  Message fragment(false, flow::Protocol::kUdp, 3, 4, 1400);
  fragment.quote(7) = std::byte{1};  // fragment offset 8: no ports there
  CHECK_FALSE(parse_guest_error(fragment.packet));
  Message options(false, flow::Protocol::kUdp, 3, 4, 1400);
  options.quote(0) = std::byte{0x46};
  CHECK_FALSE(parse_guest_error(options.packet));
}

TEST_CASE("icmp guest error: a first fragment of ours is found behind its header") {
  Message m(true, flow::Protocol::kUdp, 2, 0, 1400);
  // Fragment header in front of a copy of the ports.
  std::array<std::byte, 8> ports;
  for (std::size_t i = 0; i < 8; ++i) ports[i] = m.quote(40 + i);
  m.quote(6) = std::byte{44};
  m.quote(40) = std::byte{17};
  for (std::size_t i = 1; i < 8; ++i) m.quote(40 + i) = std::byte{0};
  m.quote(43) = std::byte{1};  // more fragments
  for (std::size_t i = 0; i < 8; ++i) m.quote(48 + i) = ports[i];
  REQUIRE(parse_guest_error(m.packet));
  CHECK(parse_guest_error(m.packet)->tuple == tuple(true, flow::Protocol::kUdp));
  m.quote(43) = std::byte{8};  // offset 8
  CHECK_FALSE(parse_guest_error(m.packet));
}

}  // namespace
}  // namespace cordon::icmp
