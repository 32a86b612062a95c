// The two storms of hostile_messages: each says so many messages, most of them as a well-behaved peer in the
// state it has come to would, others changed, and checks after each what must hold.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <string>

namespace cordon::hostile {

// The same sequence everywhere (std::uniform_int_distribution is not).
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t number() { return engine_(); }
  std::uint32_t word() { return static_cast<std::uint32_t>(engine_() >> 32U); }
  // 0 to n - 1
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine_() % n); }
  bool once_in(unsigned n) { return below(n) == 0; }
  template <class T, std::size_t N>
  const T& one_of(const T (&values)[N]) {  // NOLINT(modernize-avoid-c-arrays)
    return values[below(N)];
  }

 private:
  std::mt19937_64 engine_;
};

// Values at which somebody may have counted wrong.
inline std::uint64_t odd_value(Dice& dice) {
  constexpr std::uint64_t kValues[] = {
      0,          1,          2,          3,          7,          8,          64,           127,
      128,        255,        256,        4095,       4096,       32768,      65535,        65536,
      0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 1ULL << 32, 1ULL << 63, ~0ULL - 4095, ~0ULL};
  return dice.once_in(8) ? dice.number() : dice.one_of(kValues);
}

struct StormReport {
  std::map<std::string, std::uint64_t> outcomes;  // they add up to the messages
  std::map<std::string, std::uint64_t> notes;     // what else happened
  std::uint64_t lives = 0;                        // channels or connections
  double slowest_ms = 0;                          // of one answer
};

// In a private world (tests/support/world.h), with real sockets.
StormReport channel_storm(std::uint64_t messages, std::uint64_t seed);
StormReport vhost_storm(std::uint64_t messages, std::uint64_t seed);

}  // namespace cordon::hostile
