// Any bytes as messages of rtnetlink, and what they say folded into a host state. The kernel writes them, but
// names of interfaces and routes are anybody's who may configure a network namespace we look at. Input:
// records of length (1 byte), seconds that pass (1 byte), message; the length in its header is made right,
// as the caller of the parser has checked it.
#include <cstring>
#include <memory>

#include "fuzz/input.h"
#include "netlink/host_state.h"
#include "netlink/parse.h"

using namespace cordon;
using namespace cordon::netlink;
using fuzz::require;

namespace {

void check(const Event& event) {
  if (const auto* link = std::get_if<Change<Link>>(&event)) {
    require(link->value.index != 0);
    require(link->value.name.find('\0') == std::string::npos);
  }
  if (const auto* address = std::get_if<Change<Address>>(&event))
    require(address->value.prefix_length <= address->value.address.bit_count());
  if (const auto* route = std::get_if<Change<Route>>(&event)) require(!route->replaces || route->present);
}

void check(const HostState& state, const Event& event, HostState::Effect effect) {
  require(!effect.gained || effect.changed);
  const auto* address = std::get_if<Change<Address>>(&event);
  // Whatever else is the case: an address that is there is the host's, and one that went lingers.
  if (address != nullptr && address->present) {
    require(state.is_host(address->value.address));
    require(state.is_assigned(address->value.address));
  }
  if (const auto* route = std::get_if<Change<Route>>(&event);
      route != nullptr && route->present && route->value.type == RouteType::kLocal)
    require(state.is_host(route->value.destination.address()));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 8192) return 0;
  fuzz::Input in{data, size};
  HostState state;
  auto now = base::Instant::from_nanos(1'000'000'000);
  bool dumping = false;
  for (int i = 0; i < 64 && !in.empty(); ++i) {
    const std::size_t length = in.u8();
    const unsigned step = in.u8();
    now = now + std::chrono::seconds{step & 0x1fU};
    if ((step & 0x80U) != 0) {
      if (dumping)
        static_cast<void>(state.end_dump(now));
      else
        state.begin_dump();
      dumping = !dumping;
    }
    static_cast<void>(state.expire(now));
    const base::Bytes body = in.bytes(length);
    if (body.size() < sizeof(nlmsghdr)) continue;
    // Aligned as in a receive buffer, and with nothing behind it.
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(body.size());
    std::ranges::copy(body, buffer.get());
    auto* const message = reinterpret_cast<nlmsghdr*>(buffer.get());
    message->nlmsg_len = static_cast<std::uint32_t>(body.size());
    static_cast<void>(parse_rule(*message));
    static_cast<void>(parse_fib_answer(*message));
    static_cast<void>(parse_error(*message));
    const auto event = parse_event(*message);
    if (!event) continue;
    check(*event);
    const HostState::Effect effect = state.apply(*event, now);
    if (!dumping) check(state, *event, effect);
  }
  if (dumping) static_cast<void>(state.end_dump(now));
  for (const net::Prefix& prefix : state.host_prefixes()) require(state.is_host(prefix.address()));
  const auto uplinks = state.uplinks();
  require(std::ranges::is_sorted(uplinks));
  static_cast<void>(state.onlink_prefixes());
  static_cast<void>(state.broadcast_prefixes());
  // Half a minute after everything was removed nothing is left.
  static_cast<void>(state.expire(now + kLingerAfterRemoval));
  require(state.next_expiry() > now + kLingerAfterRemoval);
  return 0;
}
