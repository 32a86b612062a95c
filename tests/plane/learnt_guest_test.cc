// A guest whose MAC nobody has told: the first one it uses is pinned, and until then it is looked for.
#include "core/wire/arp.h"
#include "outside.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

const net::MacAddress kOther = *net::parse_mac("02:00:00:00:00:77");

struct LearnWorld {
  explicit LearnWorld() : world(learning(mac)) {}
  static WorkerConfig learning(lan::GuestMac& mac) {
    auto c = config();
    c.lan.guest_mac = {};
    c.guest_mac = &mac;
    return c;
  }
  lan::GuestMac mac;
  World world;
};

std::vector<std::byte> from(net::MacAddress source, std::vector<std::byte> frame) {
  for (std::size_t i = 0; i < 6; ++i) frame[6 + i] = std::byte{source.bytes()[i]};
  return frame;
}
std::vector<std::byte> datagram() { return udp_frame(tuple(flow::Protocol::kUdp), bytes_of("x")); }

net::MacAddress destination(const ListLink::Item& item) {
  return wire::EthernetView::parse(item.bytes)->destination();
}

}  // namespace

TEST_CASE("plane guest: the first unicast source is the guest's, a second one is forged") {
  LearnWorld w;
  w.world.link.from_guest(datagram());
  w.world.turn();
  CHECK(w.mac.known() == kGuestMac);
  CHECK(w.world.gate.requests.size() == 1);
  w.world.link.from_guest(from(kOther, datagram()));
  w.world.turn();
  CHECK(w.mac.known() == kGuestMac);
  CHECK(w.world.count(Counter::kDropSpoofed) == 1);
  REQUIRE(w.world.gate.packets.size() == 1);
  CHECK(w.world.gate.packets[0].source_mac == kOther);
}

TEST_CASE("plane guest: what cannot be a guest's MAC is never learnt") {
  struct Row {
    std::string_view name;
    std::string_view mac;
  };
  for (const Row& row : {Row{"broadcast", "ff:ff:ff:ff:ff:ff"}, Row{"a group", "01:00:5e:00:00:01"},
                         Row{"nothing", "00:00:00:00:00:00"}, Row{"ours", "02:00:00:00:00:02"}}) {
    CAPTURE(row.name);
    LearnWorld w;
    w.world.link.from_guest(from(*net::parse_mac(row.mac), datagram()));
    w.world.turn();
    CHECK_FALSE(w.mac.known());
    CHECK(w.world.gate.requests.empty());
    CHECK(w.world.count(Counter::kDropSpoofed) == 1);
    CHECK(w.world.gate.packets.size() == 1);
    w.world.link.from_guest(datagram());
    w.world.turn();
    CHECK(w.mac.known() == kGuestMac);
    CHECK(w.world.gate.requests.size() == 1);
  }
}

TEST_CASE("plane guest: all workers agree on the one that was first") {
  LearnWorld w;
  CHECK(w.mac.learn(kOther, kOurMac) == kOther);  // another worker
  w.world.link.from_guest(datagram());
  w.world.turn();
  CHECK(w.world.gate.requests.empty());
  CHECK(w.world.count(Counter::kDropSpoofed) == 1);
}

TEST_CASE("plane guest: who connects from outside has an unknown guest asked for, once a second") {
  LearnWorld w;
  Outside outside(w.world);
  outside.arrive();
  CHECK(w.world.link.output.empty());  // the SYN could not be sent
  CHECK(w.world.count(Counter::kGuestUnknown) == 1);
  w.world.turn();
  REQUIRE(w.world.link.output.size() == 2);
  const auto arp = wire::EthernetView::parse(w.world.link.output[0].bytes);
  CHECK(arp->destination().is_broadcast());
  CHECK(arp->source() == kOurMac);
  const auto question = wire::ArpView::parse(arp->payload());
  REQUIRE(question);
  CHECK(question->operation() == wire::ArpOperation::kRequest);
  CHECK(question->sender_ip() == *net::parse_ipv4("10.0.2.2"));
  CHECK(question->target_ip() == *net::parse_ipv4("10.0.2.15"));
  const auto ndp = wire::EthernetView::parse(w.world.link.output[1].bytes);
  CHECK(ndp->destination() == *net::parse_mac("33:33:ff:00:00:15"));  // RFC 2464 section 7
  const auto packet = wire::parse_packet(ndp->payload(), ndp->type(), wire::ChecksumPolicy::kVerifyL4);
  REQUIRE(packet);
  CHECK(packet->source == *net::parse_ip("fe80::2"));
  CHECK(packet->destination == *net::parse_ip("ff02::1:ff00:15"));  // RFC 4291 section 2.7.1
  CHECK(packet->hop_limit == 255);
  CHECK(std::to_integer<int>(packet->l4[0]) == 135);  // RFC 4861 section 4.3
  w.world.link.output.clear();

  Outside second(w.world, flow::Protocol::kUdp, 8);
  second.arrive("lost");
  w.world.turn();
  CHECK(w.world.link.output.empty());
  w.world.clock.time = w.world.clock.time + 1100ms;
  w.world.turn();
  CHECK(w.world.link.output.size() >= 2);  // asked again
  w.world.link.output.clear();

  // Its answer is all it takes: the SYN goes at once, to the right place.
  std::vector<std::byte> reply(42);
  wire::put_ethernet(reply, kOurMac, kGuestMac, wire::EtherType::kArp);
  wire::put_arp(std::span(reply).subspan(14), {.operation = wire::ArpOperation::kReply,
                                               .sender_mac = kGuestMac,
                                               .sender_ip = *net::parse_ipv4("10.0.2.15"),
                                               .target_mac = kOurMac,
                                               .target_ip = *net::parse_ipv4("10.0.2.2")});
  w.world.link.from_guest(std::move(reply));
  w.world.turn();
  REQUIRE(w.world.link.output.size() == 1);
  CHECK(destination(w.world.link.output[0]) == kGuestMac);
  outside.answer();
  outside.peer_sends("hello");
  REQUIRE_FALSE(w.world.link.output.empty());
  CHECK(destination(w.world.link.output.back()) == kGuestMac);
}

TEST_CASE("plane guest: asked for at the start, and not when its MAC is given") {
  LearnWorld w;
  w.world.worker.want_guest();
  w.world.turn();
  CHECK(w.world.link.output.size() == 2);
  World given;
  given.worker.want_guest();
  given.turn();
  CHECK(given.link.output.empty());
  given.link.from_guest(from(kOther, datagram()));
  given.turn();
  CHECK(given.count(Counter::kDropSpoofed) == 1);
}
