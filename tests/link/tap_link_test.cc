// A SEQPACKET pair behaves like a tap's fd: one message per frame.
#include "core/link/tap_link.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <cstring>
#include <string_view>
#include <vector>

using namespace cordon;
using link::Frame;
using link::Gso;

namespace {

struct Bench {
  Bench() : Bench(pair()) {}
  explicit Bench(std::array<int, 2> fds) : guest(fds[0]), tap(base::Fd(fds[1]), {true, true, true}) {}
  static std::array<int, 2> pair() {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
    return fds;
  }
  // virtio-net header as on the wire: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
  void frame(std::uint8_t flags, std::uint8_t gso, std::uint16_t hdr_len, std::uint16_t gso_size,
             std::uint16_t start, std::uint16_t offset, std::size_t size) const {
    std::vector<std::uint8_t> bytes(10 + size, 0x5a);
    const std::array<std::uint16_t, 4> words{hdr_len, gso_size, start, offset};
    bytes[0] = flags;
    bytes[1] = gso;
    std::memcpy(&bytes[2], words.data(), 8);
    REQUIRE(::send(guest.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  base::Fd guest;
  link::TapLink tap;
};

}  // namespace

TEST_CASE("tap link: offload metadata of the guest is judged") {
  struct Case {
    std::string_view name;
    std::uint8_t flags, gso;
    std::uint16_t hdr_len, gso_size, start, offset;
    std::size_t size;
    bool taken;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"plain", 0, 0, 0, 0, 0, 0, 60, true},
           {"checksum left out", 1, 0, 54, 0, 34, 16, 60, true},
           {"checksum field ends with the frame", 1, 0, 54, 0, 34, 24, 60, true},
           {"checksum field behind the frame", 1, 0, 54, 0, 34, 25, 60, false},
           {"checksum start behind the frame", 1, 0, 54, 0, 65535, 65535, 60, false},
           {"checksum start in the Ethernet header", 1, 0, 54, 0, 13, 16, 60, false},
           {"TSO", 1, 1, 54, 1400, 34, 16, 4000, true},
           {"TSO with ECN", 1, 0x81, 54, 1400, 34, 16, 4000, true},
           {"TSO over IPv6", 1, 4, 74, 1400, 54, 16, 4000, true},
           {"USO", 1, 5, 42, 1400, 34, 6, 4000, true},
           {"ECN without TSO", 1, 0x80, 54, 0, 34, 16, 4000, false},
           {"TSO without a checksum", 0, 1, 54, 1400, 0, 0, 4000, false},
           {"TSO with segments of nothing", 1, 1, 54, 0, 34, 16, 4000, false},
           {"TSO with a header longer than the frame", 1, 1, 5000, 1400, 34, 16, 4000, false},
           {"UFO", 1, 3, 42, 1400, 34, 6, 4000, false},
           {"unknown type", 1, 9, 42, 1400, 34, 6, 4000, false},
           {"shorter than an Ethernet header", 0, 0, 0, 0, 0, 0, 13, false},
           {"empty", 0, 0, 0, 0, 0, 0, 0, false},
       }) {
    CAPTURE(c.name);
    Bench bench;
    bench.frame(c.flags, c.gso, c.hdr_len, c.gso_size, c.start, c.offset, c.size);
    std::array<Frame, 32> frames;
    CHECK(bench.tap.receive(frames) == (c.taken ? 1 : 0));
    CHECK(bench.tap.stats().bad_offload + bench.tap.stats().bad_length == (c.taken ? 0 : 1));
    if (c.taken) CHECK(frames[0].bytes.size() == c.size);
    CHECK_FALSE(bench.tap.dead());
  }
}

TEST_CASE("tap link: frames of one batch stay apart, and a bad one in between costs only itself") {
  Bench bench;
  for (std::size_t i = 0; i < 5; ++i) bench.frame(0, i == 2 ? 9 : 0, 0, 0, 0, 0, 60 + i);
  std::array<Frame, 32> frames;
  REQUIRE(bench.tap.receive(frames) == 4);
  CHECK(frames[0].bytes.size() == 60);
  CHECK(frames[3].bytes.size() == 64);
  CHECK(frames[0].bytes.data() != frames[1].bytes.data());
  CHECK(bench.tap.receive(frames) == 0);
}

TEST_CASE("tap link: send writes the header and all pieces as one frame") {
  Bench bench;
  std::array<char, 6> a{'h', 'e', 'a', 'd', 'e', 'r'};
  std::array<char, 3> b{'x', 'y', 'z'};
  const std::array<iovec, 2> parts{iovec{a.data(), a.size()}, iovec{b.data(), b.size()}};
  link::Offload offload;
  offload.needs_checksum = true;
  offload.checksum_start = 34;
  offload.checksum_offset = 16;
  offload.gso = Gso::kTcp6;
  offload.gso_size = 1400;
  offload.header_length = 74;
  CHECK(bench.tap.send(offload, parts) == link::SendStatus::kSent);
  std::array<std::uint8_t, 64> got{};
  REQUIRE(::recv(bench.guest.get(), got.data(), got.size(), 0) == 19);
  CHECK(got[0] == 1);
  CHECK(got[1] == 4);
  std::array<std::uint16_t, 4> words{};
  std::memcpy(words.data(), &got[2], 8);
  CHECK(words == std::array<std::uint16_t, 4>{74, 1400, 34, 16});
  CHECK(std::memcmp(&got[10], "headerxyz", 9) == 0);
}

TEST_CASE("tap link: a full link says so") {
  Bench bench;
  std::vector<char> big(60000);
  const iovec part{big.data(), big.size()};
  link::SendStatus status = link::SendStatus::kSent;
  for (int i = 0; i < 1000 && status == link::SendStatus::kSent; ++i)
    status = bench.tap.send({}, std::span(&part, 1));
  CHECK(status == link::SendStatus::kAgain);
}
