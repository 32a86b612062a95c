// ICMP errors of the guest about packets of ours.
#include "core/wire/frame_builder.h"
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

// The guest's error about a frame it got.
std::vector<std::byte> about(const ListLink::Item& item, std::uint8_t type, std::uint8_t code,
                             std::uint32_t rest) {
  const auto ethernet = wire::EthernetView::parse(item.bytes);
  REQUIRE(ethernet);
  const auto packet =
      wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kSkipL4);
  REQUIRE(packet);
  const wire::FrameTemplate frame(
      {kGuestMac, kOurMac, {packet->destination, {}}, {packet->source, {}}},
      packet->source.is_v6() ? wire::IpProtocol::kIcmpv6 : wire::IpProtocol::kIcmp);
  const base::Bytes quote = packet->ip.first(std::min<std::size_t>(packet->ip.size(), 128));
  const iovec part = wire::piece(quote);
  std::array<std::byte, wire::kMaxHeaders> headers;
  const auto built = wire::build_icmp(frame, type, code, rest, std::span(&part, 1), headers);
  return join(headers, built.length, quote);
}

}  // namespace

TEST_CASE("plane guest error: a narrow link behind the guest gets smaller segments") {
  for (const bool v6 : {false, true}) {
    CAPTURE(v6);
    World world;
    GuestTcp guest(world, 40000, v6);
    guest.connect();
    world.link.output.clear();
    REQUIRE(::send(guest.host.get(), std::string(5000, 'd').data(), 5000, 0) == 5000);
    world.turn();
    REQUIRE_FALSE(world.link.output.empty());
    CHECK(world.link.output[0].offload.gso_size > 1300);
    const auto error = about(world.link.output[0], v6 ? 2 : 3, v6 ? 0 : 4, 1300);
    world.link.output.clear();
    world.link.from_guest(error);
    world.turn();
    CHECK(world.count(Counter::kGuestErrors) == 1);
    REQUIRE_FALSE(world.link.output.empty());
    CHECK(world.link.output[0].offload.gso_size == 1300 - (v6 ? 60 : 40));
    const SeenTcp again = world.take_tcp();
    CHECK(again.seq == guest.ack);
    CHECK(again.payload.size() == 5000);
  }
}

TEST_CASE("plane guest error: a narrow link behind the guest gets datagrams in fragments") {
  World world;
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
  const base::Fd far(fds[1]);
  const flow::Tuple t = tuple(flow::Protocol::kUdp);
  world.link.from_guest(udp_frame(t, bytes_of("x")));
  world.turn();
  world.worker.on_grant({.id = world.gate.requests[0].first, .socket = base::Fd(fds[0])});
  const auto answer = [&] {
    world.link.output.clear();
    REQUIRE(::send(far.get(), std::string(1400, 'a').data(), 1400, 0) == 1400);
    world.turn(2);
    return world.link.output.size();
  };
  CHECK(answer() == 1);
  const auto error = about(world.link.output[0], 3, 4, 1000);
  auto stranger = error;
  stranger[14 + 20 + 8 + 20] = std::byte{0x7f};  // another port: no such flow, and no right checksum
  world.link.from_guest(stranger);
  world.turn();
  CHECK(world.count(Counter::kGuestErrors) == 0);
  world.link.from_guest(error);
  world.turn();
  CHECK(world.count(Counter::kGuestErrors) == 1);
  CHECK(answer() == 2);
  // At most so many a second.
  for (int i = 0; i < 100; ++i) {
    world.link.from_guest(error);
    world.turn();
  }
  CHECK(world.count(Counter::kGuestErrors) <= 21);
  CHECK(world.outcomes() == world.count(Counter::kFramesFromGuest));
}

TEST_CASE("plane guest error: a guest that forbids a connection from outside resets the peer at once") {
  World world;
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
  const base::Fd far(fds[1]);
  flow::Inbound inbound;
  inbound.offer = 1;
  inbound.tuple = tuple(flow::Protocol::kTcp);
  inbound.socket = base::Fd(fds[0]);
  world.worker.on_inbound(std::move(inbound));
  world.turn();
  REQUIRE(world.link.output.size() == 1);
  world.link.from_guest(about(world.link.output[0], 3, 13, 0));
  world.turn();
  REQUIRE(world.gate.closes.size() == 1);
  CHECK(world.gate.closes[0].how == flow::CloseHow::kReset);
  CHECK(world.worker.live_flows() == 0);
}
