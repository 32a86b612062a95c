#include "sandbox/broker_budget.h"

#include <algorithm>
#include <bit>
#include <charconv>

namespace cordon::sandbox {
namespace {

constexpr base::Duration kCalmAfter = std::chrono::seconds{2};
constexpr std::uint64_t kMegabyte = std::uint64_t{1} << 20U;

// The number after `word` in the line that begins with `head`.
std::optional<std::uint64_t> field(std::string_view text, std::string_view head, std::string_view word) {
  const std::size_t line = text.find(head);
  if (line == std::string_view::npos || (line != 0 && text[line - 1] != '\n')) return std::nullopt;
  text = text.substr(line, text.find('\n', line) - line);
  const std::size_t at = text.find(word);
  if (at == std::string_view::npos) return std::nullopt;
  return number_at(text.substr(at + word.size()), 0);
}

}  // namespace

std::optional<std::uint64_t> number_at(std::string_view text, unsigned index) {
  for (;; --index) {
    const std::size_t begin = text.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos) return std::nullopt;
    text.remove_prefix(begin);
    const std::size_t end = std::min(text.find_first_of(" \t\n"), text.size());
    if (index == 0) {
      std::uint64_t value = 0;
      const auto [stop, error] = std::from_chars(text.data(), text.data() + end, value);
      if (error != std::errc{} || stop != text.data() + end) return std::nullopt;
      return value;
    }
    text.remove_prefix(end);
  }
}

std::optional<std::uint64_t> pages_in_use(std::string_view sockstat) {
  const auto tcp = field(sockstat, "TCP:", " mem ");
  const auto udp = field(sockstat, "UDP:", " mem ");
  if (!tcp || !udp) return std::nullopt;
  return *tcp + *udp;
}

std::uint64_t default_socket_memory(const KernelMemory& kernel) {
  // The kernel's default for tcp_mem[1] is a sixteenth of the memory (net/ipv4/tcp.c).
  const std::uint64_t pressure = kernel.tcp_pressure != 0 ? kernel.tcp_pressure : kernel.ram / 16;
  return std::max(pressure / 4, 16 * kMegabyte);
}

void SocketBudget::observe(std::uint64_t used, base::Instant now) {
  used_ = used;
  if (used > bytes_ / 2) tight_ = true;
  if (used >= bytes_ / 4)
    low_since_ = base::Instant::never();
  else
    low_since_ = std::min(low_since_, now);
  if (tight_ && low_since_ != base::Instant::never() && now - low_since_ >= kCalmAfter) tight_ = false;
}

std::uint32_t SocketBudget::share(std::uint64_t flows) const {
  const std::uint64_t equal = std::min(bytes_ / std::max<std::uint64_t>(flows, 1), socket_most_);
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(std::bit_floor(equal), kLeastShare, std::uint64_t{1} << 30U));
}

base::Duration SocketBudget::period() const {
  if (tight_) return std::chrono::milliseconds{50};
  return used_ > bytes_ / 8 ? std::chrono::milliseconds{10} : std::chrono::milliseconds{100};
}

}  // namespace cordon::sandbox
