// Frame, tuple and quotation name one owner.
#include "core/plane/owner.h"

#include <random>

#include "fakes.h"
#include "tests/wire/packets.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;
using cordon::test::Buffer;
using cordon::test::hex;
using cordon::test::put16;
using cordon::test::operator+;

namespace {

constexpr base::SipKey kKey{11, 22};
const Buffer kEthernet4 = hex("020000000002 020000000015 0800");
const Buffer kEthernet6 = hex("020000000002 020000000015 86dd");

// What packets.h composes: 10.0.2.15 -> 192.0.2.1, fd00:c0:2d::15 -> 2001:db8::1.
flow::Tuple tuple_of(flow::Protocol protocol, bool v6, std::uint16_t guest, std::uint16_t remote) {
  return {protocol,
          {*net::parse_ip(v6 ? "fd00:c0:2d::15" : "10.0.2.15"), net::Port{guest}},
          {*net::parse_ip(v6 ? "2001:db8::1" : "192.0.2.1"), net::Port{remote}}};
}
Buffer l4_of(flow::Protocol protocol, bool v6, std::uint16_t guest, std::uint16_t remote) {
  Buffer out(20);
  if (protocol == flow::Protocol::kIcmpEcho) {
    out[0] = std::byte(v6 ? 128 : 8);
    put16(out, 4, guest);
    return out;
  }
  put16(out, 0, guest);
  put16(out, 2, remote);
  return out;
}
std::uint8_t number_of(flow::Protocol protocol, bool v6) {
  return protocol == flow::Protocol::kIcmpEcho && v6 ? 58 : static_cast<std::uint8_t>(protocol);
}
Buffer frame_of(bool v6, std::uint8_t protocol, const Buffer& l4) {
  return v6 ? kEthernet6 + cordon::test::ipv6(protocol, l4) : kEthernet4 + cordon::test::ipv4(protocol, l4);
}
// The same packet on its way to the guest.
Buffer reversed(bool v6, std::uint8_t protocol, const Buffer& l4) {
  Buffer ip = v6 ? cordon::test::ipv6(protocol, l4) : cordon::test::ipv4(protocol, l4);
  const std::ptrdiff_t at = v6 ? 8 : 12;
  const std::ptrdiff_t size = v6 ? 16 : 4;
  std::swap_ranges(ip.begin() + at, ip.begin() + at + size, ip.begin() + at + size);
  return ip;
}

}  // namespace

TEST_CASE("plane owner: a frame, its tuple and an ICMP error about it name the same worker") {
  const Owners owners(kKey, 7);
  for (const auto protocol : {flow::Protocol::kTcp, flow::Protocol::kUdp, flow::Protocol::kIcmpEcho}) {
    for (const bool v6 : {false, true}) {
      for (std::uint16_t port = 1000; port < 1040; ++port) {
        CAPTURE(static_cast<int>(protocol));
        CAPTURE(v6);
        CAPTURE(port);
        const std::uint16_t remote = protocol == flow::Protocol::kIcmpEcho ? 0 : 443;
        const std::uint32_t owner = owners.of(tuple_of(protocol, v6, port, remote));
        CHECK(owner < 7);
        const std::uint8_t number = number_of(protocol, v6);
        const Buffer l4 = l4_of(protocol, v6, port, remote);
        CHECK(owners.of(frame_of(v6, number, l4)) == owner);

        Buffer back = l4;
        if (protocol == flow::Protocol::kIcmpEcho)
          back[0] = std::byte(v6 ? 129 : 0);
        else
          std::swap_ranges(back.begin(), back.begin() + 2, back.begin() + 2);
        Buffer error = hex(v6 ? "0100000000000000" : "0303000000000000") + reversed(v6, number, back);
        CHECK(owners.of(frame_of(v6, v6 ? 58 : 1, error)) == owner);
        error.resize(8 + (v6 ? 40U : 20U) + 8);  // RFC 792 promises no more
        CHECK(owners.of(frame_of(v6, v6 ? 58 : 1, error)) == owner);
      }
    }
  }
}

TEST_CASE("plane owner: IP options and extension headers change nothing") {
  const Owners owners(kKey, 16);
  const Buffer udp = l4_of(flow::Protocol::kUdp, false, 5000, 53);
  const std::uint32_t v4 = owners.of(tuple_of(flow::Protocol::kUdp, false, 5000, 53));
  CHECK(owners.of(kEthernet4 + cordon::test::ipv4(17, udp, hex("01010101"))) == v4);
  const std::uint32_t v6 = owners.of(tuple_of(flow::Protocol::kUdp, true, 5000, 53));
  // Destination options (PadN), then an atomic fragment header (RFC 6946).
  CHECK(owners.of(kEthernet6 + cordon::test::ipv6(60, hex("1100010400000000") + udp)) == v6);
  CHECK(owners.of(kEthernet6 + cordon::test::ipv6(44, hex("1100000012345678") + udp)) == v6);
}

