#include "core/wire/checksum.h"

#include <doctest/doctest.h>

#include "tests/wire/packets.h"

using namespace cordon;
using test::hex;

TEST_CASE("checksum: the example of RFC 1071 section 3") {
  CHECK(wire::checksum(hex("0001 f203 f4f5 f6f7")) == 0x220d);  // sum ddf2
}

TEST_CASE("checksum: a known IPv4 header") {
  const auto zeroed = hex("4500 0073 0000 4000 4011 0000 c0a8 0001 c0a8 00c7");
  CHECK(wire::checksum(zeroed) == 0xb861);
  CHECK(wire::checksum(hex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7")) == 0);
}

TEST_CASE("checksum: empty, one byte, all ones") {
  CHECK(wire::checksum({}) == 0xffff);
  CHECK(wire::checksum(hex("80")) == 0x7fff);
  CHECK(wire::checksum(hex("ffff ffff")) == 0);
}

TEST_CASE("checksum: any length and any split equals the slow sum") {
  std::mt19937 random(1071);
  for (int round = 0; round < 400; ++round) {
    const auto bytes =
        test::random_bytes(random, round < 200 ? static_cast<std::size_t>(round) : random() % 70000);
    CAPTURE(bytes.size());
    const auto expected = static_cast<std::uint16_t>(~test::slow_sum(bytes));
    REQUIRE(wire::checksum(bytes) == expected);
    wire::ChecksumSum sum;
    base::Bytes rest{bytes};
    while (!rest.empty()) {
      const std::size_t cut = random() % (rest.size() + 1);
      sum.add(rest.first(cut));
      rest = rest.subspan(cut);
      if (cut == 0) {  // an empty piece changes nothing
        sum.add(rest);
        break;
      }
    }
    REQUIRE(sum.finish() == expected);
  }
}

TEST_CASE("checksum: 64 KiB of ones loses no carry") {
  const test::Buffer ones(65536, std::byte{0xff});
  wire::ChecksumSum sum;
  sum.add(ones);
  CHECK(sum.folded() == 0xffff);
}

TEST_CASE("checksum: pseudo headers of both families") {
  wire::ChecksumSum v4;
  v4.add_pseudo_header(net::Ipv4Address{10, 0, 2, 15}, net::Ipv4Address{192, 0, 2, 1}, 17, 13);
  CHECK(v4.folded() == test::slow_sum(hex("0a00020f c0000201 0011 000d")));
  wire::ChecksumSum v6;
  v6.add_pseudo_header(*net::parse_ip("fd00:c0:2d::15"), *net::parse_ip("2001:db8::1"), 6, 65536 + 7);
  CHECK(v6.folded() ==
        test::slow_sum(
            hex("fd0000c0002d00000000000000000015 20010db8000000000000000000000001 00010007 00000006")));
}

TEST_CASE("checksum: pieces of an iovec, odd first piece") {
  auto a = hex("0001f2");
  auto b = hex("03f4f5f6f7");
  const std::array<iovec, 2> pieces{iovec{a.data(), a.size()}, iovec{b.data(), b.size()}};
  wire::ChecksumSum sum;
  sum.add(pieces);
  CHECK(sum.finish() == 0x220d);
}
