// Hostile frames without end, from a seed: the rows' frames and valid conversations, mutated where it hurts
// and repaired so that they get past the first check. What the guest is told is fed back, so that segments
// lie in and around the window of connections that really exist.
#pragma once

#include <random>

#include "tests/hostile/frames/rows.h"
#include "tests/hostile/frames/well_formed.h"

namespace cordon::hostile {

class Generator {
 public:
  Generator(const Place& place, std::uint64_t seed);
  // The next frame; valid until the next call.
  const Frame& next();
  // What was sent to the guest.
  void hear(const Seen& seen);

 private:
  static constexpr std::size_t kTalks = 24;
  // A TCP connection as the guest sees it.
  struct Talk {
    bool v6 = false;
    std::uint16_t port = 0;
    std::uint32_t seq = 0, ack = 0;
    std::uint8_t scale = 0;
    std::uint16_t window = 0;
    bool open = false;
  };
  std::uint32_t roll(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }
  bool chance(std::uint32_t in_100) { return roll(100) < in_100; }
  std::uint32_t any32() { return static_cast<std::uint32_t>(random_()); }

  Buffer bytes(std::size_t size);
  Buffer tcp();
  Buffer options();
  Buffer datagram();
  Buffer echo();
  void cut(const Buffer& l4, const Ip& ip, bool v6);
  Buffer mutated(Buffer frame);
  void dress(Frame& frame);

  const Place& place_;
  Maker make_;
  std::mt19937_64 random_;
  Frames corpus_;
  std::array<Talk, kTalks> talks_;
  Frames pieces_;  // fragments that wait for their turn
  Frame frame_{Buffer{}};
  Buffer noise_;
};

// Makes lengths and checksums of an IP packet in `frame` right, as far as its headers can be read.
void repair(Buffer& frame, bool lengths);

}  // namespace cordon::hostile
