#include "core/lan/responder.h"

#include <doctest/doctest.h>

#include "core/wire/ndp.h"
#include "tests/lan/lan_fixture.h"

using namespace cordon;
using lan::Outcome;
using test::hex;
using test::operator+;

namespace {

struct Bench {
  lan::Responder responder;
  std::array<std::byte, lan::kMaxReply> out{};
  base::Instant now;

  explicit Bench(const lan::LanConfig& config = test::lan_config()) : responder(config) {
    out.fill(std::byte{0xee});
  }

  lan::Answer arp(const test::Buffer& frame) {
    return responder.on_arp(wire::EthernetView::parse(frame).value(), now, out);
  }
  lan::Answer ndp(const test::Buffer& ip) {
    const auto packet =
        wire::parse_packet(ip, wire::EtherType::kIpv6, wire::ChecksumPolicy::kVerifyL4).value();
    return responder.on_ndp(test::kGuestMac, packet, now, out);
  }
  test::Buffer reply(const lan::Answer& answer) const {
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(answer.length)};
  }
};

test::Buffer arp_request(std::string_view sender_mac, std::string_view sender, std::string_view target,
                         std::string_view operation = "0001") {
  return hex("ffffffffffff 525400000002 0806 0001 0800 06 04") + hex(operation) + hex(sender_mac) +
         hex(sender) + hex("000000000000") + hex(target);
}

test::Buffer neighbour(std::string_view source, std::string_view destination, std::string_view icmp,
                       unsigned hop_limit = 255) {
  const auto l4 = hex(icmp);
  test::Buffer ip = hex("60000000 0000 3a 00") + hex(source) + hex(destination) + l4;
  test::put16(ip, 4, static_cast<std::uint32_t>(l4.size()));
  ip[7] = static_cast<std::byte>(hop_limit);
  test::fix_l4_checksum(ip, 2);
  return ip;
}

const std::string_view kGuest = "fd0000c0002d00000000000000000015";
const std::string_view kGateway = "fd0000c0002d00000000000000000002";
const std::string_view kOurLinkLocal = "fe800000000000000000000000000001";
const std::string_view kUnspecified = "00000000000000000000000000000000";
const std::string_view kGatewayGroup = "ff0200000000000000000001ff000002";

std::string text(std::string_view a, std::string_view b, std::string_view c = "") {
  return std::string{a} + std::string{b} + std::string{c};
}

}  // namespace

TEST_CASE("arp: the gateway and the DNS address are answered, padded with zeros") {
  for (const std::string_view target : {"0a000202", "0a000203"}) {
    Bench bench;
    const auto answer = bench.arp(arp_request("525400000002", "0a00020f", target));
    REQUIRE(answer.outcome == Outcome::kReply);
    CHECK(bench.reply(answer) == hex("525400000002 020000000001 0806 0001 0800 06 04 0002 020000000001") +
                                     hex(target) + hex("525400000002 0a00020f") + test::zeros(18));
  }
}

TEST_CASE("arp: who is not answered") {
  struct Case {
    std::string_view name;
    test::Buffer frame;
    Outcome expected;
  };
  for (const Case& c :
       {Case{"probe for the gateway (RFC 5227) is answered",
             arp_request("525400000002", "00000000", "0a000202"), Outcome::kReply},
        Case{"probe for the guest's own address", arp_request("525400000002", "00000000", "0a00020f"),
             Outcome::kNotForUs},
        Case{"announcement of the guest's address", arp_request("525400000002", "0a00020f", "0a00020f"),
             Outcome::kNotForUs},
        Case{"a neighbour that does not exist", arp_request("525400000002", "0a00020f", "0a000201"),
             Outcome::kNotForUs},
        Case{"an address of the internet", arp_request("525400000002", "0a00020f", "08080808"),
             Outcome::kNotForUs},
        Case{"gratuitous, claims the gateway", arp_request("525400000002", "0a000202", "0a000202"),
             Outcome::kForeignSender},
        Case{"reply, claims the gateway", arp_request("525400000002", "0a000202", "0a000202", "0002"),
             Outcome::kForeignSender},
        Case{"reply of the guest", arp_request("525400000002", "0a00020f", "0a000202", "0002"),
             Outcome::kNothingToSay},
        Case{"sender MAC differs from the frame's", arp_request("525400000003", "0a00020f", "0a000202"),
             Outcome::kForeignSender}}) {
    CAPTURE(c.name);
    Bench bench;
    CHECK(bench.arp(c.frame).outcome == c.expected);
  }
  Bench bench;
  const auto request = arp_request("525400000002", "0a00020f", "0a000202");
  for (std::size_t size = 14; size < request.size(); ++size) {
    const auto answer = bench.arp({request.begin(), request.begin() + static_cast<std::ptrdiff_t>(size)});
    CHECK(answer.outcome == Outcome::kMalformed);
    CHECK(answer.error == wire::ParseError::kArpTruncated);
  }
}

