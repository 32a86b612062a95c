// Echo replies that exceed the guest's MTU: a guest's own large ping comes back as large as it went.
#include <netinet/in.h>

#include "core/icmp/echo.h"
#include "core/udp/fragments.h"
#include "core/wire/reassembly.h"
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

constexpr std::uint32_t kIdentifierAndSequence = 0x0007'0003;

void ping(World& world, const flow::Tuple& tuple, base::Bytes payload) {
  const bool v6 = tuple.remote.address.is_v6();
  const auto flow = from_guest(tuple, v6 ? wire::IpProtocol::kIcmpv6 : wire::IpProtocol::kIcmp);
  const iovec part = wire::piece(payload);
  std::array<std::byte, wire::kMaxHeaders> whole;
  const auto built =
      wire::build_icmp(flow, v6 ? 128 : 8, 0, kIdentifierAndSequence, std::span(&part, 1), whole);
  udp::Fragments fragments(flow, std::span(whole).subspan(built.length - 8).first<8>(), payload, 1500, 9);
  std::array<std::byte, wire::kMaxHeaders> headers;
  while (const auto fragment = fragments.next(headers))
    world.link.from_guest(join(headers, fragment->header_length, fragment->payload));
}

// The remote end answers, by a pair of datagram sockets in place of the ping socket.
void answer(World& world, bool v6) {
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
  const base::Fd far{fds[1]};
  REQUIRE(world.gate.requests.size() == 1);
  world.worker.on_grant({.id = world.gate.requests[0].first, .socket = base::Fd{fds[0]}});
  world.turn();
  std::vector<std::byte> message(8192);
  const ssize_t got = ::recv(far.get(), message.data(), message.size(), 0);
  REQUIRE(got == 4008);
  message.resize(4008);
  message[0] = std::byte{v6 ? std::uint8_t{129} : std::uint8_t{0}};
  REQUIRE(::send(far.get(), message.data(), message.size(), 0) == 4008);
  world.turn(2);
}

}  // namespace

TEST_CASE("plane echo: a reply that exceeds the guest's MTU arrives as fragments") {
  for (const bool v6 : {false, true}) {
    for (const bool gateway : {false, true}) {
      CAPTURE(v6);
      CAPTURE(gateway);
      World world;
      auto t = tuple(flow::Protocol::kIcmpEcho, 7, v6);
      if (gateway) t.remote.address = *net::parse_ip(v6 ? "fd00::2" : "10.0.2.2");
      const auto payload = bytes_of(std::string(4000, 'p'));
      ping(world, t, payload);
      world.turn(2);
      if (!gateway) answer(world, v6);
      REQUIRE(world.link.output.size() == 3);
      CHECK(world.count(Counter::kFragmentsToGuest) == 1);
      wire::Reassembler reassembler;
      wire::Reassembler::Result last;
      for (const auto& item : world.link.output) {
        CHECK(item.bytes.size() <= 14 + 1500);
        const auto ethernet = wire::EthernetView::parse(item.bytes);
        const auto packet =
            wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kVerifyL4);
        REQUIRE(packet);
        last = reassembler.add(*packet, world.clock.time);
      }
      REQUIRE(last.packet);
      const auto reply = icmp::parse_echo(*last.packet);
      REQUIRE(reply);
      CHECK_FALSE(reply->request);
      CHECK(reply->identifier == 7);
      CHECK(reply->sequence == 3);
      CHECK(std::ranges::equal(reply->payload, payload));
    }
  }
}
