// A driver's rings and a VhostLink in one process.
#include "core/vhost/vhost_link.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <algorithm>
#include <cstring>

#include "core/vhost/dirty_log.h"
#include "tests/vhost/pair.h"

using namespace cordon;
using namespace cordon::vhost_client;

namespace {

bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}

bool same(base::Bytes a, base::Bytes b) { return std::ranges::equal(a, b); }

link::SendStatus send(Pair& pair, base::Bytes frame, const link::Offload& offload = {}) {
  const iovec part{const_cast<std::byte*>(frame.data()), frame.size()};
  return pair.link.send(offload, std::span(&part, 1));
}

vhost::Negotiated with(bool event_index, bool merge_buffers) {
  vhost::Negotiated features = kEverything;
  features.event_index = event_index;
  features.merge_buffers = merge_buffers;
  return features;
}

}  // namespace

TEST_CASE("vhost link: frames from the guest arrive whole, in order and are given back") {
  for (const bool event_index : {false, true}) {
    CAPTURE(event_index);
    Pair pair{with(event_index, true)};
    for (unsigned i = 0; i < 5; ++i) pair.put_frame({}, some_frame(60 + i, i));
    REQUIRE(pair.receive_frames() == 5);
    for (unsigned i = 0; i < 5; ++i) CHECK(same(pair.frames[i].bytes, some_frame(60 + i, i)));
    pair.link.flush();
    for (int i = 0; i < 5; ++i) CHECK(pair.transmit.take_used()->length == 0);
    CHECK_FALSE(pair.transmit.take_used());
    CHECK(pair.receive_frames() == 0);
    CHECK_FALSE(pair.link.dead());
  }
}

TEST_CASE("vhost link: a frame may be cut anywhere, also in its header") {
  const auto frame = some_frame(200);
  for (std::uint32_t cut = 0; cut <= 212; ++cut) {
    CAPTURE(cut);
    Pair pair{kEverything, 16, 1U << 20U};
    pair.put_frame({.flags = 1, .hdr_len = 54, .csum_start = 34, .csum_offset = 16}, frame,
                   std::array{cut, 0U, 1U});
    REQUIRE(pair.receive_frames() == 1);
    CHECK(same(pair.frames[0].bytes, frame));
    CHECK(pair.frames[0].offload.needs_checksum);
    CHECK(pair.frames[0].offload.checksum_start == 34);
  }
}

TEST_CASE("vhost link: a chain too short or too long for a frame is given back and counted") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{11}, std::size_t{12},
                                 std::size_t{25}, std::size_t{80000}}) {
    CAPTURE(size);
    Pair pair;
    pair.put_bytes(some_frame(size));
    pair.put_frame({}, some_frame(60));
    CHECK(pair.receive_frames() == 1);
    CHECK(pair.link.stats().bad_length == 1);
    CHECK(pair.link.stats().chains_from_guest == 2);
    pair.link.flush();
    CHECK(pair.transmit.take_used());
    CHECK(pair.transmit.take_used());
    CHECK_FALSE(pair.link.dead());
  }
}

TEST_CASE("vhost link: a frame to the guest takes as many buffers as it needs, and says how many") {
  struct Case {
    std::uint32_t buffer;
    std::size_t frame;
    std::size_t chains;
  };
  for (const Case& c : std::initializer_list<Case>{{2048, 60, 1},
                                                   {72, 60, 1},
                                                   {71, 60, 2},
                                                   {1526, 65550, 43},
                                                   {12, 60, 6},
                                                   {5, 60, 15},
                                                   {1, 60, 72}}) {
    CAPTURE(c.buffer);
    Pair pair;
    pair.post(100, c.buffer);
    const auto frame = some_frame(c.frame);
    REQUIRE(send(pair, frame) == link::SendStatus::kSent);
    pair.link.flush();
    const auto got = pair.take(c.chains);
    CHECK_FALSE(pair.receive.take_used());
    REQUIRE(got.size() == kNetHeader + frame.size());
    VirtioNetHeader header;
    std::memcpy(&header, got.data(), kNetHeader);
    CHECK(header.num_buffers == c.chains);
    CHECK(same(std::span(got).subspan(kNetHeader), frame));
  }
}

TEST_CASE("vhost link: without merged buffers a frame that does not fit one is lost alone") {
  Pair pair{with(true, false)};
  pair.post(2, 1000);
  CHECK(send(pair, some_frame(989)) == link::SendStatus::kDropped);
  CHECK(pair.link.stats().not_fitting == 1);
  CHECK(send(pair, some_frame(988)) == link::SendStatus::kSent);
  pair.link.flush();
  CHECK(pair.take(1).size() == 1000);
}

TEST_CASE("vhost link: a frame that no number of buffers can hold is lost alone") {
  Pair pair{kEverything, 16};
  pair.post(16, 10);
  CHECK(send(pair, some_frame(200)) == link::SendStatus::kDropped);
  CHECK(send(pair, some_frame(148)) == link::SendStatus::kSent);
  pair.link.flush();
  CHECK(pair.take(16).size() == 160);
}