TEST_CASE("arp: a flood is answered within the bucket") {
  Bench bench;
  const auto request = arp_request("525400000002", "0a00020f", "0a000202");
  int replies = 0;
  for (int i = 0; i < 100000; ++i) {
    bench.now = base::Instant::from_nanos(i * 10'000);  // one second
    if (bench.arp(request).outcome == Outcome::kReply) ++replies;
  }
  CHECK(replies > 1000);
  CHECK(replies <= 1200);
}

TEST_CASE("ndp: a solicitation for the gateway is answered") {
  Bench bench;
  const auto answer =
      bench.ndp(neighbour(kGuest, kGatewayGroup, text("8700000000000000", kGateway, "0101525400000002")));
  REQUIRE(answer.outcome == Outcome::kReply);
  const auto expected_ip =
      neighbour(kGateway, kGuest, text("88000000e0000000", kGateway, "0201020000000001"));
  CHECK(bench.reply(answer) == hex("525400000002 020000000001 86dd") + expected_ip);
}

TEST_CASE("ndp: DAD for our address is defended to all nodes, unsolicited") {
  Bench bench;
  const auto answer = bench.ndp(neighbour(kUnspecified, kGatewayGroup, text("8700000000000000", kGateway)));
  REQUIRE(answer.outcome == Outcome::kReply);
  const auto expected_ip = neighbour(kGateway, "ff020000000000000000000000000001",
                                     text("88000000a0000000", kGateway, "0201020000000001"));
  CHECK(bench.reply(answer) == hex("333300000001 020000000001 86dd") + expected_ip);
}

TEST_CASE("ndp: the link-local of the router answers as router, the DNS address as host") {
  Bench bench;
  auto answer = bench.ndp(neighbour(kGuest, kOurLinkLocal, text("8700000000000000", kOurLinkLocal)));
  REQUIRE(answer.outcome == Outcome::kReply);
  CHECK(bench.out[14 + 40 + 4] == std::byte{0xe0});
  const std::string_view dns = "fd0000c0002d00000000000000000003";
  answer = bench.ndp(neighbour(kGuest, dns, text("8700000000000000", dns)));
  REQUIRE(answer.outcome == Outcome::kReply);
  CHECK(bench.out[14 + 40 + 4] == std::byte{0x60});
}

TEST_CASE("ndp: what gets no answer") {
  const std::string ra = "8600000040000000" + std::string(16, '0');
  const std::string redirect = "8900000000000000" + std::string(64, '0');
  struct Case {
    std::string_view name;
    test::Buffer ip;
    Outcome expected;
  };
  const std::string_view all_nodes = "ff020000000000000000000000000001";
  const Case cases[] = {
      {"DAD for the guest's own address",
       neighbour(kUnspecified, "ff0200000000000000000001ff000015", text("8700000000000000", kGuest)),
       Outcome::kNotForUs},
      {"a neighbour that does not exist",
       neighbour(kGuest, "ff0200000000000000000001ff000099",
                 "8700000000000000fd0000c0002d00000000000000000099"),
       Outcome::kNotForUs},
      {"link-layer option of somebody else",
       neighbour(kGuest, kGatewayGroup, text("8700000000000000", kGateway, "0101525400000003")),
       Outcome::kForeignSender},
      {"advertisement that claims the gateway",
       neighbour(kGuest, all_nodes, text("8800000020000000", kGateway, "0201525400000002")),
       Outcome::kForeignSender},
      {"advertisement of the guest's address",
       neighbour(kGuest, all_nodes, text("8800000020000000", kGuest, "0201525400000002")),
       Outcome::kNothingToSay},
      {"router solicitation", neighbour(kGuest, "ff020000000000000000000000000002", "8500000000000000"),
       Outcome::kNothingToSay},
      {"router advertisement from the guest", neighbour(kGuest, all_nodes, ra), Outcome::kRouterMessage},
      {"redirect from the guest", neighbour(kGuest, all_nodes, redirect), Outcome::kRouterMessage},
      {"came through a router", neighbour(kGuest, kGatewayGroup, text("8700000000000000", kGateway), 254),
       Outcome::kMalformed},
      {"option of length 0",
       neighbour(kGuest, kGatewayGroup, text("8700000000000000", kGateway, "0100525400000002")),
       Outcome::kMalformed},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Bench bench;
    CHECK(bench.ndp(c.ip).outcome == c.expected);
  }
}

TEST_CASE("ndp: only types 133 to 137 of whole ICMPv6 packets are neighbour discovery") {
  wire::Packet packet;
  packet.protocol = wire::IpProtocol::kIcmpv6;
  CHECK_FALSE(lan::is_neighbour_discovery(packet));
  for (unsigned type = 0; type < 256; ++type) {
    test::Buffer l4(8);
    l4[0] = static_cast<std::byte>(type);
    packet.l4 = l4;
    CHECK(lan::is_neighbour_discovery(packet) == (type >= 133 && type <= 137));
  }
}

TEST_CASE("lan: random changes of good messages never get an oversized or foreign answer") {
  std::mt19937 random(4861);
  const auto ns = neighbour(kGuest, kGatewayGroup, text("8700000000000000", kGateway, "0101525400000002"));
  for (int round = 0; round < 20000; ++round) {
    Bench bench;
    auto ip = ns;
    for (std::size_t flips = 1 + random() % 3; flips > 0; --flips)
      ip[random() % ip.size()] = static_cast<std::byte>(random() & 0xffU);
    const auto packet = wire::parse_packet(ip, wire::EtherType::kIpv6, wire::ChecksumPolicy::kSkipL4);
    if (!packet || !lan::is_neighbour_discovery(*packet)) continue;
    const auto answer = bench.responder.on_ndp(test::kGuestMac, *packet, bench.now, bench.out);
    REQUIRE(answer.length <= lan::kMaxReply);
    if (answer.outcome == Outcome::kReply)
      REQUIRE(lan::is_local(test::lan_config(), wire::NdpView::parse(*packet)->target()));
  }
}

TEST_CASE("arp, ndp: where we stand in for the neighbours, everything but the guest's own is at our MAC") {
  auto config = test::lan_config();
  config.stands_in = true;
  struct Case {
    std::string_view name;
    test::Buffer frame;
    Outcome expected;
  };
  for (const Case& c :
       {Case{"a neighbour", arp_request("525400000002", "0a00020f", "0a000263"), Outcome::kReply},
        Case{"somebody elsewhere", arp_request("525400000002", "0a00020f", "08080808"), Outcome::kReply},
        Case{"the guest's own", arp_request("525400000002", "0a00020f", "0a00020f"), Outcome::kNotForUs},
        Case{"a probe for the guest's own", arp_request("525400000002", "00000000", "0a00020f"),
             Outcome::kNotForUs},
        Case{"0.0.0.0", arp_request("525400000002", "0a00020f", "00000000"), Outcome::kNotForUs},
        Case{"a group", arp_request("525400000002", "0a00020f", "e0000001"), Outcome::kNotForUs}}) {
    CAPTURE(c.name);
    Bench bench{config};
    CHECK(bench.arp(c.frame).outcome == c.expected);
  }
  struct Ndp {
    std::string_view name, source, target;
    Outcome expected;
  };
  constexpr std::string_view kNeighbour = "fd0000c0002d00000000000000000063";
  for (const Ndp& c :
       {Ndp{"a neighbour", kGuest, kNeighbour, Outcome::kReply},
        Ndp{"an address the guest tries for itself", kUnspecified, kNeighbour, Outcome::kNotForUs},
        Ndp{"the gateway is tried for", kUnspecified, kGateway, Outcome::kReply},
        Ndp{"the guest's own", kGuest, kGuest, Outcome::kNotForUs},
        Ndp{"a link-local one", kGuest, "fe800000000000000000000000000063", Outcome::kNotForUs}}) {
    CAPTURE(c.name);
    Bench bench{config};
    // Duplicate address detection is valid to the target's own group only.
    const std::string group = "ff0200000000000000000001ff" + std::string{c.target.substr(26)};
    CHECK(bench.ndp(neighbour(c.source, group, text("8700000000000000", c.target))).outcome == c.expected);
  }
}
