#include "core/wire/reassembly.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "core/wire/udp.h"
#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;
using test::operator+;
using wire::FragmentOutcome;
using wire::ParseError;
using wire::Reassembler;

namespace {

// A UDP datagram with a right checksum; the L4 bytes only.
test::Buffer datagram(std::mt19937& random, std::size_t payload, bool v4) {
  auto l4 = hex("9c40 0035 0000 0000") + test::random_bytes(random, payload);
  test::put16(l4, 4, static_cast<std::uint32_t>(l4.size()));
  auto ip = v4 ? test::ipv4(17, l4) : test::ipv6(17, l4);
  test::fix_l4_checksum(ip, 6);
  return {ip.begin() + (v4 ? 20 : 40), ip.end()};
}

struct Piece {
  std::size_t offset;
  std::size_t length;
  bool more;
};

test::Buffer fragment(const test::Buffer& l4, const Piece& piece, bool v4, unsigned id = 0x1234) {
  const auto at = l4.begin() + static_cast<std::ptrdiff_t>(piece.offset);
  const test::Buffer bytes(at, at + static_cast<std::ptrdiff_t>(piece.length));
  if (v4) {
    auto ip =
        test::ipv4(17, bytes, {}, static_cast<std::uint16_t>(piece.offset / 8 + (piece.more ? 0x2000U : 0U)));
    test::put16(ip, 4, id);
    test::fix_ipv4_checksum(ip);
    return ip;
  }
  auto header = hex("1100 0000 00000000");
  test::put16(header, 2, static_cast<std::uint32_t>(piece.offset + (piece.more ? 1 : 0)));
  test::put16(header, 6, id);
  return test::ipv6(44, header + bytes);
}

std::vector<Piece> cut(std::size_t size, std::size_t step) {
  std::vector<Piece> pieces;
  for (std::size_t at = 0; at < size; at += step)
    pieces.push_back({at, std::min(step, size - at), at + step < size});
  return pieces;
}

struct Bench {
  Reassembler reassembler{4};
  base::Instant now;
  Reassembler::Result add(const test::Buffer& ip) {
    const auto type =
        std::to_integer<unsigned>(ip[0]) >> 4U == 4 ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6;
    return reassembler.add(wire::parse_packet(ip, type, wire::ChecksumPolicy::kSkipL4).value(), now);
  }
};

}  // namespace

TEST_CASE("reassembly: any order gives the datagram back once, byte for byte") {
  std::mt19937 random(815);
  for (const bool v4 : {true, false}) {
    for (const std::size_t size : {9UL, 1473UL, 4000UL, 65507UL}) {
      for (const std::size_t step : {size < 5000 ? 8UL : 1480UL, 1448UL, 65504UL}) {
        const auto l4 = datagram(random, size, v4);
        auto pieces = cut(l4.size(), step);
        if (pieces.size() < 2) continue;
        std::shuffle(pieces.begin(), pieces.end(), random);
        CAPTURE(v4);
        CAPTURE(size);
        CAPTURE(step);
        Bench bench;
        for (std::size_t i = 0; i + 1 < pieces.size(); ++i)
          REQUIRE(bench.add(fragment(l4, pieces[i], v4)).outcome == FragmentOutcome::kHeld);
        const auto result = bench.add(fragment(l4, pieces.back(), v4));
        REQUIRE(result.outcome == FragmentOutcome::kComplete);
        CHECK_FALSE(result.packet->is_fragment);
        CHECK(result.packet->hop_limit == 64);
        CHECK(result.packet->source == *net::parse_ip(v4 ? "10.0.2.15" : "fd00:c0:2d::15"));
        CHECK(std::ranges::equal(result.packet->l4, l4));
        CHECK(wire::UdpView::parse(result.packet->l4)->payload().size() == size);
        // The slot is free again: a late duplicate starts anew and gives nothing.
        CHECK(bench.add(fragment(l4, pieces.front(), v4)).outcome == FragmentOutcome::kHeld);
        CHECK(bench.reassembler.evictions() == 0);
      }
    }
  }
}

TEST_CASE("reassembly: overlaps and contradictions condemn the datagram") {
  struct Case {
    std::string_view name;
    std::vector<Piece> pieces;
    FragmentOutcome last;
  };
  std::mt19937 random(5722);
  const auto l4 = datagram(random, 56, true);  // 64 bytes
  for (const bool v4 : {true, false}) {
    for (const Case& c :
         {Case{"duplicate", {{0, 32, true}, {0, 32, true}}, FragmentOutcome::kOverlap},
          Case{"shifted", {{0, 32, true}, {24, 16, true}}, FragmentOutcome::kOverlap},
          Case{"inside", {{0, 32, true}, {8, 8, true}}, FragmentOutcome::kOverlap},
          Case{"around", {{8, 8, true}, {0, 32, true}}, FragmentOutcome::kOverlap},
          Case{"two equal ends", {{56, 8, false}, {56, 8, false}}, FragmentOutcome::kOverlap},
          Case{"two ends, second later", {{32, 8, false}, {56, 8, false}}, FragmentOutcome::kInconsistent},
          Case{"two ends, second earlier", {{56, 8, false}, {32, 8, false}}, FragmentOutcome::kInconsistent},
          Case{"bytes behind the end", {{32, 8, false}, {40, 8, true}}, FragmentOutcome::kInconsistent},
          Case{"end before bytes held", {{40, 8, true}, {32, 8, false}}, FragmentOutcome::kInconsistent}}) {
      CAPTURE(c.name);
      CAPTURE(v4);
      Bench bench;
      CHECK(bench.add(fragment(l4, c.pieces[0], v4)).outcome == FragmentOutcome::kHeld);
      CHECK(bench.add(fragment(l4, c.pieces[1], v4)).outcome == c.last);
      // What would have completed it does not any more.
      for (const Piece& piece : cut(64, 8))
        CHECK_FALSE(bench.add(fragment(l4, piece, v4)).packet.has_value());
    }
  }
}

