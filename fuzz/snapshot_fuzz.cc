// Any bytes as a snapshot of a host. What is accepted is the same when it is written and read again, and has
// an answer for every destination.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "app/host_snapshot.h"

using namespace cordon;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 16384) return 0;
  const base::Bytes bytes = base::as_bytes(data, size);
  std::string text;
  for (const std::byte b : bytes) text.push_back(static_cast<char>(std::to_integer<std::uint8_t>(b)));
  const auto snapshot = app::read_snapshot(text);
  if (!snapshot) {
    require(!snapshot.error().empty() && snapshot.error().find('\n') == std::string::npos);
    return 0;
  }
  const auto again = app::read_snapshot(app::write_snapshot(*snapshot));
  require(again && again->network == snapshot->network && again->taken == snapshot->taken);
  app::SnapshotHost host{snapshot->network};
  for (const char* const to :
       {"0.0.0.0", "10.1.2.3", "127.0.0.1", "255.255.255.255", "::", "::1", "2001:db8::1"}) {
    const auto answer = host.route(*net::parse_ip(to));
    require(answer.has_value());
    static_cast<void>(host.state().is_host(*net::parse_ip(to)));
  }
  static_cast<void>(host.state().uplinks());
  return 0;
}
