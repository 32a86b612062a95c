// The link's own services as the worker sees them: who gets to them, what is counted, and their timer.
#include "core/wire/arp.h"
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

WorkerConfig with_services() {
  auto c = config();
  c.lan.services = {.dhcp = true, .dhcpv6 = true, .router = true, .slaac = true};
  return c;
}

flow::Tuple dhcp_tuple(std::string_view source = "0.0.0.0") {
  return {flow::Protocol::kUdp,
          {*net::parse_ip(source), net::Port{68}},
          {*net::parse_ip("255.255.255.255"), net::Port{67}}};
}

std::vector<std::byte> discover(net::MacAddress mac = kGuestMac, bool relayed = false) {
  std::vector<std::byte> m(240 + 4);
  m[0] = m[1] = std::byte{1};
  m[2] = std::byte{6};
  if (relayed) m[24] = std::byte{10};
  for (std::size_t i = 0; i < 6; ++i) m[28 + i] = std::byte{mac.bytes()[i]};
  const auto tail = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};
  std::size_t at = 236;
  for (const int b : tail) m[at++] = static_cast<std::byte>(b);
  return m;
}

std::vector<std::byte> arp_request(std::string_view sender) {
  std::vector<std::byte> frame(42);
  wire::put_ethernet(frame, net::MacAddress::broadcast(), kGuestMac, wire::EtherType::kArp);
  wire::put_arp(std::span(frame).subspan(14), {.operation = wire::ArpOperation::kRequest,
                                               .sender_mac = kGuestMac,
                                               .sender_ip = *net::parse_ipv4(sender),
                                               .target_mac = {},
                                               .target_ip = *net::parse_ipv4("10.0.2.2")});
  return frame;
}

}  // namespace

TEST_CASE("plane link: DHCP is answered on the spot and asks nobody") {
  World world(with_services());
  world.link.from_guest(udp_frame(dhcp_tuple(), discover()));
  world.turn();
  REQUIRE(world.link.output.size() == 1);
  const auto ethernet = wire::EthernetView::parse(world.link.output[0].bytes);
  const auto packet =
      wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kVerifyL4);
  REQUIRE(packet);
  CHECK(packet->source == *net::parse_ip("10.0.2.2"));
  CHECK(packet->destination == *net::parse_ip("10.0.2.15"));
  CHECK(wire::UdpView::parse(packet->l4)->destination_port() == net::Port{68});
  CHECK(world.gate.requests.empty());
  CHECK(world.count(Counter::kAnsweredLocally) == 1);
}

TEST_CASE("plane link: each reason for silence has its counter, and claims of others are reported") {
  struct Case {
    std::string_view name;
    std::vector<std::byte> frame;
    Counter expected;
    std::string_view claimed;  // the source in the report; "": no report
  };
  auto broken = discover();
  broken.pop_back();  // no end option
  const Case cases[] = {
      {"malformed", udp_frame(dhcp_tuple(), broken), Counter::kDropLanBroken, "0.0.0.0"},
      {"relayed", udp_frame(dhcp_tuple(), discover(kGuestMac, true)), Counter::kDropLanRelayed, ""},
      {"for another MAC", udp_frame(dhcp_tuple(), discover(kOurMac)), Counter::kDropSpoofed, "0.0.0.0"},
      {"from a foreign address", udp_frame(dhcp_tuple("10.0.2.99"), discover()), Counter::kDropSpoofed,
       "10.0.2.99"},
      {"ARP with a foreign sender", arp_request("10.0.2.99"), Counter::kDropSpoofed, "10.0.2.99"},
      {"ARP that claims the gateway", arp_request("10.0.2.2"), Counter::kDropSpoofed, "10.0.2.2"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    World world(with_services());
    world.link.from_guest(c.frame);
    world.turn();
    CHECK(world.count(c.expected) == 1);
    CHECK(world.outcomes() == 1);
    CHECK(world.link.output.empty());
    CHECK(world.gate.requests.empty());
    CHECK(world.gate.packets.size() == (c.claimed.empty() ? 0 : 1));
    if (c.claimed.empty()) continue;
    CHECK(world.gate.packets[0].tuple.guest.address == *net::parse_ip(c.claimed));
    CHECK(world.gate.packets[0].source_mac == kGuestMac);
  }
}

TEST_CASE("plane link: a flood of questions is counted as such") {
  World world(with_services());
  for (int i = 0; i < 60; ++i) {
    world.link.from_guest(udp_frame(dhcp_tuple(), discover()));
    world.turn();
  }
  CHECK(world.count(Counter::kAnsweredLocally) == 20);
  CHECK(world.count(Counter::kDropLanRate) == 40);
}

TEST_CASE("plane link: without the service a message to its port is nothing special") {
  World world;
  world.link.from_guest(udp_frame(dhcp_tuple(), discover()));
  world.turn();
  CHECK(world.link.output.empty());
  CHECK(world.count(Counter::kAnsweredLocally) == 0);
  CHECK(world.outcomes() == 1);
}

TEST_CASE("plane link: an address of the own /64 opens flows where SLAAC is offered, and only there") {
  for (const bool offered : {true, false}) {
    CAPTURE(offered);
    auto c = with_services();
    c.lan.services.slaac = offered;
    World world(c);
    auto t = tuple(flow::Protocol::kUdp, 40000, true);
    t.guest.address = *net::parse_ip("fd00::1234:5678:9abc:def0");
    world.link.from_guest(udp_frame(t, bytes_of("x")));
    world.turn();
    CHECK(world.gate.requests.size() == (offered ? 1 : 0));
    CHECK(world.gate.packets.size() == (offered ? 0 : 1));
  }
}

TEST_CASE("plane link: unasked router advertisements leave by the worker's own clock") {
  auto c = with_services();
  c.lan.services.unsolicited = true;
  World world(c);
  const auto sent = [&] { return world.link.output.size(); };
  world.turn();
  CHECK(sent() == 1);
  world.clock.time = world.clock.time + 15s;
  world.turn();
  CHECK(sent() == 1);
  world.clock.time = world.clock.time + 1s;
  world.turn(3);
  CHECK(sent() == 2);
  world.clock.time = world.clock.time + 16s;
  world.turn(3);
  CHECK(sent() == 3);
  world.clock.time = world.clock.time + 199s;
  world.turn(3);
  CHECK(sent() == 3);
  world.clock.time = world.clock.time + 401s;
  world.turn(3);
  CHECK(sent() == 4);
  CHECK(world.link.output.back().bytes[54] == std::byte{134});
}
