// What of the IP header goes on with a datagram, both ways: hop limit, DSCP and ECN, and path MTU discovery.
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "core/wire/checksum.h"
#include "core/wire/frame_builder.h"
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

// A connected UDP pair on loopback whose far end sees hop limit and traffic class of what arrives.
struct Watched {
  explicit Watched(bool is_v6) : v6(is_v6) {
    near = open();
    far = open();
    const auto here = bind(near), there = bind(far);
    REQUIRE(::connect(near.get(), &there.generic, there.length) == 0);
    REQUIRE(::connect(far.get(), &here.generic, here.length) == 0);
    for (const auto& fd : {&near, &far}) {
      set(*fd, v6 ? IPV6_RECVTCLASS : IP_RECVTOS, 1);
      set(*fd, v6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL, 1);
    }
    const int on = 1;
    REQUIRE(::setsockopt(near.get(), SOL_UDP, UDP_GRO, &on, sizeof on) == 0);
  }
  [[nodiscard]] base::Fd open() const {
    return base::Fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  }
  [[nodiscard]] net::SockAddr bind(const base::Fd& fd) const {
    net::SockAddr address = net::to_sockaddr({*net::parse_ip(v6 ? "::1" : "127.0.0.1"), net::Port{0}});
    REQUIRE(::bind(fd.get(), &address.generic, address.length) == 0);
    REQUIRE(::getsockname(fd.get(), &address.generic, &address.length) == 0);
    return address;
  }
  void set(const base::Fd& fd, int option, int value) const {
    REQUIRE(::setsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, option, &value, sizeof value) == 0);
  }
  struct Got {
    std::string payload;
    int hop_limit = -1, traffic_class = -1;
  };
  [[nodiscard]] Got far_reads() const {
    Got out{std::string(70000, '\0'), -1, -1};
    iovec part{out.payload.data(), out.payload.size()};
    alignas(cmsghdr) std::array<std::byte, 256> control;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(far.get(), &message, 0);
    REQUIRE(n >= 0);
    out.payload.resize(static_cast<std::size_t>(n));
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_type == (v6 ? IPV6_HOPLIMIT : IP_TTL))
        std::memcpy(&out.hop_limit, CMSG_DATA(c), sizeof(int));
      if (c->cmsg_type == (v6 ? IPV6_TCLASS : IP_TOS)) {
        out.traffic_class = 0;
        std::memcpy(&out.traffic_class, CMSG_DATA(c), v6 ? sizeof(int) : 1);
      }
    }
    return out;
  }
  bool v6;
  base::Fd near, far;
};

std::vector<std::byte> marked(const flow::Tuple& t, std::string_view payload, std::uint8_t hop_limit,
                              std::uint8_t traffic_class) {
  const wire::FrameTemplate frame(
      {.source_mac = kGuestMac, .destination_mac = kOurMac, .source = t.guest, .destination = t.remote},
      wire::IpProtocol::kUdp, hop_limit, traffic_class);
  const auto bytes = bytes_of(payload);
  const iovec part = wire::piece(bytes);
  std::array<std::byte, wire::kMaxHeaders> headers;
  const auto built = wire::build_udp(frame, std::span(&part, 1), wire::ChecksumMode::kFull, headers);
  return join(headers, built.length, bytes);
}

void clear_dont_fragment(std::vector<std::byte>& frame) {
  base::store_be<std::uint16_t>(std::span(frame).subspan<20, 2>(), 0);
  base::store_be<std::uint16_t>(std::span(frame).subspan<24, 2>(), 0);
  base::store_be<std::uint16_t>(std::span(frame).subspan<24, 2>(),
                                wire::checksum(std::span(std::as_const(frame)).subspan(14, 20)));
}

wire::Packet parse(const ListLink::Item& item) {
  const auto ethernet = wire::EthernetView::parse(item.bytes);
  REQUIRE(ethernet);
  const auto packet = wire::parse_packet(
      ethernet->payload(), ethernet->type(),
      item.offload.needs_checksum ? wire::ChecksumPolicy::kSkipL4 : wire::ChecksumPolicy::kVerifyL4);
  REQUIRE(packet);
  return *packet;
}

