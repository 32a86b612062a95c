// What the attacker's code inside the translator takes orders in, over the guest's connection.
//
// Theory of operation. `cordon_rogue` is the real program with one function exchanged (sandbox/
// translator_lanes.h): after begin, set-up and lockdown of a real translator runs the agent. That is what a
// guest has who took the data plane over: arbitrary code with its descriptors, memory, namespaces and filter.
// The agent makes any system call it is told, with memory it is given, and says what came of it; so an attack
// is written down where its oracles are, in the driver, which is outside and knows every secret.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cordon::rogue {

inline constexpr std::size_t kArena = std::size_t{4} << 20U;

// First thing the agent says.
struct Hello {
  std::uint64_t arena = 0;  // address of kArena writable bytes
  std::uint64_t code = 0;   // address of a function
  std::uint64_t stack = 0;
};

enum class Order : std::uint32_t {
  kPut = 1,  // `size` bytes follow for the arena at `offset`
  kGet,      // answer: `size` bytes of the arena
  kCall,     // one system call
  kRepeat,   // the call, then `second`, again and again; answer: Tally
  kSpin,     // all of a processor for `milliseconds`; answer: Result
  kRecurse,  // until the stack ends
  kTouch,    // reads a byte at `address`, then writes it
  kJump,     // executes what is at `address`
};

struct Call {
  std::int64_t number = -1;  // -1: none
  std::array<std::uint64_t, 6> arguments{};
};

struct Command {
  Order order = Order::kCall;
  std::uint32_t reserved = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint64_t address = 0;
  Call call;
  // kRepeat
  Call second;  // until it is done
  Call third;   // once each time, whatever comes of it
  std::uint64_t times = 0;
  std::uint64_t milliseconds = 0;       // 0: no limit
  std::array<std::uint64_t, 4> bump{};  // arena offsets of numbers of 32 bits to be counted up; 0: none
  std::array<std::uint32_t, 4> wrap{};  // and where each begins again; 0: nowhere
};

struct Result {
  std::int64_t value = 0;
  std::int64_t error = 0;  // errno, when value is -1
};

struct Tally {
  std::uint64_t calls = 0;
  std::uint64_t done = 0;   // of these, with a result that is no error
  std::uint64_t bytes = 0;  // sum of these results
  std::uint64_t second_done = 0;
  std::int64_t first_error = 0;
  std::int64_t last_error = 0;
};

}  // namespace cordon::rogue
