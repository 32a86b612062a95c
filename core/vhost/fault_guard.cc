#include "core/vhost/fault_guard.h"

#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>

#include "core/vhost/memory.h"

namespace cordon::vhost::fault_guard {
namespace {

struct Watched {
  std::atomic<std::uintptr_t> start{0};  // 0: free
  std::atomic<std::size_t> size{0};
};

// Two whole tables while one replaces the other, and two logs.
std::array<Watched, 2 * kMaxRegions + 2> watched;
std::atomic<bool> lost{false};

// Only what a handler may call: two atomics and mmap(2). errno is the interrupted code's.
void on_sigbus(int, siginfo_t* info, void*) {
  const int saved = errno;
  const auto address = std::bit_cast<std::uintptr_t>(info->si_addr);
  for (const Watched& entry : watched) {
    const std::uintptr_t start = entry.start.load();
    const std::size_t size = entry.size.load();
    if (start == 0 || address < start || address - start >= size) continue;
    lost.store(true);
    void* const zeros = ::mmap(std::bit_cast<void*>(start), size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED) break;
    errno = saved;
    return;
  }
  std::abort();
}

}  // namespace

base::Result<void> install() {
  struct sigaction action{};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO;
  ::sigemptyset(&action.sa_mask);
  if (::sigaction(SIGBUS, &action, nullptr) != 0) return base::fail_errno("sigaction", "SIGBUS");
  return {};
}

bool watch(std::span<std::byte> mapping) {
  for (Watched& entry : watched) {
    if (entry.start.load() != 0) continue;
    entry.size.store(mapping.size());
    entry.start.store(std::bit_cast<std::uintptr_t>(mapping.data()));
    return true;
  }
  return false;
}

void forget(std::span<std::byte> mapping) {
  for (Watched& entry : watched)
    if (entry.start.load() == std::bit_cast<std::uintptr_t>(mapping.data())) entry.start.store(0);
}

void lose_memory() { lost.store(true); }

bool memory_lost() { return lost.load(std::memory_order_relaxed); }

}  // namespace cordon::vhost::fault_guard