TEST_CASE("reassembly: datagrams with other ids, addresses and protocols do not mix") {
  std::mt19937 random(1);
  const auto l4 = datagram(random, 24, true);
  Bench bench;
  CHECK(bench.add(fragment(l4, {0, 16, true}, true, 1)).outcome == FragmentOutcome::kHeld);
  CHECK(bench.add(fragment(l4, {16, 16, false}, true, 2)).outcome == FragmentOutcome::kHeld);
  auto other = fragment(l4, {16, 16, false}, true, 1);
  other[19] = std::byte{9};  // destination
  test::fix_ipv4_checksum(other);
  CHECK(bench.add(other).outcome == FragmentOutcome::kHeld);
  auto tcp = fragment(l4, {16, 16, false}, true, 1);
  tcp[9] = std::byte{6};
  test::fix_ipv4_checksum(tcp);
  CHECK(bench.add(tcp).outcome == FragmentOutcome::kHeld);
  CHECK(bench.add(fragment(l4, {16, 16, false}, true, 1)).outcome == FragmentOutcome::kComplete);
}

TEST_CASE("reassembly: a wrong checksum over the whole is found") {
  std::mt19937 random(2);
  auto l4 = datagram(random, 24, true);
  l4.back() ^= std::byte{1};
  Bench bench;
  CHECK(bench.add(fragment(l4, {0, 16, true}, true)).outcome == FragmentOutcome::kHeld);
  const auto result = bench.add(fragment(l4, {16, 16, false}, true));
  CHECK(result.outcome == FragmentOutcome::kMalformed);
  CHECK(result.error == ParseError::kUdpChecksum);
}

TEST_CASE("reassembly: what is incomplete expires, a flood evicts the oldest and memory stays constant") {
  std::mt19937 random(3);
  const auto l4 = datagram(random, 24, true);
  Bench bench;
  CHECK(bench.add(fragment(l4, {0, 16, true}, true)).outcome == FragmentOutcome::kHeld);
  bench.now = bench.now + Reassembler::kLifetime;
  CHECK(bench.add(fragment(l4, {16, 16, false}, true)).outcome == FragmentOutcome::kHeld);
  CHECK(bench.reassembler.evictions() == 0);
  for (unsigned id = 0; id < 1000; ++id) {
    bench.now = bench.now + base::Duration{1};
    CHECK(bench.add(fragment(l4, {0, 16, true}, true, 0x8000 + id)).outcome == FragmentOutcome::kHeld);
  }
  CHECK(bench.reassembler.evictions() == 1000 - 3);  // four slots, one was in use
  CHECK(bench.add(fragment(l4, {16, 16, false}, true, 0x8000 + 999)).outcome == FragmentOutcome::kComplete);
}

TEST_CASE("reassembly: random fragments of one datagram never give anything but that datagram") {
  std::mt19937 random(4);
  for (int round = 0; round < 300; ++round) {
    const bool v4 = random() % 2 == 0;
    const auto l4 = datagram(random, 100, v4);
    Bench bench;
    for (int i = 0; i < 40; ++i) {
      const std::size_t offset = random() % 13 * 8;
      const bool more = offset < 96 && random() % 3 != 0;
      const std::size_t length = more ? (1 + random() % ((104 - offset) / 8)) * 8 : l4.size() - offset;
      if (i % 10 == 0) bench.now = bench.now + Reassembler::kLifetime;
      const auto result = bench.add(fragment(l4, {offset, length, more}, v4));
      if (result.packet) REQUIRE(std::ranges::equal(result.packet->l4, l4));
    }
  }
}

TEST_CASE("reassembly: a fragment header inside the whole is refused (IPv6)") {
  std::mt19937 random(6);
  auto inner = hex("6300 0001 00000009") + test::random_bytes(random, 24);
  // Of a fragment, and of a whole datagram (RFC 6946).
  for (const std::byte more : {std::byte{1}, std::byte{0}}) {
    inner[3] = more;
    auto first = test::ipv6(44, hex("2c00 0001 00000007") + test::Buffer(inner.begin(), inner.begin() + 16));
    auto last = test::ipv6(44, hex("2c00 0010 00000007") + test::Buffer(inner.begin() + 16, inner.end()));
    Bench bench;
    CHECK(bench.add(first).outcome == FragmentOutcome::kHeld);
    const auto result = bench.add(last);
    CHECK(result.outcome == FragmentOutcome::kMalformed);
    CHECK(result.error == ParseError::kIpv6FragmentRepeated);
  }
}