TEST_CASE("plane owner: every fragment of a datagram has one owner, whatever its offset") {
  const Owners owners(kKey, 16);
  const Buffer first =
      kEthernet4 + cordon::test::ipv4(17, l4_of(flow::Protocol::kUdp, false, 1, 2), {}, 0x2000);
  const Buffer last = kEthernet4 + cordon::test::ipv4(17, Buffer(24), {}, 0x0003);
  REQUIRE(owners.of(first));
  CHECK(owners.of(first) == owners.of(last));
  const Buffer first6 = kEthernet6 + cordon::test::ipv6(44, hex("1100000112345678") + Buffer(16));
  const Buffer last6 = kEthernet6 + cordon::test::ipv6(44, hex("1100001012345678") + Buffer(9));
  REQUIRE(owners.of(first6));
  CHECK(owners.of(first6) == owners.of(last6));
}

TEST_CASE("plane owner: what concerns the link is the first worker's") {
  const Owners owners(kKey, 16);
  struct Case {
    std::string_view name;
    Buffer frame;
  };
  const Buffer dhcp = hex("0044 0043 0008 0000");
  const Buffer dhcp6 = hex("0222 0223 0008 0000");
  Buffer multicast = cordon::test::ipv4(17, hex("14e9 14e9 0008 0000"));
  multicast[16] = std::byte{224};
  Buffer broadcast = cordon::test::ipv4(17, dhcp);
  for (std::size_t i = 16; i < 20; ++i) broadcast[i] = std::byte{0xff};
  Buffer group = cordon::test::ipv6(17, hex("14e9 14e9 0008 0000"));
  group[24] = std::byte{0xff};
  const std::vector<Case> cases{
      {"ARP", hex("ffffffffffff 020000000015 0806 0001 0800")},
      {"DHCP to the server's address", kEthernet4 + cordon::test::ipv4(17, dhcp)},
      {"DHCP broadcast", kEthernet4 + broadcast},
      {"DHCPv6", kEthernet6 + cordon::test::ipv6(17, dhcp6)},
      {"multicast", kEthernet4 + multicast},
      {"multicast, IPv6", kEthernet6 + group},
      {"neighbour solicitation", kEthernet6 + cordon::test::ipv6(58, hex("87000000 00000000") + Buffer(16))},
      {"router solicitation", kEthernet6 + cordon::test::ipv6(58, hex("85000000 00000000"))},
      {"ICMP of no flow", kEthernet4 + cordon::test::ipv4(1, hex("0d000000 00000000"))}};
  for (const Case& c : cases) {
    CAPTURE(c.name);
    CHECK(owners.of(c.frame) == Owners::kLinkOwner);
  }
}

TEST_CASE("plane owner: what cannot be read stays where it is, and nothing is read beyond the end") {
  const Owners owners(kKey, 16);
  CHECK_FALSE(owners.of(base::Bytes{}));
  CHECK_FALSE(owners.of(hex("020000000002 020000000015 88cc 00")));  // LLDP
  std::mt19937 random(4);
  const std::array bases{frame_of(false, 6, l4_of(flow::Protocol::kTcp, false, 1, 2)),
                         frame_of(true, 6, l4_of(flow::Protocol::kTcp, true, 1, 2)),
                         frame_of(false, 1, hex("0303000000000000") + reversed(false, 6, Buffer(8))),
                         frame_of(true, 44, hex("1100000112345678") + Buffer(16))};
  for (int i = 0; i < 200'000; ++i) {
    Buffer frame = bases[random() % bases.size()];
    frame.resize(random() % (frame.size() + 1));
    frame.shrink_to_fit();  // so that ASan sees a step too far
    for (std::size_t n = random() % 4; n > 0 && !frame.empty(); --n)
      frame[random() % frame.size()] = static_cast<std::byte>(random());
    if (const auto owner = owners.of(frame)) REQUIRE(*owner < 16);
  }
}

TEST_CASE("plane owner: flows spread over the workers, by a key the guest does not know") {
  const Owners owners(kKey, 4);
  const Owners other({11, 23}, 4);
  std::array<int, 4> count{};
  int same = 0;
  for (std::uint16_t port = 10000; port < 14000; ++port) {
    const auto tuple = tuple_of(flow::Protocol::kTcp, false, port, 443);
    ++count.at(owners.of(tuple));
    same += owners.of(tuple) == other.of(tuple) ? 1 : 0;
  }
  // 4,000 throws at 1/4: six standard deviations are 164.
  for (const int n : count) CHECK(std::abs(n - 1000) < 164);
  CHECK(std::abs(same - 1000) < 164);
}
