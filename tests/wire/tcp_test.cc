#include "core/wire/tcp.h"

#include <doctest/doctest.h>

#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using test::operator+;
using wire::ParseError;
using wire::TcpView;

namespace {
template <class... T>
constexpr auto bytes(T... values) {
  return std::array<std::byte, sizeof...(T)>{static_cast<std::byte>(values)...};
}
constexpr auto kSyn =
    bytes(0xc0, 0x00, 0x01, 0xbb, 0, 0, 0, 0x2a, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0);
static_assert(TcpView::parse(kSyn)->source_port() == net::Port{49152});
static_assert(TcpView::parse(kSyn)->destination_port() == net::Port{443});
static_assert(TcpView::parse(kSyn)->seq() == net::SeqNum{42});
static_assert(TcpView::parse(kSyn)->flags() == wire::TcpFlags{.syn = true});
static_assert(TcpView::parse(kSyn)->window() == 65535);
static_assert(TcpView::parse(kSyn)->options().empty() && TcpView::parse(kSyn)->payload().empty());
static_assert(TcpView::parse(std::span{kSyn}.first(19)).error() == ParseError::kTcpTruncated);
}  // namespace

TEST_CASE("tcp: data offsets") {
  for (unsigned words = 0; words < 16; ++words) {
    auto segment = test::Buffer(kSyn.begin(), kSyn.end()) + test::zeros(20);
    segment[12] = static_cast<std::byte>(words << 4U);
    CAPTURE(words);
    const auto view = TcpView::parse(segment);
    if (words < 5) {
      CHECK(view.error() == ParseError::kTcpDataOffset);
    } else if (words > 10) {
      CHECK(view.error() == ParseError::kTcpTruncated);
    } else {
      REQUIRE(view.has_value());
      CHECK(view->options().size() == words * 4 - 20);
      CHECK(view->payload().size() == 40 - words * 4);
    }
  }
}

TEST_CASE("tcp: truncated at every length, ports of zero") {
  for (std::size_t size = 0; size < 20; ++size)
    CHECK(TcpView::parse(base::Bytes{kSyn}.first(size)).error() == ParseError::kTcpTruncated);
  auto segment = kSyn;
  segment[0] = std::byte{0};
  CHECK(TcpView::parse(segment).error() == ParseError::kTcpPortZero);
  segment = kSyn;
  segment[2] = segment[3] = std::byte{0};
  CHECK(TcpView::parse(segment).error() == ParseError::kTcpPortZero);
}

TEST_CASE("tcp: all flag bytes survive both ways") {
  for (unsigned bits = 0; bits < 256; ++bits)
    REQUIRE(wire::TcpFlags::from_bits(static_cast<std::uint8_t>(bits)).bits() == bits);
  CHECK(wire::TcpFlags::from_bits(0x12) == wire::TcpFlags{.syn = true, .ack = true});
  CHECK(wire::TcpFlags::from_bits(0xc2) == wire::TcpFlags{.syn = true, .ece = true, .cwr = true});
}

TEST_CASE("tcp options: a usual SYN") {
  const auto options =
      wire::parse_tcp_options(hex("020405b4 0402 080a0000000100000000 01 030307"), true).value();
  CHECK(options.mss == 1460);
  CHECK(options.window_scale == 7);
  CHECK(options.sack_permitted);
  CHECK(options.sack_count == 0);
}

TEST_CASE("tcp options: limits and repetitions") {
  CHECK(wire::parse_tcp_options(hex("03030f00"), true)->window_scale == 14);
  CHECK(wire::parse_tcp_options(hex("0303ff00"), true)->window_scale == 14);
  CHECK(wire::parse_tcp_options(hex("02040000"), true)->mss == 0);
  CHECK(wire::parse_tcp_options(hex("0204ffff 02040001"), true)->mss == 65535);
  CHECK_FALSE(wire::parse_tcp_options({}, true)->mss.has_value());
  CHECK_FALSE(wire::parse_tcp_options(hex("00 020405b4 000000"), true)->mss.has_value());  // behind the end
}

TEST_CASE("tcp options: what only a SYN may carry is ignored elsewhere, and SACK in a SYN") {
  const auto elsewhere = wire::parse_tcp_options(hex("020405b4 030307 0402 00"), false).value();
  CHECK_FALSE(elsewhere.mss);
  CHECK_FALSE(elsewhere.window_scale);
  CHECK_FALSE(elsewhere.sack_permitted);
  CHECK(wire::parse_tcp_options(hex("0101050a 00000001 00000005"), true)->sack_count == 0);
}

TEST_CASE("tcp options: SACK blocks") {
  const auto two =
      wire::parse_tcp_options(hex("01010512 00000001 00000005 fffffff0 00000010"), false).value();
  REQUIRE(two.sack_count == 2);
  CHECK(two.sack[0] == wire::SackBlock{net::SeqNum{1}, net::SeqNum{5}});
  CHECK(two.sack[1] == wire::SackBlock{net::SeqNum{0xfffffff0}, net::SeqNum{0x10}});  // wraps
  const auto inverted =
      wire::parse_tcp_options(hex("01010512 00000005 00000001 00000007 00000007"), false).value();
  CHECK(inverted.sack_count == 0);
  const auto four = wire::parse_tcp_options(
      hex("01010522 00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008"), false);
  CHECK(four->sack_count == 4);
}

TEST_CASE("tcp options: malformed") {
  struct Case {
    std::string_view name;
    std::string_view options;
    ParseError error;
  };
  for (const Case& c : {Case{"length 0", "fd000000", ParseError::kTcpOptionLength},
                        Case{"length 1", "fd010000", ParseError::kTcpOptionLength},
                        Case{"overrun", "01010204", ParseError::kTcpOptionLength},
                        Case{"kind at the very end", "01010102", ParseError::kTcpOptionLength},
                        Case{"MSS of 3 bytes", "02030500", ParseError::kTcpOptionSize},
                        Case{"window scale of 4 bytes", "03040700", ParseError::kTcpOptionSize},
                        Case{"SACK permitted of 3 bytes", "04030000", ParseError::kTcpOptionSize},
                        Case{"SACK without blocks", "05020000", ParseError::kTcpOptionSize},
                        Case{"half a SACK block", "01010506 00000001", ParseError::kTcpOptionSize}}) {
    CAPTURE(c.name);
    CHECK(wire::parse_tcp_options(hex(c.options), true).error() == c.error);
  }
}

TEST_CASE("tcp options: random bytes are refused or read within bounds") {
  std::mt19937 random(9293);
  for (int round = 0; round < 50000; ++round) {
    auto options = test::random_bytes(random, (random() % 11) * 4);
    for (std::byte& b : options)
      if (random() % 2 == 0) b = static_cast<std::byte>(random() % 12);
    const auto parsed = wire::parse_tcp_options(options, random() % 2 == 0);
    if (!parsed) continue;
    REQUIRE(parsed->sack_count <= 4);
    REQUIRE(parsed->window_scale.value_or(0) <= 14);
  }
}
