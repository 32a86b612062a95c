// In place of sandbox/translator_lanes.cc. Nothing here may allocate: there is a filter.
#include "tests/hostile/rogue/agent.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sandbox/control.h"
#include "sandbox/descriptors.h"
#include "sandbox/translator_lanes.h"

namespace cordon::rogue {
namespace {

alignas(4096) std::array<std::byte, kArena> arena;

// The link does not block, and of the calls that wait the filter leaves one: the loop's.
int loop = -1;

void find_loop() {
  constexpr int kMost = 128;
  epoll_event event{};
  for (int fd = 0; fd < kMost && loop < 0; ++fd)
    if (::epoll_wait(fd, &event, 1, 0) >= 0) loop = fd;
}

void rest() {
  epoll_event event{};
  ::epoll_wait(loop, &event, 1, 1);
}

void take(void* into, std::size_t size) {
  auto* at = static_cast<std::byte*>(into);
  while (size > 0) {
    const ssize_t got = ::read(sandbox::control::kSecondFd, at, size);
    if (got == 0) ::_exit(0);
    if (got < 0) {
      if (errno != EAGAIN && errno != EINTR) ::_exit(0);
      rest();
      continue;
    }
    at += got;
    size -= static_cast<std::size_t>(got);
  }
}

void give(const void* from, std::size_t size) {
  const auto* at = static_cast<const std::byte*>(from);
  while (size > 0) {
    const ssize_t put = ::write(sandbox::control::kSecondFd, at, size);
    if (put < 0) {
      if (errno != EAGAIN && errno != EINTR) ::_exit(0);
      rest();
      continue;
    }
    at += put;
    size -= static_cast<std::size_t>(put);
  }
}

std::int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

Result make(const Call& call) {
  const auto& a = call.arguments;
  const long value = ::syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
  return {value, value == -1 ? errno : 0};
}

void count_up(const Command& command) {
  for (std::size_t i = 0; i < command.bump.size(); ++i) {
    if (command.bump.at(i) == 0) continue;
    std::uint32_t number = 0;
    std::byte* const at = arena.data() + command.bump.at(i);
    std::memcpy(&number, at, sizeof number);
    ++number;
    if (command.wrap.at(i) != 0 && number >= command.wrap.at(i)) number = 0;
    std::memcpy(at, &number, sizeof number);
  }
}

Tally repeat(const Command& command) {
  Tally tally;
  const std::int64_t end = now_ms() + static_cast<std::int64_t>(command.milliseconds);
  for (std::uint64_t i = 0; command.times == 0 || i < command.times; ++i) {
    if (command.milliseconds != 0 && i % 64 == 0 && now_ms() >= end) break;
    const Result result = make(command.call);
    ++tally.calls;
    if (result.value >= 0) {
      ++tally.done;
      tally.bytes += static_cast<std::uint64_t>(result.value);
      count_up(command);
    } else {
      if (tally.first_error == 0) tally.first_error = result.error;
      tally.last_error = result.error;
    }
    if (command.third.number >= 0) make(command.third);
    if (command.second.number < 0 || result.value < 0) continue;
    constexpr int kMostTries = 100'000;
    bool done = false;
    for (int n = 0; n < kMostTries && !(done = make(command.second).value >= 0); ++n)
      if (command.third.number >= 0) make(command.third);
    if (done) ++tally.second_done;
  }
  return tally;
}

void spin(std::uint64_t milliseconds) {
  const std::int64_t end = now_ms() + static_cast<std::int64_t>(milliseconds);
  while (now_ms() < end) {
  }
}

std::uint64_t recurse(std::uint64_t depth) {  // NOLINT(misc-no-recursion)
  std::array<volatile char, 4096> page;
  page[depth % page.size()] = 1;
  if (depth == 0) return 0;
  return recurse(depth - 1) + static_cast<std::uint64_t>(page[depth % page.size()]);
}

void touch(std::uint64_t address) {
  auto* const at = reinterpret_cast<volatile std::uint8_t*>(address);
  const std::uint8_t value = *at;
  *at = value;
}

// The code may be nothing that a compiler has made.
void jump(std::uint64_t address) { reinterpret_cast<void (*)()>(address)(); }

void obey(const Command& command) {
  switch (command.order) {
    case Order::kPut: take(arena.data() + command.offset, command.size); return;
    case Order::kGet: give(arena.data() + command.offset, command.size); return;
    case Order::kCall: {
      const Result result = make(command.call);
      give(&result, sizeof result);
      return;
    }
    case Order::kRepeat: {
      const Tally tally = repeat(command);
      give(&tally, sizeof tally);
      return;
    }
    case Order::kSpin: spin(command.milliseconds); break;
    case Order::kRecurse: recurse(~std::uint64_t{0}); break;
    case Order::kTouch: touch(command.address); break;
    case Order::kJump: jump(command.address); break;
  }
  const Result done{};
  give(&done, sizeof done);
}

}  // namespace
}  // namespace cordon::rogue

namespace cordon::sandbox {

void run_lanes(const LanesAtWork& /*work*/) {
  namespace rogue = cordon::rogue;
  tell_ready();
  rogue::find_loop();
  rogue::Hello hello;
  hello.arena = reinterpret_cast<std::uintptr_t>(rogue::arena.data());
  hello.code = reinterpret_cast<std::uintptr_t>(&rogue::obey);
  hello.stack = reinterpret_cast<std::uintptr_t>(&hello);
  rogue::give(&hello, sizeof hello);
  for (;;) {
    rogue::Command command;
    rogue::take(&command, sizeof command);
    rogue::obey(command);
  }
}

}  // namespace cordon::sandbox
