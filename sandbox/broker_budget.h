// How much kernel memory the sockets of one guest may hold; pure.
//
// A TCP socket grows by autotuning to what tcp_rmem and tcp_wmem allow, tens of megabytes; a thousand of them
// whose readers stand still can take all of tcp_mem, and then every connection of the host suffers. Locking
// each buffer small would cure that and spoil single streams. So nothing is locked while the flows together
// are few enough, or use little: only when what they really hold passes half of the budget are their buffers
// limited to an equal share each. What is held can then not grow beyond that half, what arrived until the
// limits were in place, and one share per flow. Over the whole budget no new flow is admitted.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/base/time.h"

namespace cordon::sandbox {

// The kernel's own limits, as far as they could be read.
struct KernelMemory {
  std::uint64_t tcp_pressure = 0;                        // tcp_mem[1] in bytes; 0: not readable
  std::uint64_t ram = 0;                                 // in bytes
  std::uint64_t socket_most = std::uint64_t{10} << 20U;  // tcp_rmem[2] + tcp_wmem[2]
};
[[nodiscard]] KernelMemory read_kernel_memory();  // broker_memory.cc
// A quarter of what makes the kernel nervous.
[[nodiscard]] std::uint64_t default_socket_memory(const KernelMemory& kernel);
// /proc/net/sockstat: pages of all TCP and UDP sockets of the machine.
[[nodiscard]] std::optional<std::uint64_t> pages_in_use(std::string_view sockstat);
// "4096 131072 33554432": the number at `index`.
[[nodiscard]] std::optional<std::uint64_t> number_at(std::string_view text, unsigned index);

class SocketBudget {
 public:
  // A share is never smaller: a flow must be able to go on.
  static constexpr std::uint32_t kLeastShare = 64U << 10U;

  SocketBudget(std::uint64_t bytes, std::uint64_t socket_most) : bytes_(bytes), socket_most_(socket_most) {}

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  // Could so many flows exceed the budget at all? If not, nobody needs to look.
  [[nodiscard]] bool matters(std::uint64_t flows) const { return flows > bytes_ / socket_most_; }
  // What all flows hold.
  void observe(std::uint64_t used, base::Instant now);
  [[nodiscard]] std::uint64_t used() const { return used_; }
  // Buffers are limited to share() each.
  [[nodiscard]] bool tight() const { return tight_; }
  // A power of two, so that it seldom changes.
  [[nodiscard]] std::uint32_t share(std::uint64_t flows) const;
  [[nodiscard]] bool admits(std::uint64_t flows) const {
    return used_ <= bytes_ && flows * kLeastShare <= 2 * bytes_;
  }
  // Until the next look: what can arrive in that time is part of the bound.
  [[nodiscard]] base::Duration period() const;

 private:
  std::uint64_t bytes_;
  std::uint64_t socket_most_;
  std::uint64_t used_ = 0;
  bool tight_ = false;
  base::Instant low_since_ = base::Instant::never();
};

}  // namespace cordon::sandbox
