// A hostile stream in hostile pieces. The input is read as pairs: a byte that says how much of the rest comes
// in one piece, and the piece. What the link hands out must be what a plain reading of the whole stream says.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "core/link/stream_link.h"

using namespace cordon;

namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

using Text = std::vector<std::uint8_t>;

struct Plain {
  std::vector<Text> frames;
  bool out_of_step = false;
};

Plain read_plainly(const Text& wire) {
  Plain out;
  for (std::size_t at = 0; wire.size() - at >= 4;) {
    std::uint32_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) length = length << 8U | wire[at + i];
    if (length < 14 || length > 65553) {
      out.out_of_step = true;
      return out;
    }
    if (length > wire.size() - at - 4) break;
    const auto* const begin = wire.data() + at + 4;
    out.frames.emplace_back(begin, begin + length);
    at += 4 + length;
  }
  return out;
}

void take(link::StreamLink& link, std::vector<Text>& frames, std::size_t room) {
  std::vector<link::Frame> got(room);
  do {
    const std::size_t n = link.receive(got);
    require(n <= room);
    for (std::size_t i = 0; i < n; ++i) {
      const auto* const begin = reinterpret_cast<const std::uint8_t*>(got[i].bytes.data());
      frames.emplace_back(begin, begin + got[i].bytes.size());
    }
  } while (link.pending());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 100'000) return 0;
  std::array<int, 2> fds{};
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
  base::Fd guest{fds[0]};
  link::StreamLink link{base::Fd{fds[1]}};
  Text wire;
  std::vector<Text> frames;
  bool dead = false;
  for (std::size_t at = 0; at < size;) {
    const std::size_t how = data[at++];
    // 0 to 239: that many bytes; above: thousands.
    const std::size_t piece = std::min(size - at, how < 240 ? how : (how - 239) * 1024);
    if (piece == 0) {
      link.trim();
      continue;
    }
    if (!dead) wire.insert(wire.end(), data + at, data + at + piece);
    require(::send(guest.get(), data + at, piece, MSG_DONTWAIT | MSG_NOSIGNAL) ==
                static_cast<ssize_t>(piece) ||
            dead);
    at += piece;
    // Enough calls for all of it: each takes what one recv() brings.
    for (int i = 0; i < 2; ++i) take(link, frames, 1 + how % 64);
    dead = dead || link.dead();
  }
  guest.reset();
  for (int i = 0; i < 2; ++i) take(link, frames, 64);
  const Plain plain = read_plainly(wire);
  require(frames == plain.frames);
  require(link.dead());
  require((link.end() == link::StreamEnd::kBadLength) == plain.out_of_step);
  require(link.stats().bad_length == (plain.out_of_step ? 1U : 0U));
  return 0;
}
