// What is refused at the door: each reason has its counter, and an error goes out where RFC 1122 wants one.
#include "core/wire/ipv4.h"
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

flow::Tuple to(flow::Protocol protocol, std::string_view remote) {
  flow::Tuple t = tuple(protocol, 40000, remote.find(':') != std::string_view::npos);
  t.remote.address = *net::parse_ip(remote);
  return t;
}

std::vector<std::byte> frame_to(flow::Protocol protocol, std::string_view remote) {
  wire::TcpFields syn;
  syn.flags.syn = true;
  const flow::Tuple t = to(protocol, remote);
  return protocol == flow::Protocol::kTcp ? tcp_frame(t, syn) : udp_frame(t, bytes_of("x"));
}

// A packet of any protocol and hop limit; its L4 is ICMP-shaped.
std::vector<std::byte> raw_frame(std::string_view remote, std::uint8_t protocol, std::uint8_t hop_limit = 64,
                                 std::uint8_t type = 0) {
  const flow::Tuple t = to(flow::Protocol::kIcmpEcho, remote);
  const wire::FrameTemplate frame(
      {.source_mac = kGuestMac, .destination_mac = kOurMac, .source = t.guest, .destination = t.remote},
      wire::IpProtocol{protocol}, hop_limit);
  std::array<std::byte, wire::kMaxHeaders> headers;
  const auto built = wire::build_icmp(frame, type, 0, 0, {}, headers);
  return join(headers, built.length, {});
}

// Type and code of the ICMP error that answers, or {-1, -1}.
std::pair<int, int> answer(World& world, std::string_view reporter) {
  if (world.link.output.empty()) return {-1, -1};
  const auto item = std::move(world.link.output.front());
  world.link.output.pop_front();
  const auto ethernet = wire::EthernetView::parse(item.bytes);
  REQUIRE(ethernet);
  const auto packet =
      wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kVerifyL4);
  REQUIRE(packet);
  CHECK(packet->source == *net::parse_ip(reporter));
  return {std::to_integer<int>(packet->l4[0]), std::to_integer<int>(packet->l4[1])};
}

}  // namespace

TEST_CASE("plane ingress: groups and broadcasts are refused by reason, silently, whatever the protocol") {
  struct Case {
    std::string_view name, remote;
    Counter counter;
  };
  for (const Case& c : {Case{"mDNS", "224.0.0.251", Counter::kDropMulticast},
                        Case{"SSDP", "239.255.255.250", Counter::kDropMulticast},
                        Case{"mDNS, IPv6", "ff02::fb", Counter::kDropMulticast},
                        Case{"a global group", "ff0e::1", Counter::kDropMulticast},
                        Case{"everybody", "255.255.255.255", Counter::kDropBroadcast},
                        Case{"nobody", "0.0.0.0", Counter::kDropBroadcast},
                        Case{"nobody, IPv6", "::", Counter::kDropBroadcast},
                        Case{"the guest's subnet", "10.0.2.255", Counter::kDropBroadcast}}) {
    for (const auto protocol : {flow::Protocol::kTcp, flow::Protocol::kUdp}) {
      CAPTURE(c.name);
      World world;
      world.link.from_guest(frame_to(protocol, c.remote));
      world.turn();
      CHECK(world.count(c.counter) == 1);
      CHECK(world.outcomes() == 1);
      CHECK(world.link.output.empty());
      CHECK(world.gate.requests.empty());
    }
  }
}

TEST_CASE("plane ingress: a subnet without a broadcast address has none") {
  WorkerConfig c = config();
  c.lan.v4->on_link = *net::parse_prefix("10.0.2.14/31");
  World world(c);
  world.link.from_guest(frame_to(flow::Protocol::kTcp, "10.0.2.255"));
  world.turn();
  CHECK(world.gate.requests.size() == 1);
}

TEST_CASE("plane ingress: a single destination in a broadcast frame is not forwarded") {
  World world;
  auto frame = frame_to(flow::Protocol::kUdp, "192.0.2.1");
  std::fill_n(frame.begin(), 6, std::byte{0xff});
  world.link.from_guest(frame);
  world.turn();
  CHECK(world.count(Counter::kDropBroadcast) == 1);
  CHECK(world.gate.requests.empty());
}

TEST_CASE("plane ingress: IGMP and MLD are counted and nothing else") {
  World world;
  world.link.from_guest(raw_frame("224.0.0.22", 2));
  world.link.from_guest(raw_frame("ff02::16", 58, 1, 143));
  world.link.from_guest(raw_frame("ff02::1:2", 58, 1, 131));
  world.turn();
  CHECK(world.count(Counter::kIgnoredGroups) == 3);
  CHECK(world.outcomes() == 3);
  CHECK(world.link.output.empty());
}

