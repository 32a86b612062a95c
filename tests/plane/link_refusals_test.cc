// What a link keeps back is counted like every frame: nothing the guest sends is without an outcome.
#include "core/link/capture_link.h"
#include "core/link/stream_link.h"
#include "core/link/tap_link.h"
#include "fakes.h"

using namespace cordon;
using namespace cordon::plane;
using namespace cordon::plane::test;

namespace {

std::array<int, 2> pair(int type) {
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
  return fds;
}
void say(const base::Fd& fd, base::Bytes bytes) {
  REQUIRE(::send(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
}

}  // namespace

TEST_CASE("plane link: frames that a tap refuses are counted by reason, also behind a capture") {
  const auto fds = pair(SOCK_SEQPACKET);
  const base::Fd guest(fds[0]);
  link::TapLink tap(base::Fd(fds[1]), {true, true, true});
  link::CaptureLink captured(tap, -1);
  ListGate gate;
  Worker worker(config(), captured, gate);
  std::vector<std::byte> bytes(10 + 60);
  say(guest, std::span(bytes).first(15));  // less than an Ethernet header
  bytes[1] = std::byte{1};                 // TSO without a checksum to complete
  say(guest, bytes);
  say(guest, bytes);
  bytes[1] = std::byte{0};
  bytes[22] = std::byte{0x88};  // LLDP
  bytes[23] = std::byte{0xcc};
  say(guest, bytes);
  worker.run_once(0ns);
  CHECK(worker.counters().get(Counter::kFramesFromGuest) == 4);
  CHECK(worker.counters().get(Counter::kDropMalformed) == 1);
  CHECK(worker.counters().get(Counter::kDropOffload) == 2);
  CHECK(worker.counters().get(Counter::kDropEtherType) == 1);
  worker.run_once(0ns);
  CHECK(worker.counters().get(Counter::kFramesFromGuest) == 4);
}

TEST_CASE("plane link: the length that ends a stream is counted once") {
  const auto fds = pair(SOCK_STREAM);
  const base::Fd guest(fds[0]);
  link::StreamLink stream{base::Fd(fds[1])};
  ListGate gate;
  Worker worker(config(), stream, gate);
  say(guest, std::array<std::byte, 8>{std::byte{0}, std::byte{0}, std::byte{0}, std::byte{13}});
  for (int i = 0; i < 3; ++i) worker.run_once(0ns);
  CHECK(stream.dead());
  CHECK(worker.counters().get(Counter::kFramesFromGuest) == 1);
  CHECK(worker.counters().get(Counter::kDropMalformed) == 1);
}
