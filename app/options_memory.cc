#include "app/options_memory.h"

#include "policy/scalars.h"

namespace cordon::app {
namespace {

constexpr std::uint64_t kLeast = 16'000'000;
constexpr std::uint64_t kMost = 1'000'000'000'000;

}  // namespace

std::expected<std::uint64_t, UsageError> parse_socket_memory(const std::string& text) {
  if (text.empty()) return 0;
  const auto bytes = policy::parse_volume(text);
  if (!bytes || *bytes < kLeast || *bytes > kMost)
    return std::unexpected(
        UsageError{"--socket-memory " + text + ": give a size from 16MB to 1000GB, as in 256MB"});
  return *bytes;
}

}  // namespace cordon::app
