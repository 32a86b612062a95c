#include "core/link/stream_link.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace cordon;
using link::Frame;
using link::SendStatus;
using link::StreamEnd;
using link::StreamLink;

namespace {

using Text = std::vector<std::uint8_t>;

// The guest's end of the pair; the link's end is blocking, so a call that waits hangs the test.
struct Bench {
  Bench() : Bench(pair()) {}
  explicit Bench(std::array<int, 2> fds) : guest(fds[0]), link(base::Fd(fds[1])) {
    REQUIRE(::fcntl(guest.get(), F_SETFL, O_NONBLOCK) == 0);
  }
  static std::array<int, 2> pair() {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
    return fds;
  }
  void write(std::span<const std::uint8_t> bytes) const {
    REQUIRE(::send(guest.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  // Frames that come out of one receive(), as texts.
  std::vector<Text> receive(std::size_t most = 64) {
    std::vector<Frame> frames(most);
    const std::size_t n = link.receive(frames);
    std::vector<Text> out;
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(frames[i].offload.checksum_valid);
      CHECK_FALSE(frames[i].offload.needs_checksum);
      const auto* at = reinterpret_cast<const std::uint8_t*>(frames[i].bytes.data());
      out.emplace_back(at, at + frames[i].bytes.size());
    }
    return out;
  }
  SendStatus send(Text text) {
    const iovec part{text.data(), text.size()};
    return link.send({}, std::span(&part, 1));
  }
  // What the guest has at once.
  Text drain(std::size_t most = SIZE_MAX) const {
    Text out;
    for (std::array<std::uint8_t, 65536> some; out.size() < most;) {
      const ssize_t got = ::recv(guest.get(), some.data(), std::min(some.size(), most - out.size()), 0);
      if (got <= 0) break;
      out.insert(out.end(), some.begin(), some.begin() + got);
    }
    return out;
  }
  base::Fd guest;
  StreamLink link;
};

Text frame(std::size_t size, std::uint8_t fill) {
  Text out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(fill + i * 7);
  return out;
}
void append(Text& to, const Text& bytes) {
  for (const std::uint8_t byte : bytes) to.push_back(byte);  // GCC 12 at -O3 misreads insert()
}
// As on the wire: docs of QEMU's net/stream: four bytes, the most significant first.
Text length(std::uint32_t n) {
  return {static_cast<std::uint8_t>(n >> 24U), static_cast<std::uint8_t>(n >> 16U),
          static_cast<std::uint8_t>(n >> 8U), static_cast<std::uint8_t>(n)};
}
Text framed(const Text& bytes) {
  Text out = length(static_cast<std::uint32_t>(bytes.size()));
  append(out, bytes);
  return out;
}

}  // namespace

TEST_CASE("stream link: frames cut at every position come out whole") {
  const std::vector<Text> frames{frame(14, 1), frame(60, 2), frame(15, 3)};
  Text wire;
  for (const Text& f : frames) append(wire, framed(f));
  for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
    CAPTURE(cut);
    Bench bench;
    std::vector<Text> got;
    for (const auto piece : {std::span(wire).first(cut), std::span(wire).subspan(cut)}) {
      if (piece.empty()) continue;
      bench.write(piece);
      for (Text& f : bench.receive()) got.push_back(std::move(f));
    }
    CHECK(got == frames);
    CHECK(bench.receive().empty());
    CHECK_FALSE(bench.link.dead());
  }
}

TEST_CASE("stream link: frames that come byte by byte come out whole") {
  const std::vector<Text> frames{frame(14, 1), frame(100, 2)};
  Text wire;
  for (const Text& f : frames) append(wire, framed(f));
  Bench bench;
  std::vector<Text> got;
  for (const std::uint8_t byte : wire) {
    bench.write(std::span(&byte, 1));
    for (Text& f : bench.receive()) got.push_back(std::move(f));
  }
  CHECK(got == frames);
}

TEST_CASE("stream link: one read brings many frames, and those left over are input before the next wait") {
  Bench bench;
  Text wire;
  for (std::uint8_t i = 0; i < 100; ++i) append(wire, framed(frame(20, i)));
  bench.write(wire);
  CHECK_FALSE(bench.link.pending());
  for (std::uint8_t i = 0; i < 100;) {
    const auto got = bench.receive(32);
    REQUIRE_FALSE(got.empty());
    for (const Text& f : got) CHECK(f == frame(20, i++));
    CHECK(bench.link.pending() == (i < 100));
  }
  CHECK(bench.receive().empty());
}

TEST_CASE("stream link: the largest frames follow each other through the buffer's end") {
  Bench bench;
  const std::size_t largest = 65535 + 14 + 4;
  std::size_t sent = 0, got = 0;
  Text wire;
  while (got < 20) {
    if (wire.empty() && sent < 20)
      wire = framed(frame(sent % 3 == 2 ? 1514 : largest, static_cast<std::uint8_t>(sent))), ++sent;
    const ssize_t put = wire.empty() ? 0 : ::send(bench.guest.get(), wire.data(), wire.size(), MSG_NOSIGNAL);
    if (put > 0) wire.erase(wire.begin(), wire.begin() + put);
    for (const Text& f : bench.receive()) {
      CHECK(f == frame(got % 3 == 2 ? 1514 : largest, static_cast<std::uint8_t>(got)));
      ++got;
    }
    REQUIRE_FALSE(bench.link.dead());
  }
}

TEST_CASE("stream link: a length no frame can have ends the link behind the frames before it") {
  struct Case {
    std::string_view name;
    std::uint32_t length;
    bool taken;
  };
  for (const Case& c : std::initializer_list<Case>{{"nothing", 0, false},
                                                   {"a byte", 1, false},
                                                   {"less than a header", 13, false},
                                                   {"a header", 14, true},
                                                   {"a super-frame of libkrun", 65549, true},
                                                   {"the same with a VLAN tag", 65553, true},
                                                   {"too long", 65554, false},
                                                   {"QEMU's buffer", 69632, false},
                                                   {"the other byte order", 0x3c000000, false},
                                                   {"negative", 0xffffffff, false}}) {
    CAPTURE(c.name);
    for (const std::size_t at_once : {std::size_t{64}, std::size_t{1}}) {
      Bench bench;
      Text wire = framed(frame(60, 5));
      append(wire, length(c.length));
      append(wire, Text(c.length == 14 ? 14 : 40));
      bench.write(wire);
      auto got = bench.receive(at_once);
      if (at_once == 1) {
        CHECK_FALSE(bench.link.dead());
        for (Text& f : bench.receive(1)) got.push_back(std::move(f));
      }
      REQUIRE(got.size() == (c.length == 14 ? 2 : 1));
      CHECK(got[0] == frame(60, 5));
      CHECK(bench.link.dead() == !c.taken);
      CHECK(bench.link.stats().bad_length == (c.taken ? 0 : 1));
      if (c.taken) continue;
      CHECK(bench.link.end() == StreamEnd::kBadLength);
      CHECK(bench.link.describe_end().find(std::to_string(c.length)) != std::string::npos);
      CHECK_FALSE(bench.link.pending());
      CHECK(bench.send(frame(60, 1)) == SendStatus::kDropped);
      // Nothing behind it is believed.
      bench.write(framed(frame(60, 6)));
      CHECK(bench.receive().empty());
      CHECK(bench.link.waits_for() == 0);
    }
  }
}

TEST_CASE("stream link: the other side's end comes after its last frame") {
  for (const std::size_t cut : {0U, 1U, 4U, 5U, 63U}) {
    CAPTURE(cut);
    Bench bench;
    Text wire = framed(frame(60, 1));
    const Text second = framed(frame(60, 2));
    wire.insert(wire.end(), second.begin(), second.begin() + static_cast<std::ptrdiff_t>(cut));
    bench.write(wire);
    bench.guest.reset();
    CHECK(bench.send(frame(60, 3)) == SendStatus::kSent);
    bench.link.flush();  // EPIPE must not hide what the guest sent before
    CHECK(bench.receive().size() == 1);
    CHECK_FALSE(bench.link.dead());
    CHECK(bench.receive().empty());
    CHECK(bench.link.end() == (cut == 0 ? StreamEnd::kClosed : StreamEnd::kCutShort));
    CHECK(bench.receive().empty());
  }
}

TEST_CASE("stream link: a half close ends the link, a reset too") {
  Bench bench;
  REQUIRE(::shutdown(bench.guest.get(), SHUT_WR) == 0);
  CHECK(bench.receive().empty());
  CHECK(bench.link.end() == StreamEnd::kClosed);

  Bench reset;
  CHECK(reset.send(frame(60, 1)) == SendStatus::kSent);
  reset.link.flush();
  reset.guest.reset();  // with unread data: ECONNRESET for the link
  CHECK(reset.receive().empty());
  CHECK(reset.link.end() == StreamEnd::kFailed);
  CHECK_FALSE(reset.link.describe_end().empty());
}

TEST_CASE("stream link: sent frames are gathered from their pieces and leave in flush()") {
  Bench bench;
  Text a = frame(14, 1), b = frame(100, 2), none;
  const std::array<iovec, 3> parts{iovec{a.data(), a.size()}, iovec{none.data(), 0},
                                   iovec{b.data(), b.size()}};
  CHECK(bench.link.send({}, parts) == SendStatus::kSent);
  CHECK(bench.send(frame(60, 9)) == SendStatus::kSent);
  CHECK(bench.drain().empty());
  bench.link.flush();
  Text expected = length(114);
  append(expected, a);
  append(expected, b);
  append(expected, framed(frame(60, 9)));
  CHECK(bench.drain() == expected);
  bench.link.flush();
  CHECK(bench.drain().empty());
}

TEST_CASE("stream link: more than the buffer holds leaves without flush()") {
  Bench bench;
  Text expected, got;
  for (std::uint8_t i = 0; i < 5 && bench.send(frame(60000, i)) == SendStatus::kSent; ++i)
    append(expected, framed(frame(60000, i)));
  CHECK(expected.size() >= 4 * 60004);
  append(got, bench.drain());
  CHECK(got.size() > 60004);
  for (int i = 0; i < 100 && got.size() < expected.size(); ++i) {
    bench.link.flush();
    append(got, bench.drain());
  }
  CHECK(got == expected);
}

TEST_CASE("stream link: a full socket costs no frame, and none is mixed with another") {
  Bench bench;
  const int small = 8192;
  REQUIRE(::setsockopt(bench.link.poll_fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
  Text expected, got;
  std::uint8_t next = 0;
  std::size_t refused = 0;
  std::size_t step = 1;
  while (expected.size() < 3'000'000) {
    const Text f = frame(14 + (next * 977U) % 9000, next);
    switch (bench.send(f)) {
      case SendStatus::kSent:
        append(expected, framed(f));
        ++next;
        if (next % 5 == 0) bench.link.flush();
        break;
      case SendStatus::kAgain:
        ++refused;
        CHECK(bench.link.waits_for() == EPOLLOUT);
        CHECK(bench.send(frame(14, 0)) == SendStatus::kAgain);  // not even a small one overtakes
        append(got, bench.drain(step));                         // the guest takes a few bytes
        step = step * 3 % 20011;
        bench.link.flush();
        break;
      case SendStatus::kDropped: FAIL("dropped");
    }
  }
  CHECK(refused > 100);
  while (bench.link.waits_for() != 0 || got.size() < expected.size()) {
    const Text some = bench.drain();
    bench.link.flush();
    append(got, some);
  }
  CHECK(got == expected);
}

TEST_CASE("stream link: room is an event when the other side has read, and not before") {
  Bench bench;
  while (bench.link.waits_for() == 0) {
    REQUIRE(bench.send(frame(9000, 1)) == SendStatus::kSent);
    bench.link.flush();
  }
  pollfd room{bench.link.poll_fd(), POLLOUT, 0};
  CHECK(::poll(&room, 1, 0) == 0);
  bench.link.flush();
  CHECK(bench.link.waits_for() == EPOLLOUT);
  static_cast<void>(bench.drain());
  CHECK(::poll(&room, 1, 1000) == 1);
  CHECK((room.revents & POLLOUT) != 0);
  bench.link.flush();
  CHECK(bench.link.waits_for() == 0);
  CHECK(bench.send(frame(60, 1)) == SendStatus::kSent);
}

TEST_CASE("stream link: frames nobody can carry are dropped and counted") {
  Bench bench;
  CHECK(bench.send(frame(65554, 1)) == SendStatus::kDropped);
  Text f = frame(60, 1);
  const iovec part{f.data(), f.size()};
  CHECK(bench.link.send({.needs_checksum = true}, std::span(&part, 1)) == SendStatus::kDropped);
  CHECK(bench.link.send({.gso = link::Gso::kTcp4, .gso_size = 1400}, std::span(&part, 1)) ==
        SendStatus::kDropped);
  CHECK(bench.link.stats().refused == 3);
  bench.link.flush();
  CHECK(bench.drain().empty());
}

TEST_CASE("stream link: trim keeps a half frame and what waits for room") {
  Bench bench;
  const Text whole = framed(frame(60000, 3));
  bench.write(std::span(whole).first(30000));
  CHECK(bench.receive().empty());
  bench.link.trim();
  Text expected, got;
  while (bench.link.waits_for() == 0) {
    REQUIRE(bench.send(frame(60000, 1)) == SendStatus::kSent);
    append(expected, framed(frame(60000, 1)));
    bench.link.flush();
  }
  bench.link.trim();
  bench.write(std::span(whole).subspan(30000));
  const auto frames = bench.receive();
  REQUIRE(frames.size() == 1);
  CHECK(frames[0] == frame(60000, 3));
  while (got.size() < expected.size()) {
    append(got, bench.drain());
    bench.link.flush();
  }
  CHECK(got == expected);
  bench.link.trim();
  CHECK(bench.receive().empty());
}
