// The data path allocates nothing once the worker stands: operator new is counted.
#include <atomic>
#include <cstdlib>
#include <new>

#include "fakes.h"

namespace {
std::atomic<std::uint64_t> allocations{0};
}

#ifndef CORDON_SANITIZED  // a sanitizer has operators of its own; then the test only drives the path
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif
// NOLINTBEGIN: replacing the global operators is the point
void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* const p = std::malloc(size)) return p;
  throw std::bad_alloc{};
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
// NOLINTEND
#endif

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

// A link that replays one frame from fixed storage and keeps nothing.
struct QuietLink final : link::Link {
  QuietLink() { REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds.data()) == 0); }
  ~QuietLink() override {
    ::close(fds[0]);
    ::close(fds[1]);
  }
  [[nodiscard]] link::Capabilities capabilities() const override { return {true, true, true}; }
  [[nodiscard]] int poll_fd() const override { return fds[0]; }
  [[nodiscard]] std::size_t receive(std::span<link::Frame> frames) override {
    char c;
    std::size_t n = 0;
    while (n < pending && n < frames.size() && ::read(fds[0], &c, 1) == 1) frames[n++] = {frame, {}};
    pending -= n;
    return n;
  }
  [[nodiscard]] link::SendStatus send(const link::Offload&, std::span<const iovec> parts) override {
    ++sent;
    last_size = 0;
    for (const iovec& part : parts) {
      if (last_size + part.iov_len <= last.size() && part.iov_len > 0)
        std::memcpy(&last[last_size], part.iov_base, part.iov_len);
      last_size += part.iov_len;
    }
    return link::SendStatus::kSent;
  }
  void replay(std::size_t n) {
    pending = n;
    for (std::size_t i = 0; i < n; ++i) REQUIRE(::write(fds[1], "x", 1) == 1);
  }
  std::array<int, 2> fds{};
  base::Bytes frame;
  std::size_t pending = 0;
  std::uint64_t sent = 0;
  std::array<std::byte, 70000> last{};
  std::size_t last_size = 0;
};

}  // namespace

TEST_CASE("plane: data both ways, new flows and refusals allocate nothing") {
  auto link = std::make_unique<QuietLink>();
  ListGate gate;
  gate.requests.reserve(64);
  gate.closes.reserve(64);
  TestClock clock;
  Worker worker(config(), *link, gate, clock);
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()) == 0);
  const base::Fd host(fds[1]);

  const flow::Tuple t = tuple(flow::Protocol::kTcp);
  wire::TcpFields f;
  f.seq = net::SeqNum{1000};
  f.flags.syn = true;
  f.window = 65535;
  const auto syn = tcp_frame(t, f);
  const auto udp = udp_frame(tuple(flow::Protocol::kUdp), bytes_of("x"));

  const std::uint64_t before = allocations.load();
  link->frame = syn;
  link->replay(1);
  worker.run_once(0ns);
  worker.on_grant({.id = gate.requests[0].first, .socket = base::Fd(fds[0])});
  worker.run_once(0ns);
  CHECK(allocations.load() == before);
  REQUIRE(link->sent == 1);
  const auto view =
      wire::TcpView::parse(std::span(std::as_const(link->last)).subspan(34, link->last_size - 34));
  REQUIRE(view);

  f.flags = {.ack = true};
  f.ack = view->seq() + 1;
  f.seq = net::SeqNum{1001};
  const auto payload = bytes_of(std::string(1000, 'p'));
  std::vector<std::vector<std::byte>> frames;
  for (std::uint32_t i = 0; i < 100; ++i) {
    frames.push_back(tcp_frame(t, f, payload));
    f.seq += 1000;
  }
  std::array<char, 65536> sink;
  const std::uint64_t start = allocations.load();
  for (const auto& frame : frames) {
    link->frame = frame;
    link->replay(1);
    worker.run_once(0ns);
    CHECK(::recv(host.get(), sink.data(), sink.size(), 0) == 1000);
    REQUIRE(::send(host.get(), sink.data(), 100, 0) == 100);
    worker.run_once(0ns);
  }
  link->frame = udp;
  link->replay(3);
  worker.run_once(0ns);
  worker.on_refuse(gate.requests[1].first, flow::RefuseHow::kReject);
  worker.on_revoke(gate.requests[0].first, flow::RefuseHow::kReject);
  worker.run_once(0ns);
  CHECK(allocations.load() == start);
  CHECK(gate.closes.size() == 1);
}

TEST_CASE("plane: flows from outside allocate nothing") {
  auto link = std::make_unique<QuietLink>();
  ListGate gate;
  gate.claims.reserve(64);
  gate.declines.reserve(64);
  gate.closes.reserve(64);
  TestClock clock;
  Worker worker(config(), *link, gate, clock);
  const auto payload = bytes_of("first");
  std::array<std::array<int, 2>, 4> fds{};
  for (auto& pair : fds) REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()) == 0);
  std::array<base::Fd, 4> peers;
  const std::uint64_t before = allocations.load();
  for (std::uint32_t i = 0; i < 4; ++i) {
    flow::Inbound inbound;
    inbound.offer = i + 1;
    inbound.tuple = tuple(i % 2 == 0 ? flow::Protocol::kTcp : flow::Protocol::kUdp);
    inbound.socket = base::Fd(fds[i][0]);
    peers[i] = base::Fd(fds[i][1]);
    if (i % 2 == 1) inbound.first = payload;
    worker.on_inbound(std::move(inbound));
    worker.run_once(0ns);
  }
  clock.time = clock.time + 80s;
  for (int i = 0; i < 4; ++i) worker.run_once(0ns);
  CHECK(allocations.load() == before);
  CHECK(gate.claims.size() == 2);
  CHECK(gate.declines.size() == 2);
  CHECK(gate.closes.size() == 2);
  CHECK(link->sent >= 3);  // SYN and both datagrams
}
