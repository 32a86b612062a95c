// The part of a large frame that stays in the guest's memory until the kernel has copied it.
#include <doctest/doctest.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/vhost/fault_guard.h"
#include "tests/vhost/in_child.h"
#include "tests/vhost/pair.h"

using namespace cordon;
using namespace cordon::vhost_client;

namespace {

constexpr VirtioNetHeader kPartial{.flags = 1, .hdr_len = 54, .csum_start = 34, .csum_offset = 16};

std::vector<std::byte> whole(link::Frame frame) {
  link::complete(frame);
  return {frame.bytes.begin(), frame.bytes.end()};
}

std::size_t given_back(Pair& pair) {
  std::size_t n = 0;
  while (pair.transmit.take_used()) ++n;
  return n;
}

}  // namespace

TEST_CASE("vhost tail: only large frames whose checksum nobody verifies have one") {
  struct Case {
    std::string_view name;
    VirtioNetHeader header;
    std::size_t size;
    bool tail;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"small", kPartial, 1514, false},
           {"as large as is copied", kPartial, 4096, false},
           {"larger", kPartial, 4097, true},
           {"as large as can be", kPartial, 65535 + 14, true},
           {"with a full checksum", {}, 60000, false},
           {"vouched for by the guest, which is not its business", {.flags = 2}, 60000, false}}) {
    CAPTURE(c.name);
    Pair pair;
    const auto frame = some_frame(c.size);
    pair.put_frame(c.header, frame);
    REQUIRE(pair.receive_frames() == 1);
    const link::Frame& got = pair.frames[0];
    CHECK((got.tail.size != 0) == c.tail);
    CHECK(got.bytes.size() + got.tail.size == c.size);
    CHECK(pair.link.stats().tails == (c.tail ? 1 : 0));
    if (c.tail) CHECK(got.bytes.size() >= 14 + 60 + 60);  // all headers, however long
    CHECK(std::ranges::equal(whole(got), frame));
  }
}

TEST_CASE("vhost tail: a frame may be cut anywhere") {
  const auto frame = some_frame(9000);
  for (std::uint32_t cut = 0; cut <= 300; ++cut) {
    CAPTURE(cut);
    Pair pair{kEverything, 16, 1U << 20U};
    pair.put_frame(kPartial, frame, std::array{cut, 0U, 1U, 4000U});
    REQUIRE(pair.receive_frames() == 1);
    CHECK(pair.frames[0].tail.size != 0);
    for (const iovec& piece : pair.frames[0].tail.pieces) CHECK(piece.iov_len != 0);
    CHECK(std::ranges::equal(whole(pair.frames[0]), frame));
  }
}

TEST_CASE("vhost tail: more pieces than are kept are copied") {
  for (const std::size_t pieces : {link::kMostPieces, link::kMostPieces + 1}) {
    CAPTURE(pieces);
    vhost::Negotiated features = kEverything;
    features.indirect = false;
    Pair pair{features, 256};
    const auto frame = some_frame(20000);
    std::vector<std::uint32_t> cuts{300};
    cuts.resize(pieces - 1, 100);  // of the first one 44 bytes are left behind the start
    pair.put_frame(kPartial, frame, cuts);
    REQUIRE(pair.receive_frames() == 1);
    CHECK(pair.frames[0].tail.pieces.size() == (pieces > link::kMostPieces ? 0 : pieces));
    CHECK(std::ranges::equal(whole(pair.frames[0]), frame));
  }
}

TEST_CASE("vhost tail: many frames of many pieces are as many tails as there is room for") {
  vhost::Negotiated features = kEverything;
  features.indirect = false;
  Pair pair{features, 1024};
  const auto frame = some_frame(5000);
  const std::vector<std::uint32_t> cuts(49, 100);
  for (int i = 0; i < 20; ++i) pair.put_frame(kPartial, frame, cuts);
  REQUIRE(pair.receive_frames() == 20);
  for (int i = 0; i < 20; ++i)
    CHECK(std::ranges::equal(whole(pair.frames[static_cast<std::size_t>(i)]), frame));
  pair.link.flush();
  CHECK(given_back(pair) == 20);
}