struct Flow {
  explicit Flow(World& w, bool v6) : world(w), pair(v6), t(tuple(flow::Protocol::kUdp, 40000, v6)) {}
  void grant(std::uint32_t path_mtu = 0) {
    world.worker.on_grant(
        {.id = world.gate.requests.back().first, .socket = std::move(pair.near), .path_mtu = path_mtu});
    world.turn();
  }
  void send(std::string_view payload, std::uint8_t hop_limit = 64, std::uint8_t traffic_class = 0) {
    world.link.from_guest(marked(t, payload, hop_limit, traffic_class));
  }
  World& world;
  Watched pair;
  flow::Tuple t;
};

}  // namespace

TEST_CASE("plane marks: hop limit, DSCP and ECN of each datagram leave with it, one hop on") {
  for (const bool v6 : {false, true}) {
    CAPTURE(v6);
    World world;
    Flow flow(world, v6);
    flow.send("held", 9, 0xb8);
    world.turn();
    flow.grant();
    const auto held = flow.pair.far_reads();
    CHECK(held.payload == "held");
    CHECK(held.hop_limit == 8);
    CHECK(held.traffic_class == 0xb8);
    // One batch, a run that the marks cut.
    flow.send("aa", 64, 0);
    flow.send("bb", 64, 0);
    flow.send("cc", 3, 0);
    flow.send("dd", 3, 0x02);
    flow.send("ee", 255, 0x03);
    world.turn();
    struct Want {
      std::string_view payload;
      int hop_limit, traffic_class;
    };
    for (const Want& want :
         {Want{"aa", 63, 0}, Want{"bb", 63, 0}, Want{"cc", 2, 0}, Want{"dd", 2, 2}, Want{"ee", 254, 3}}) {
      const auto got = flow.pair.far_reads();
      CHECK(got.payload == want.payload);
      CHECK(got.hop_limit == want.hop_limit);
      CHECK(got.traffic_class == want.traffic_class);
    }
    CHECK(world.outcomes() == world.count(Counter::kFramesFromGuest));
  }
}

TEST_CASE("plane marks: DSCP and ECN of answers reach the guest, and never join two datagrams") {
  for (const bool v6 : {false, true}) {
    CAPTURE(v6);
    World world;
    Flow flow(world, v6);
    flow.send("x");
    world.turn();
    flow.grant();
    const int fd = flow.pair.far.get();
    for (const int mark : {0, 0, 3, 0xb9}) {  // two alike, congestion experienced, EF with ECT(1)
      flow.pair.set(flow.pair.far, v6 ? IPV6_TCLASS : IP_TOS, mark);
      REQUIRE(::send(fd, "answer", 6, 0) == 6);
    }
    world.turn(2);
    REQUIRE(world.link.output.size() == 3);
    CHECK(world.link.output[0].offload.gso == link::Gso::kUdp);
    CHECK(parse(world.link.output[0]).traffic_class == 0);
    CHECK(parse(world.link.output[1]).traffic_class == 3);
    CHECK(parse(world.link.output[2]).traffic_class == 0xb9);
    CHECK(parse(world.link.output[2]).hop_limit == 64);
  }
}

