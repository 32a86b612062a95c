// A worker whose guest hangs on a stream socket: what such a link does to it, seen from outside.
#include <sys/epoll.h>

#include "core/link/stream_link.h"
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

// A VM with one TCP connection, in real time.
struct StreamWorld {
  StreamWorld() : StreamWorld(pair(SOCK_STREAM)) {}
  explicit StreamWorld(std::array<int, 2> fds)
      : guest(fds[0]), link(base::Fd(fds[1])), worker(config(), link, gate) {}
  static std::array<int, 2> pair(int type) {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds.data()) == 0);
    return fds;
  }
  void turn(int times = 1) {
    for (int i = 0; i < times; ++i) worker.run_once(0ns);
  }
  void write(base::Bytes frame) const {
    std::vector<std::byte> framed(4 + frame.size());
    base::store_be<std::uint32_t>(std::span(framed).first<4>(), static_cast<std::uint32_t>(frame.size()));
    std::copy(frame.begin(), frame.end(), framed.begin() + 4);
    REQUIRE(::send(guest.get(), framed.data(), framed.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
            static_cast<ssize_t>(framed.size()));
  }
  void segment(base::Bytes payload, bool syn = false) {
    wire::TcpFields f;
    f.seq = seq;
    f.ack = ack;
    f.flags.syn = syn;
    f.flags.ack = !syn;
    f.window = 65535;
    if (syn) f.mss = 1460;
    if (syn) f.window_scale = 7;
    write(tcp_frame(t, f, payload));
    seq = seq + static_cast<std::uint32_t>(payload.size()) + (syn ? 1U : 0U);
  }
  // Everything the guest gets now, appended to `wire`.
  void drain() {
    std::array<std::byte, 65536> some;
    for (ssize_t got; (got = ::recv(guest.get(), some.data(), some.size(), MSG_DONTWAIT)) > 0;)
      wire.insert(wire.end(), some.begin(), some.begin() + got);
  }
  // The frames of `wire` in order; TCP payload by sequence number, holes and all, acknowledged.
  std::size_t take_payload() {
    std::size_t fresh = 0, at = 0;
    while (wire.size() - at >= 4) {
      const std::uint32_t length = base::load_be<std::uint32_t>(std::span<const std::byte, 4>(&wire[at], 4));
      if (wire.size() - at - 4 < length) break;
      const auto ethernet = wire::EthernetView::parse(base::Bytes(&wire[at + 4], length));
      REQUIRE(ethernet);
      at += 4 + length;
      const auto packet =
          wire::parse_packet(ethernet->payload(), ethernet->type(), wire::ChecksumPolicy::kVerifyL4);
      REQUIRE(packet);
      if (packet->protocol != wire::IpProtocol::kTcp) continue;
      const auto view = wire::TcpView::parse(packet->l4);
      REQUIRE(view);
      if (view->flags().syn) ack = view->seq() + 1;
      if (view->seq() != ack || view->payload().empty()) continue;
      ack = ack + static_cast<std::uint32_t>(view->payload().size());
      fresh += view->payload().size();
    }
    wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(at));
    return fresh;
  }
  void connect() {
    segment({}, true);
    turn(2);
    REQUIRE(gate.requests.size() == 1);
    const auto fds = pair(SOCK_STREAM | SOCK_NONBLOCK);
    host = base::Fd(fds[1]);
    worker.on_grant({.id = gate.requests[0].first, .socket = base::Fd(fds[0])});
    turn(2);
    drain();
    take_payload();
    segment({});
    turn(2);
  }
  base::Fd guest;
  link::StreamLink link;
  ListGate gate;
  Worker worker;
  base::Fd host;
  flow::Tuple t = tuple(flow::Protocol::kTcp);
  net::SeqNum seq{1000}, ack;
  std::vector<std::byte> wire;
};

}  // namespace

TEST_CASE("plane stream: a super-frame with a partial checksum is a big segment") {
  StreamWorld world;
  world.connect();
  constexpr std::size_t kPayload = 65535 - 20 - 20;  // what IPv4's length can say
  std::vector<std::byte> payload(kPayload);
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<std::byte>(i * 31 >> 3U);
  // Until the window is open that far.
  std::size_t got = 0;
  for (const std::size_t part : {std::size_t{20000}, std::size_t{40000}}) {
    world.segment(std::span(payload).first(part));
    world.turn(2);
    std::vector<std::byte> some(part + 1);
    REQUIRE(::recv(world.host.get(), some.data(), some.size(), 0) == static_cast<ssize_t>(part));
  }
  wire::TcpFields f;
  f.seq = world.seq;
  f.ack = world.ack;
  f.flags.ack = true;
  f.window = 65535;
  auto frame = tcp_frame(world.t, f, payload);
  REQUIRE(frame.size() == 65549);
  frame[14 + 20 + 16] ^= std::byte{0x5a};  // as the guest's kernel leaves it to the device
  world.write(frame);
  world.turn(3);
  std::vector<std::byte> arrived(kPayload + 1);
  while (got < kPayload) {
    const ssize_t n = ::recv(world.host.get(), arrived.data() + got, arrived.size() - got, 0);
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
    world.turn();
  }
  arrived.resize(got);
  CHECK(arrived == payload);
}

TEST_CASE("plane stream: a guest that stands still costs no turns, and gets everything when it goes on") {
  StreamWorld world;
  const int small = 16384;
  REQUIRE(::setsockopt(world.link.poll_fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
  world.connect();
  const std::vector<std::byte> data(150'000, std::byte{0x33});
  std::size_t sent = 0;
  for (int i = 0; i < 20 && sent < data.size(); ++i) {
    const ssize_t n = ::send(world.host.get(), data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<std::size_t>(n);
    world.turn(5);
  }
  REQUIRE(sent == data.size());
  REQUIRE(world.link.waits_for() == EPOLLOUT);

  // Only retransmission timers are left, and they back off: a retry each millisecond would be 500 turns.
  const auto end = base::monotonic_now() + 500ms;
  int turns = 0;
  for (; base::monotonic_now() < end; ++turns) world.worker.run_once(end - base::monotonic_now());
  CHECK(turns < 25);

  std::size_t got = 0;
  const auto limit = base::monotonic_now() + 20s;
  while (got < sent && base::monotonic_now() < limit) {
    world.drain();
    const std::size_t fresh = world.take_payload();
    got += fresh;
    if (fresh > 0) world.segment({});
    world.worker.run_once(5ms);
  }
  CHECK(got == sent);
}

TEST_CASE("plane stream: frames that one read left over are handled without another event") {
  StreamWorld world;
  constexpr std::size_t kFrames = 200;  // more than a turn takes
  for (std::size_t i = 0; i < kFrames; ++i) world.write(std::vector<std::byte>(60));
  for (int i = 0; i < 10; ++i) world.worker.run_once(50ms);
  CHECK(world.worker.counters().get(Counter::kFramesFromGuest) == kFrames);
}
