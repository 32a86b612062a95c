#include "core/lan/addresses.h"

#include <doctest/doctest.h>

#include <set>

#include "core/wire/packet.h"
#include "tests/lan/lan_fixture.h"

using namespace cordon;
using lan::SourceCheck;
using test::hex;
using test::operator+;

namespace {

wire::Packet packet_of(const char* source, const char* destination, wire::IpProtocol protocol,
                       const test::Buffer& l4) {
  wire::Packet packet;
  packet.source = *net::parse_ip(source);
  packet.destination = *net::parse_ip(destination);
  packet.protocol = protocol;
  packet.hop_limit = 64;
  packet.l4 = l4;
  return packet;
}

const test::Buffer kDhcp = hex("0044 0043 0008 0000");  // 68 -> 67
const test::Buffer kUdp = hex("9c40 0035 0008 0000");

}  // namespace

TEST_CASE("lan: which addresses are ours") {
  auto config = test::lan_config();
  for (const char* ours : {"10.0.2.2", "10.0.2.3", "fd00:c0:2d::2", "fd00:c0:2d::3", "fe80::1"}) {
    CAPTURE(ours);
    CHECK(lan::is_local(config, *net::parse_ip(ours)));
  }
  for (const char* other : {"10.0.2.15", "10.0.2.1", "fd00:c0:2d::15", "fe80::2", "::", "0.0.0.0"}) {
    CAPTURE(other);
    CHECK_FALSE(lan::is_local(config, *net::parse_ip(other)));
  }
  config.more_local[1] = *net::parse_ip("10.0.2.99");
  CHECK(lan::is_local(config, *net::parse_ip("10.0.2.99")));
  config.v6.reset();
  CHECK_FALSE(lan::is_local(config, *net::parse_ip("fe80::1")));
  CHECK(lan::is_dns(config, *net::parse_ip("10.0.2.3")));
  CHECK_FALSE(lan::is_dns(config, *net::parse_ip("10.0.2.2")));
  config.v4->dns.reset();
  CHECK_FALSE(lan::is_dns(config, *net::parse_ip("0.0.0.0")));
}

TEST_CASE("lan: frames for our MAC and for groups are for us") {
  const auto config = test::lan_config();
  CHECK(lan::is_for_us(config, test::kOurMac));
  CHECK(lan::is_for_us(config, net::MacAddress::broadcast()));
  CHECK(lan::is_for_us(config, net::MacAddress{{0x33, 0x33, 0, 0, 0, 1}}));
  CHECK_FALSE(lan::is_for_us(config, test::kGuestMac));
  CHECK_FALSE(lan::is_for_us(config, net::MacAddress{}));
}

TEST_CASE("lan: source check") {
  using enum SourceCheck;
  using wire::IpProtocol;
  const auto ns = hex("8700000000000000");
  struct Case {
    std::string_view name;
    const char* source;
    const char* destination;
    IpProtocol protocol;
    const test::Buffer& l4;
    SourceCheck expected;
  };
  const Case cases[] = {
      {"assigned v4", "10.0.2.15", "192.0.2.1", IpProtocol::kUdp, kUdp, kAssigned},
      {"assigned v6", "fd00:c0:2d::15", "2001:db8::1", IpProtocol::kTcp, kUdp, kAssigned},
      {"neighbour of the subnet", "10.0.2.16", "192.0.2.1", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"the gateway's", "10.0.2.2", "192.0.2.1", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"loopback", "127.0.0.1", "192.0.2.1", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"broadcast", "255.255.255.255", "192.0.2.1", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"multicast", "224.0.0.1", "192.0.2.1", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"v4 link-local", "169.254.1.1", "10.0.2.2", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"same /64", "fd00:c0:2d::16", "2001:db8::1", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"v4-mapped form of the assigned one", "::ffff:10.0.2.15", "2001:db8::1", IpProtocol::kUdp, kUdp,
       kForeignAddress},
      {"v6 loopback", "::1", "2001:db8::1", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"our DNS's", "fd00:c0:2d::3", "2001:db8::1", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"DHCP discover", "0.0.0.0", "255.255.255.255", IpProtocol::kUdp, kDhcp, kAssigned},
      {"DHCP to our gateway", "0.0.0.0", "10.0.2.2", IpProtocol::kUdp, kDhcp, kAssigned},
      {"DHCP ports to the internet", "0.0.0.0", "192.0.2.1", IpProtocol::kUdp, kDhcp, kUnspecified},
      {"0.0.0.0 with other ports", "0.0.0.0", "255.255.255.255", IpProtocol::kUdp, kUdp, kUnspecified},
      {"0.0.0.0 with TCP", "0.0.0.0", "10.0.2.2", IpProtocol::kTcp, kDhcp, kUnspecified},
      {"0.0.0.0 with nothing behind", "0.0.0.0", "255.255.255.255", IpProtocol::kUdp, ns, kUnspecified},
      {"DAD", "::", "ff02::1:ff00:15", IpProtocol::kIcmpv6, ns, kAssigned},
      {":: to unicast", "::", "fd00:c0:2d::2", IpProtocol::kIcmpv6, ns, kUnspecified},
      {":: to a wider group", "::", "ff05::1", IpProtocol::kIcmpv6, ns, kUnspecified},
      {":: by UDP", "::", "ff02::1:2", IpProtocol::kUdp, kUdp, kUnspecified},
      {"link-local NS", "fe80::5054:ff:fe00:2", "ff02::1:ff00:2", IpProtocol::kIcmpv6, ns, kAssigned},
      {"link-local to our gateway", "fe80::2", "fd00:c0:2d::2", IpProtocol::kIcmpv6, ns, kAssigned},
      {"link-local to our link-local", "fe80::2", "fe80::1", IpProtocol::kUdp, kUdp, kAssigned},
      {"link-local to the internet", "fe80::2", "2001:db8::1", IpProtocol::kUdp, kUdp, kLinkLocalOffLink},
      {"link-local to a wider group", "fe80::2", "ff05::1", IpProtocol::kUdp, kUdp, kLinkLocalOffLink},
      {"outside fe80::/64", "fe80:0:0:1::2", "fe80::1", IpProtocol::kUdp, kUdp, kForeignAddress},
      {"our link-local", "fe80::1", "ff02::1", IpProtocol::kIcmpv6, ns, kForeignAddress},
  };
  const auto config = test::lan_config();
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto packet = packet_of(c.source, c.destination, c.protocol, c.l4);
    CHECK(lan::check_source(config, test::kGuestMac, packet) == c.expected);
    CHECK(lan::check_source(config, test::kOurMac, packet) == kForeignMac);
  }
  auto v4_only = config;
  v4_only.v6.reset();
  CHECK(lan::check_source(v4_only, test::kGuestMac,
                          packet_of("fe80::2", "fe80::1", IpProtocol::kUdp, kUdp)) == kFamilyNotAssigned);
}

TEST_CASE("lan: names of the source checks differ") {
  std::set<std::string_view> names;
  for (unsigned i = 0; i <= static_cast<unsigned>(SourceCheck::kFamilyNotAssigned); ++i)
    CHECK(names.insert(lan::name(static_cast<SourceCheck>(i))).second);
  CHECK(names.count("unknown") == 0);
}