TEST_CASE("plane ingress: the gateway is hop 1, for destinations beyond it") {
  struct Case {
    std::string_view name, remote, reporter;
    int type;
  };
  for (const Case& c :
       {Case{"IPv4", "192.0.2.1", "10.0.2.2", 11}, Case{"IPv6", "2001:db8::1", "fd00::2", 3}}) {
    CAPTURE(c.name);
    World world;
    const std::uint8_t echo = c.type == 11 ? 8 : 128;
    const std::uint8_t protocol = c.type == 11 ? 1 : 58;
    world.link.from_guest(raw_frame(c.remote, protocol, 1, echo));
    world.turn();
    CHECK(answer(world, c.reporter) == std::pair{c.type, 0});
    CHECK(world.count(Counter::kDropHopLimit) == 1);
    world.link.from_guest(raw_frame(c.reporter, protocol, 1, echo));
    world.link.from_guest(raw_frame(c.remote, protocol, 2, echo));
    world.turn();
    CHECK(world.count(Counter::kAnsweredLocally) == 1);
    CHECK(world.gate.requests.size() == 1);
  }
}

TEST_CASE("plane ingress: a protocol nobody translates is unreachable, at a limited rate") {
  World world;
  world.link.from_guest(raw_frame("192.0.2.1", 132));
  world.turn();
  CHECK(answer(world, "10.0.2.2") == std::pair{3, 2});  // RFC 792
  world.link.from_guest(raw_frame("2001:db8::1", 132));
  world.turn();
  CHECK(answer(world, "fd00::2") == std::pair{4, 1});   // RFC 4443 section 3.4
  world.link.from_guest(raw_frame("2001:db8::1", 59));  // no next header: nothing to deliver
  world.turn();
  CHECK(answer(world, "fd00::2") == std::pair{-1, -1});
  CHECK(world.count(Counter::kDropProtocol) == 2);
  for (int i = 0; i < 3000; ++i) {
    world.link.from_guest(raw_frame("192.0.2.1", 132));
    world.turn();
    world.link.output.clear();
  }
  CHECK(world.count(Counter::kIcmpErrorsSent) <= 1000);
  CHECK(world.count(Counter::kDropProtocol) == 3002);
}

TEST_CASE("plane ingress: each denied packet is reported with its ends and reason, and counted as such") {
  struct Case {
    std::string_view name;
    std::vector<std::byte> frame;
    flow::PacketDenial why;
    std::string_view remote;
    std::uint8_t ip_protocol;
  };
  for (const Case& c :
       {Case{"SCTP", raw_frame("192.0.2.1", 132), flow::PacketDenial::kProtocol, "192.0.2.1", 132},
        Case{"an ICMPv6 message nobody carries", raw_frame("2001:db8::1", 58, 64, 200),
             flow::PacketDenial::kProtocol, "2001:db8::1", 58},
        Case{"SSDP", frame_to(flow::Protocol::kUdp, "239.255.255.250"), flow::PacketDenial::kGroup,
             "239.255.255.250", 0},
        Case{"everybody", frame_to(flow::Protocol::kUdp, "255.255.255.255"), flow::PacketDenial::kGroup,
             "255.255.255.255", 0}}) {
    CAPTURE(c.name);
    World world;
    world.link.from_guest(c.frame);
    world.turn();
    REQUIRE(world.gate.packets.size() == 1);
    const flow::PacketReport& report = world.gate.packets[0];
    CHECK(report.why == c.why);
    CHECK(report.source_mac == kGuestMac);
    CHECK(report.tuple.remote.address == *net::parse_ip(c.remote));
    CHECK(report.ip_protocol == c.ip_protocol);
    std::uint64_t counted = 0;
    for (std::size_t i = 0; i < kCounters; ++i)
      if (denial_of(static_cast<Counter>(i)) == c.why) counted += world.count(static_cast<Counter>(i));
    CHECK(counted == 1);
  }
}

TEST_CASE("plane ingress: a packet that cannot be read is counted, and nothing is reported of it") {
  World world;
  world.link.from_guest(std::vector<std::byte>(10, std::byte{0}));
  auto other = frame_to(flow::Protocol::kUdp, "192.0.2.1");
  other[12] = std::byte{0x88};  // an EtherType of its own
  other[13] = std::byte{0xb5};
  world.link.from_guest(other);
  auto broken = frame_to(flow::Protocol::kUdp, "192.0.2.1");
  broken[14] = std::byte{0x42};  // a header of eight bytes
  world.link.from_guest(broken);
  world.turn();
  CHECK(world.count(Counter::kDropMalformed) == 2);
  CHECK(world.count(Counter::kDropEtherType) == 1);
  CHECK(world.gate.packets.empty());
}

TEST_CASE("plane ingress: a flood of one kind of packet leaves the reports of another alone") {
  World world;
  for (int i = 0; i < 200; ++i) world.link.from_guest(raw_frame("192.0.2.1", 132));
  world.link.from_guest(frame_to(flow::Protocol::kUdp, "239.255.255.250"));
  world.turn(20);
  CHECK(world.count(Counter::kDropProtocol) == 200);
  REQUIRE(world.gate.packets.size() >= 2);
  CHECK(world.gate.packets.size() <= 40);
  CHECK(world.gate.packets.back().why == flow::PacketDenial::kGroup);
}
