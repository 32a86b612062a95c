#include "core/wire/frame_builder.h"

#include <doctest/doctest.h>

#include "core/wire/packet.h"
#include "core/wire/udp.h"
#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using test::operator+;
using wire::ChecksumMode;
using wire::EtherType;
using wire::IpProtocol;

namespace {

constexpr net::MacAddress kOurs{{0x02, 0, 0, 0, 0, 1}};
constexpr net::MacAddress kGuests{{0x52, 0x54, 0, 0, 0, 2}};

wire::FrameTemplate::Ends ends(bool v4) {
  return {kOurs,
          kGuests,
          {*net::parse_ip(v4 ? "192.0.2.1" : "2001:db8::1"), net::Port{443}},
          {*net::parse_ip(v4 ? "10.0.2.15" : "fd00:c0:2d::15"), net::Port{49152}}};
}

struct Headers {
  std::array<std::byte, wire::kMaxHeaders> bytes;
  Headers() { bytes.fill(std::byte{0xee}); }  // what is not written shows
};

test::Buffer whole(const Headers& headers, const wire::BuiltHeaders& built, const test::Buffer& payload) {
  return test::Buffer(headers.bytes.begin(), headers.bytes.begin() + built.length) + payload;
}

// What a link does with needs_checksum.
void complete(test::Buffer& frame, const wire::BuiltHeaders& built) {
  const auto sum = test::slow_sum(base::Bytes{frame}.subspan(built.checksum_start));
  test::put16(frame, std::size_t{built.checksum_start} + built.checksum_offset,
              static_cast<std::uint16_t>(~sum));
}

std::array<iovec, 2> split(test::Buffer& payload, std::size_t at) {
  return {iovec{payload.data(), at}, iovec{payload.data() + at, payload.size() - at}};
}

}  // namespace

TEST_CASE("frame builder: a SYN-ACK, byte by byte") {
  Headers out;
  const wire::FrameTemplate flow(ends(true), IpProtocol::kTcp);
  const auto built = wire::build_tcp(flow,
                                     {.seq = net::SeqNum{0x01020304},
                                      .ack = net::SeqNum{43},
                                      .flags = {.syn = true, .ack = true},
                                      .window = 65535,
                                      .mss = 1460,
                                      .window_scale = 8,
                                      .sack_permitted = true},
                                     {}, ChecksumMode::kFull, out.bytes);
  CHECK(built.length == 14 + 20 + 32);
  CHECK(built.checksum_start == 34);
  CHECK(built.checksum_offset == 16);
  auto expected =
      hex("525400000002 020000000001 0800"
          "4500 0034 0000 4000 4006 0000 c0000201 0a00020f"
          "01bb c000 01020304 0000002b 8012 ffff 0000 0000"
          "020405b4 01010402 01030308");
  auto ip = test::Buffer(expected.begin() + 14, expected.end());
  test::fix_ipv4_checksum(ip);
  test::fix_l4_checksum(ip, 16);
  expected = test::Buffer(expected.begin(), expected.begin() + 14) + ip;
  CHECK(whole(out, built, {}) == expected);
}

TEST_CASE("frame builder: every frame reads back, with full and with completed partial checksums") {
  std::mt19937 random(7);
  for (const bool v4 : {true, false}) {
    const auto type = v4 ? EtherType::kIpv4 : EtherType::kIpv6;
    const wire::FrameTemplate tcp(ends(v4), IpProtocol::kTcp);
    const wire::FrameTemplate udp(ends(v4), IpProtocol::kUdp, 17, 0xb8);
    for (const std::size_t size :
         {0UL, 1UL, 2UL, 3UL, 1447UL, 1448UL, 32769UL, 65000UL, 65475UL - (v4 ? 0 : 20)}) {
      CAPTURE(v4);
      CAPTURE(size);
      auto payload = test::random_bytes(random, size);
      const auto pieces = split(payload, size / 3);
      const wire::TcpFields fields{.seq = net::SeqNum{static_cast<std::uint32_t>(random())},
                                   .ack = net::SeqNum{static_cast<std::uint32_t>(random())},
                                   .flags = {.psh = true, .ack = true},
                                   .window = 501};
      for (const auto mode : {ChecksumMode::kFull, ChecksumMode::kPartial}) {
        Headers a, b;
        const auto t = wire::build_tcp(tcp, fields, pieces, mode, a.bytes);
        const auto u = wire::build_udp(udp, pieces, mode, b.bytes);
        auto tcp_frame = whole(a, t, payload);
        auto udp_frame = whole(b, u, payload);
        if (mode == ChecksumMode::kPartial) {
          complete(tcp_frame, t);
          complete(udp_frame, u);
        }
        REQUIRE(test::l4_sum(base::Bytes{tcp_frame}.subspan(14)) == 0xffff);
        REQUIRE(test::l4_sum(base::Bytes{udp_frame}.subspan(14)) == 0xffff);
        const auto p =
            wire::parse_packet(base::Bytes{tcp_frame}.subspan(14), type, wire::ChecksumPolicy::kVerifyL4);
        REQUIRE(p.has_value());
        REQUIRE(p->ip.size() == tcp_frame.size() - 14);
        const auto view = wire::TcpView::parse(p->l4).value();
        CHECK(view.seq() == fields.seq);
        CHECK(view.ack() == fields.ack);
        CHECK(view.flags() == fields.flags);
        CHECK(view.window() == 501);
        CHECK(view.payload().size() == size);
        const auto q =
            wire::parse_packet(base::Bytes{udp_frame}.subspan(14), type, wire::ChecksumPolicy::kVerifyL4);
        REQUIRE(q.has_value());
        CHECK(q->hop_limit == 17);
        CHECK(q->traffic_class == 0xb8);
        CHECK(wire::UdpView::parse(q->l4)->payload().size() == size);
      }
    }
  }
}