TEST_CASE("plane marks: a datagram that must not be cut and exceeds the path is told the MTU and ends") {
  // The "socket" is a pair without an IP layer: the kernel cannot say, so the grant's path MTU holds.
  for (const bool v6 : {false, true}) {
    for (const bool waiting : {false, true}) {
      CAPTURE(v6);
      CAPTURE(waiting);
      World world;
      Flow flow(world, v6);
      std::array<int, 2> fds{};
      REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
      flow.pair.near = base::Fd(fds[0]);
      flow.pair.far = base::Fd(fds[1]);
      const std::size_t headers = v6 ? 48 : 28;
      const std::string fits(1400 - headers, 'f'), exceeds(1401 - headers, 'e');
      flow.send(waiting ? std::string_view(exceeds) : "x");
      world.turn();
      flow.grant(1400);
      char buffer[2048];
      if (!waiting) {
        REQUIRE(::recv(fds[1], buffer, sizeof buffer, 0) == 1);
        flow.send(fits);
        flow.send(exceeds);
        world.turn();
        REQUIRE(::recv(fds[1], buffer, sizeof buffer, 0) == static_cast<ssize_t>(fits.size()));
        CHECK(world.count(Counter::kDropTooBig) == 1);
      }
      CHECK(::recv(fds[1], buffer, sizeof buffer, 0) < 0);
      REQUIRE(world.link.output.size() == 1);
      const wire::Packet error = parse(world.link.output[0]);
      CHECK(error.source == *net::parse_ip(v6 ? "fd00::2" : "10.0.2.2"));
      CHECK(error.l4[0] == std::byte(v6 ? 2 : 3));
      CHECK(error.l4[1] == std::byte(v6 ? 0 : 4));
      CHECK(base::load_be<std::uint32_t>(error.l4.subspan<4, 4>()) == 1400);
      // The quote is the packet that was too long, as far as it fits: addresses, ports, lengths, checksum.
      const auto sent = marked(flow.t, exceeds, 64, 0);
      const auto quote = error.l4.subspan(8);
      const std::size_t ip = v6 ? 40 : 20;
      REQUIRE(quote.size() > ip + 8);
      const auto l4 = base::Bytes(sent).subspan(14 + ip);
      CHECK(std::equal(quote.begin() + static_cast<std::ptrdiff_t>(ip),
                       quote.begin() + static_cast<std::ptrdiff_t>(ip + 6), l4.begin()));
      CHECK(std::equal(quote.begin() + static_cast<std::ptrdiff_t>(ip + 8), quote.end(), l4.begin() + 8));
      CHECK(world.outcomes() == world.count(Counter::kFramesFromGuest));
    }
  }
}

TEST_CASE("plane marks: without \"do not fragment\" the kernel cuts, and the guest hears nothing") {
  WorkerConfig c = config();
  World world(c);
  Flow flow(world, false);
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
  flow.pair.near = base::Fd(fds[0]);
  const base::Fd far(fds[1]);
  auto frame = marked(flow.t, std::string(1450, 'x'), 64, 0);
  clear_dont_fragment(frame);
  world.link.from_guest(frame);
  world.turn();
  flow.grant(1400);
  char buffer[2048];
  CHECK(::recv(far.get(), buffer, sizeof buffer, 0) == 1450);
  world.link.from_guest(frame);
  world.turn();
  CHECK(::recv(far.get(), buffer, sizeof buffer, 0) == 1450);
  CHECK(world.link.output.empty());
}

TEST_CASE("plane marks: a datagram longer than any Ethernet packet is left to the kernel") {
  World world;
  Flow flow(world, false);
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
  flow.pair.near = base::Fd(fds[0]);
  const base::Fd far(fds[1]);
  flow.send("x");
  world.turn();
  flow.grant(1400);
  char buffer[8192];
  REQUIRE(::recv(far.get(), buffer, sizeof buffer, 0) == 1);
  flow.send(std::string(1501 - 28, 'l'));
  world.turn();
  CHECK(::recv(far.get(), buffer, sizeof buffer, 0) == 1501 - 28);
  CHECK(world.link.output.empty());
}

TEST_CASE("plane marks: the kernel's word on the path MTU replaces an older one") {
  World world;
  Flow flow(world, false);
  flow.send("x");
  world.turn();
  flow.grant(600);  // loopback says 65536
  (void)flow.pair.far_reads();
  flow.send(std::string(1000, 'y'));
  world.turn();
  CHECK(flow.pair.far_reads().payload.size() == 1000);
  CHECK(world.link.output.empty());
}
