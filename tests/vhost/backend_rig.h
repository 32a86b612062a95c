// A back-end on one end of a socket pair, and a front end's hands on the other.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/vhost/backend.h"
#include "tests/vhost/wire.h"

namespace cordon::vhost::test {

struct FakePath final : DataPath {
  [[nodiscard]] std::uint16_t next_available(bool transmit) const override {
    return positions[transmit ? 1 : 0];
  }
  void apply(const PairState& now) override {
    ++applied;
    state = now;
    // All of it can be read, whatever was given back.
    for (const auto& queue : {state.receive, state.transmit})
      if (queue.ring) touch += std::to_integer<unsigned>(queue.ring->descriptors.back());
  }
  std::array<std::uint16_t, 2> positions{};
  PairState state;
  unsigned applied = 0;
  unsigned touch = 0;
};

inline base::Fd make_event() { return base::Fd{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)}; }
inline base::Fd make_memfd(std::size_t size) {
  base::Fd fd{::memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  REQUIRE(fd.valid());
  REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
  return fd;
}

inline std::size_t open_fds() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) ++count;
  return count;
}

class BackendRig {
 public:
  using Status = Backend::Status;
  explicit BackendRig(const DeviceOptions& options = {}) : paths(options.pairs), pause(0) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    front = base::Fd{ends[0]};
    for (FakePath& path : paths) pointers.push_back(&path);
    backend.emplace(base::Fd{ends[1]}, options, pointers, pause);
  }
  void send(const Bytes& bytes, const std::vector<int>& fds = {}) {
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    std::vector<std::byte> control(CMSG_SPACE(fds.size() * sizeof(int)));
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* const c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
    }
    REQUIRE(::sendmsg(front.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  Status say(std::uint32_t request, const Bytes& payload = {}, const std::vector<int>& fds = {},
             std::uint32_t flags = kPlain) {
    send(message_bytes(request, flags, payload), fds);
    return backend->serve();
  }
  // With NEED_REPLY: the number that came back.
  std::optional<std::uint64_t> ask(std::uint32_t request, const Bytes& payload = {},
                                   const std::vector<int>& fds = {}) {
    REQUIRE(say(request, payload, fds, kNeedReply) == Status::kOpen);
    const Bytes got = answer();
    if (got.size() != 20) return std::nullopt;
    std::uint64_t value = 0;
    std::memcpy(&value, &got[12], sizeof value);
    return value;
  }
  Bytes answer() {
    Bytes bytes(1024);
    const ssize_t n = ::recv(front.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return bytes;
  }
  [[nodiscard]] std::string complaint() const { return std::string{backend->complaint()}; }

  // A guest of 256 KiB at 0 with queues at known places.
  static constexpr std::uint64_t kUser = 0x7f00'0000'0000;
  static constexpr std::size_t kSize = 0x40000;
  void negotiate(std::uint64_t features = 1ULL << 32U | 1ULL << 30U) {
    REQUIRE(say(2, number(features)) == Status::kOpen);
  }
  void give_memory() {
    if (!memory) memory = make_memfd(kSize);
    REQUIRE(ask(5, mem_table({{0, kSize, kUser, 0}}), {memory.get()}) == 0);
  }
  void start(std::uint32_t queue, int kick) {
    const std::uint64_t at = kUser + queue * 0x8000ULL;
    REQUIRE(ask(8, state(queue, 256)) == 0);
    REQUIRE(ask(9, addr(queue, 0, at, at + 0x5000, at + 0x4000)) == 0);
    REQUIRE(ask(12, number(queue), {kick}) == 0);
    REQUIRE(ask(18, state(queue, 1)) == 0);
  }

  std::vector<FakePath> paths;
  std::vector<DataPath*> pointers;
  Pause pause;
  base::Fd front;
  base::Fd memory;
  std::optional<Backend> backend;
};

}  // namespace cordon::vhost::test