TEST_CASE("frame builder: the largest super-frames have 65535 bytes of IP packet") {
  for (const bool v4 : {true, false}) {
    const wire::FrameTemplate flow(ends(v4), IpProtocol::kUdp);
    test::Buffer payload(flow.max_l4_length() - 8);
    Headers out;
    const auto built =
        wire::build_udp(flow, std::array{wire::piece(payload)}, ChecksumMode::kPartial, out.bytes);
    CHECK(built.length - 14 + payload.size() == 65535);
  }
}

TEST_CASE("frame builder: TCP options read back") {
  const wire::FrameTemplate flow(ends(false), IpProtocol::kTcp);
  Headers out;
  const wire::TcpFields fields{
      .flags = {.ack = true},
      .sack = {{{net::SeqNum{10}, net::SeqNum{20}}, {net::SeqNum{0xfffffff0}, net::SeqNum{5}}, {}, {}}},
      .sack_count = 2};
  const auto built = wire::build_tcp(flow, fields, {}, ChecksumMode::kFull, out.bytes);
  const auto frame = whole(out, built, {});
  const auto packet =
      wire::parse_packet(base::Bytes{frame}.subspan(14), EtherType::kIpv6, wire::ChecksumPolicy::kVerifyL4)
          .value();
  const auto options = wire::parse_tcp_options(wire::TcpView::parse(packet.l4)->options(), false).value();
  REQUIRE(options.sack_count == 2);
  CHECK(options.sack[0] == fields.sack[0]);
  CHECK(options.sack[1] == fields.sack[1]);
}

TEST_CASE("frame builder: the longest headers fit the buffer") {
  const wire::FrameTemplate flow(ends(false), IpProtocol::kTcp);
  Headers out;
  const wire::TcpFields fields{.flags = {.ack = true}, .sack_count = 4};
  const auto built = wire::build_tcp(flow, fields, {}, ChecksumMode::kFull, out.bytes);
  CHECK(built.length == 14 + 40 + 20 + 36);
  CHECK(built.length <= wire::kMaxHeaders);
}

TEST_CASE("frame builder: a UDP checksum that sums to zero is sent as ffff") {
  const wire::FrameTemplate flow(ends(true), IpProtocol::kUdp);
  bool seen = false;
  for (unsigned word = 0; word <= 0xffff; ++word) {
    test::Buffer payload(2);
    test::put16(payload, 0, word);
    Headers out;
    const auto built =
        wire::build_udp(flow, std::array{wire::piece(payload)}, ChecksumMode::kFull, out.bytes);
    const auto field =
        base::load_be<std::uint16_t>(base::Bytes{out.bytes}.subspan(built.checksum_start + 6).first<2>());
    REQUIRE(field != 0);
    seen = seen || field == 0xffff;
  }
  CHECK(seen);
}

TEST_CASE("frame builder: a frame's own TTL and traffic class") {
  for (const bool v4 : {true, false}) {
    const wire::FrameTemplate flow(ends(v4), IpProtocol::kUdp);
    Headers out;
    const std::size_t start = flow.put_network(out.bytes, 8, 3, 0x2e);
    auto frame = test::Buffer(out.bytes.begin(), out.bytes.begin() + static_cast<std::ptrdiff_t>(start)) +
                 hex("01bb c000 0008 0000");
    const auto packet =
        wire::parse_packet(base::Bytes{frame}.subspan(14), v4 ? EtherType::kIpv4 : EtherType::kIpv6,
                           wire::ChecksumPolicy::kSkipL4);
    REQUIRE(packet.has_value());
    CHECK(packet->hop_limit == 3);
    CHECK(packet->traffic_class == 0x2e);
  }
}