TEST_CASE("vhost tail: the guest gets its chain back only when nobody reads it any more") {
  struct Case {
    std::string_view name;
    void (*end)(Pair&);
  };
  for (const Case& c : std::initializer_list<Case>{
           {"the next receive()", [](Pair& pair) { static_cast<void>(pair.receive_frames()); }},
           {"flush()", [](Pair& pair) { pair.link.flush(); }},
           {"before a sleep", [](Pair& pair) { static_cast<void>(pair.link.before_wait(true)); }},
           {"a change of the device",
            [](Pair& pair) {
              pair.state.transmit.ring->base = pair.link.next_available(true);
              pair.apply();
            }},
           {"the end of the rings", [](Pair& pair) {
              CHECK(pair.link.next_available(true) == 3);
              pair.link.apply({});
            }}}) {
    CAPTURE(c.name);
    Pair pair;
    pair.put_frame(kPartial, some_frame(9000));
    pair.put_frame({}, some_frame(60));
    pair.put_frame(kPartial, some_frame(8000));
    REQUIRE(pair.receive_frames() == 3);
    // The small one, at once: its bytes are ours.
    CHECK(given_back(pair) == 1);
    // A full queue to the guest is told of, and changes nothing.
    const auto large = some_frame(60000);
    const iovec part{const_cast<std::byte*>(large.data()), large.size()};
    CHECK(pair.link.send({}, std::span(&part, 1)) == link::SendStatus::kAgain);
    CHECK(given_back(pair) == 0);
    CHECK(std::ranges::equal(whole(pair.frames[2]), some_frame(8000)));
    c.end(pair);
    CHECK(given_back(pair) == 2);
    pair.link.flush();
    CHECK(given_back(pair) == 0);
    CHECK_FALSE(pair.link.dead());
  }
}

TEST_CASE("vhost tail: a broken ring ends the device, and nothing is written to it any more") {
  Pair pair;
  pair.put_frame(kPartial, some_frame(9000));
  pair.transmit.available_entry(pair.transmit.available_index()) = 9999;
  ++pair.transmit.available_index();
  CHECK(pair.receive_frames() == 1);
  CHECK(pair.link.violation() == vhost::RingViolation::kHeadOutOfRange);
  CHECK(std::ranges::equal(whole(pair.frames[0]), some_frame(9000)));
  CHECK(pair.receive_frames() == 0);
  pair.link.flush();
  CHECK(given_back(pair) == 0);
}

TEST_CASE("vhost tail: a guest that writes after it has sent changes its payload and nothing else") {
  Pair pair;
  const auto frame = some_frame(9000);
  const std::uint64_t at = pair.memory.allocate(kNetHeader + frame.size());
  std::memcpy(pair.memory.at(at), &kPartial, kNetHeader);
  std::memcpy(pair.memory.at(at) + kNetHeader, frame.data(), frame.size());
  const Buffer buffer{at, static_cast<std::uint32_t>(kNetHeader + frame.size())};
  REQUIRE(pair.transmit.add(std::span(&buffer, 1), false));
  pair.transmit.publish();
  REQUIRE(pair.receive_frames() == 1);
  std::memset(pair.memory.at(at), 0xff, buffer.length);
  pair.transmit.descriptor(0).length = 100;
  pair.transmit.descriptor(0).address = 0;
  const link::Frame got = pair.frames[0];
  const std::size_t start = got.bytes.size();
  CHECK(got.offload.checksum_start == 34);
  CHECK(std::ranges::equal(got.bytes, std::span(frame).first(start)));
  const auto all = whole(got);
  REQUIRE(all.size() == frame.size());
  CHECK(std::ranges::equal(std::span(all).first(start), std::span(frame).first(start)));
  CHECK(std::ranges::all_of(std::span(all).subspan(start), [](std::byte b) { return b == std::byte{0xff}; }));
}

TEST_CASE("vhost tail: memory that vanishes is noticed by who copies it") {
  CHECK(in_child([] {
          if (!vhost::fault_guard::install()) return 1;
          Pair pair;
          if (!vhost::fault_guard::watch(pair.table.regions()[0].bytes)) return 2;
          pair.put_frame(kPartial, some_frame(60000));
          if (pair.receive_frames() != 1 || !pair.link.intact()) return 3;
          if (::ftruncate(pair.memory.fd(), 0x8000) != 0) return 4;
          const auto all = whole(pair.frames[0]);
          if (all.size() != 60000 || all.back() != std::byte{0}) return 5;
          return pair.link.intact() ? 6 : 0;
        }) == 0);
  CHECK(in_child([] {  // ... who copies all of a frame
          if (!vhost::fault_guard::install()) return 1;
          Pair pair;
          if (!vhost::fault_guard::watch(pair.table.regions()[0].bytes)) return 2;
          pair.put_frame({}, some_frame(60000));
          if (::ftruncate(pair.memory.fd(), 0x8000) != 0) return 3;
          if (pair.receive_frames() != 0) return 4;  // zeros are no frame
          return pair.link.intact() ? 5 : 0;
        }) == 0);
  CHECK(in_child([] {  // ... and the kernel
          if (!vhost::fault_guard::install()) return 1;
          Pair pair;
          pair.put_frame(kPartial, some_frame(60000));
          if (pair.receive_frames() != 1) return 2;
          if (::ftruncate(pair.memory.fd(), 0) != 0) return 3;
          const auto pieces = pair.frames[0].tail.pieces;
          std::array<int, 2> fds{};
          if (::pipe(fds.data()) != 0) return 4;
          if (::writev(fds[1], pieces.data(), static_cast<int>(pieces.size())) != -1 || errno != EFAULT)
            return 5;
          if (!pair.link.intact()) return 6;
          pair.link.lose_tail();
          return pair.link.intact() ? 7 : 0;
        }) == 0);
}