TEST_CASE("vhost link: a guest without buffers is a full link, and tells when it has some") {
  for (const bool event_index : {false, true}) {
    CAPTURE(event_index);
    Pair pair{with(event_index, true)};
    CHECK(pair.receive_frames() == 0);
    CHECK_FALSE(pair.link.before_sleep());
    pair.post(1, 100);
    CHECK_FALSE(pair.receive.wants_kick());  // nobody waits
    CHECK(send(pair, some_frame(500)) == link::SendStatus::kAgain);
    CHECK_FALSE(pair.link.pending());
    CHECK_FALSE(pair.link.before_sleep());
    pair.post(1, 100);
    CHECK(pair.receive.wants_kick());
    CHECK_FALSE(readable(pair.link.poll_fd()));
    pair.kick(false);
    CHECK(readable(pair.link.poll_fd()));
    CHECK(pair.link.pending());
    CHECK(pair.receive_frames() == 0);
    CHECK_FALSE(readable(pair.link.poll_fd()));
    CHECK_FALSE(pair.link.pending());
    CHECK(send(pair, some_frame(500)) == link::SendStatus::kAgain);  // 200 of 512
    CHECK_FALSE(pair.link.before_sleep());
    pair.post(10, 100);
    CHECK(pair.receive.wants_kick());
    CHECK(pair.link.before_sleep());  // added while we were about to sleep
    CHECK(send(pair, some_frame(500)) == link::SendStatus::kSent);
    pair.link.flush();
    CHECK(pair.take(6).size() == 512);
    CHECK(pair.link.next_available(false) == 6);
    // Nobody waits any more: no kick, and no reason to stay awake.
    CHECK(pair.receive_frames() == 0);
    CHECK_FALSE(pair.link.before_sleep());
    pair.post(1, 100);
    CHECK_FALSE(pair.receive.wants_kick());
  }
}

TEST_CASE("vhost link: kicks are wanted only by who is about to sleep") {
  for (const bool event_index : {false, true}) {
    CAPTURE(event_index);
    Pair pair{with(event_index, true)};
    pair.put_frame({}, some_frame(60));
    CHECK(pair.link.pending());
    CHECK(pair.link.before_sleep());
    CHECK(pair.receive_frames() == 1);
    pair.link.flush();
    CHECK_FALSE(pair.link.before_sleep());
    pair.put_frame({}, some_frame(60));
    CHECK(pair.transmit.wants_kick());
    pair.kick(true);
    CHECK(readable(pair.link.poll_fd()));
    CHECK(pair.receive_frames() == 1);
    CHECK_FALSE(readable(pair.link.poll_fd()));
    for (int i = 0; i < 10; ++i) {  // busy: looked at, not told of
      pair.put_frame({}, some_frame(60));
      CHECK_FALSE(pair.transmit.wants_kick());
      CHECK(pair.link.pending());
      CHECK(pair.receive_frames() == 1);
    }
    pair.kick(true);  // one that nobody asked for is gone after two looks
    static_cast<void>(pair.receive_frames());
    static_cast<void>(pair.receive_frames());
    CHECK_FALSE(readable(pair.link.poll_fd()));
  }
}

TEST_CASE("vhost link: one call for a batch, and only where it is wanted") {
  for (const bool event_index : {false, true}) {
    CAPTURE(event_index);
    Pair pair{with(event_index, true)};
    CHECK_FALSE(pair.receive.arm_calls());
    pair.transmit.suppress_calls();
    pair.post(64, 100);
    for (int i = 0; i < 40; ++i) REQUIRE(send(pair, some_frame(60)) == link::SendStatus::kSent);
    CHECK(pair.calls(false) == 0);
    pair.link.flush();
    CHECK(pair.calls(false) == 1);
    pair.link.flush();
    CHECK(pair.calls(false) == 0);
    static_cast<void>(pair.take(40));
    pair.receive.suppress_calls();
    REQUIRE(send(pair, some_frame(60)) == link::SendStatus::kSent);
    pair.link.flush();
    CHECK(pair.calls(false) == 0);
    CHECK(pair.receive.arm_calls());
    static_cast<void>(pair.take(1));
    CHECK_FALSE(pair.receive.arm_calls());
    REQUIRE(send(pair, some_frame(60)) == link::SendStatus::kSent);
    pair.link.flush();
    CHECK(pair.calls(false) == 1);
    // The first call after a start is always made with an event index: nobody knows what was told before.
    pair.put_frame({}, some_frame(60));
    CHECK(pair.receive_frames() == 1);
    pair.link.flush();
    CHECK(pair.calls(true) == (event_index ? 1 : 0));
    pair.put_frame({}, some_frame(60));
    CHECK(pair.receive_frames() == 1);
    pair.link.flush();
    CHECK(pair.calls(true) == 0);
  }
}

TEST_CASE("vhost link: rings go on where they were after a change, also with buffers read ahead") {
  Pair pair;
  pair.post(8, 100);
  REQUIRE(send(pair, some_frame(60)) == link::SendStatus::kSent);
  CHECK(send(pair, some_frame(5000)) == link::SendStatus::kAgain);  // has read all eight
  pair.put_frame({}, some_frame(60));
  CHECK(pair.receive_frames() == 1);
  CHECK(pair.link.next_available(false) == 1);
  CHECK(pair.link.next_available(true) == 1);
  pair.state.receive.ring->base = pair.link.next_available(false);
  pair.state.transmit.ring->base = pair.link.next_available(true);
  pair.apply();
  REQUIRE(send(pair, some_frame(70)) == link::SendStatus::kSent);
  pair.put_frame({}, some_frame(61));
  CHECK(pair.receive_frames() == 1);
  pair.link.flush();
  CHECK(pair.take(1).size() == 72);
  CHECK(pair.take(1).size() == 82);
  CHECK(pair.transmit.take_used());
  CHECK(pair.transmit.take_used());
}

TEST_CASE("vhost link: a guest that is not there is a full link without kicks") {
  Pair pair;
  pair.post(8, 100);
  const auto ring = *pair.state.receive.ring;
  pair.state.receive.ring.reset();
  pair.state.transmit.ring.reset();
  pair.apply();
  CHECK(readable(pair.link.poll_fd()));  // the worker is to look at the change
  CHECK(pair.receive_frames() == 0);
  pair.put_frame({}, some_frame(60));
  pair.kick(true);
  pair.kick(false);
  CHECK_FALSE(readable(pair.link.poll_fd()));
  CHECK(pair.receive_frames() == 0);
  CHECK(send(pair, some_frame(60)) == link::SendStatus::kAgain);
  CHECK_FALSE(pair.link.pending());
  CHECK_FALSE(pair.link.before_sleep());
  pair.link.flush();
  // It comes back: whoever waited may go on at once.
  pair.state.receive.ring = ring;
  pair.apply();
  CHECK(pair.link.pending());
  CHECK(send(pair, some_frame(60)) == link::SendStatus::kSent);
}

TEST_CASE("vhost link: the guest learns only what it has negotiated") {
  Pair pair{vhost::Negotiated{}};
  pair.post(2, 100);
  CHECK_FALSE(pair.link.capabilities().checksum);
  CHECK(send(pair, some_frame(60), {.needs_checksum = true, .checksum_start = 34, .checksum_offset = 16}) ==
        link::SendStatus::kDropped);
  CHECK(pair.link.stats().not_negotiated == 1);
  CHECK(send(pair, some_frame(60)) == link::SendStatus::kSent);
  pair.state.features = kEverything;
  pair.state.receive.ring->base = pair.link.next_available(false);
  pair.apply();
  CHECK(pair.link.capabilities().tso);
}

TEST_CASE("vhost link: what is written to the guest is logged, and nothing else") {
  vhost::Negotiated features = kEverything;
  features.log_all = true;
  Pair pair{features};
  std::vector<std::byte> bitmap((pair.memory.start() + pair.memory.size()) / 4096 / 8);
  vhost::DirtyLog log{bitmap};
  pair.state.log = &log;
  pair.apply();
  std::ranges::fill(bitmap, std::byte{});
  const auto dirty = [&](std::uint64_t address) {
    return (std::to_integer<unsigned>(bitmap[address / 4096 / 8]) >> (address / 4096 % 8) & 1U) != 0;
  };
  static_cast<void>(pair.memory.allocate(8192, 4096));
  pair.post(4, 4096);
  static_cast<void>(pair.memory.allocate(8192, 4096));
  pair.put_frame({}, some_frame(60));
  REQUIRE(send(pair, some_frame(5000)) == link::SendStatus::kSent);
  CHECK(pair.receive_frames() == 1);
  pair.link.flush();
  CHECK(dirty(pair.posted[0].address));
  CHECK(dirty(pair.posted[1].address + 900));
  CHECK_FALSE(dirty(pair.posted[3].address));
  CHECK(dirty(pair.receive.used_address()));
  CHECK(dirty(pair.transmit.used_address()));
  CHECK_FALSE(dirty(pair.transmit.descriptors_address()));
}

TEST_CASE("vhost link: a kick that is readable for ever is no reason to stay awake") {
  Pair pair;
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const base::Fd reader{pipe[0]};
  base::Fd{pipe[1]}.reset();
  pair.state.transmit.kick = reader.get();
  pair.apply();
  static_cast<void>(pair.receive_frames());
  static_cast<void>(pair.receive_frames());
  CHECK_FALSE(readable(pair.link.poll_fd()));
  pair.put_frame({}, some_frame(60));
  CHECK(pair.receive_frames() == 1);
}

TEST_CASE("vhost link: both queues may share a kick") {
  Pair pair;
  pair.state.receive.kick = pair.state.transmit.kick;
  pair.apply();
  CHECK(pair.receive_frames() == 0);
  CHECK_FALSE(pair.link.before_sleep());
  pair.kick(true);
  CHECK(readable(pair.link.poll_fd()));
  pair.state.receive.ring.reset();
  pair.state.transmit.ring.reset();
  pair.apply();
  CHECK(pair.receive_frames() == 0);
  pair.kick(true);
  CHECK_FALSE(readable(pair.link.poll_fd()));
}
