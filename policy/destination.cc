#include "policy/destination.h"

#include <algorithm>
#include <array>

namespace cordon::policy {
namespace {

using Octets = std::span<const std::uint8_t>;

bool starts_with(Octets bytes, std::initializer_list<std::uint8_t> start) {
  return std::ranges::equal(bytes.first(start.size()), start);
}
bool all_zero(Octets bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
}
net::Ipv4Address v4_at(Octets bytes, std::size_t at) {
  return {bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]};
}

Destination embedding(const net::IpAddress& address, net::Ipv4Address inside) {
  return {.dial = address, .embedded = inside};
}
Destination unreadable(const net::IpAddress& address) {
  return {.dial = address, .embedded = {}, .unreadable_embedding = true};
}

}  // namespace

Destination normalise(const net::IpAddress& address) {
  if (address.is_v4()) return {.dial = address};
  const auto b = address.bytes();
  if (all_zero(b.first(10))) {
    if (b[10] == 0xff && b[11] == 0xff) return {.dial = v4_at(b, 12)};  // RFC 4291 2.5.5.2
    // ::/96, RFC 4291 2.5.5.1; :: and ::1 are addresses of their own.
    const bool small = all_zero(b.subspan(10, 5)) && b[15] <= 1;
    if (b[10] == 0 && b[11] == 0 && !small) return embedding(address, v4_at(b, 12));
    return {.dial = address};
  }
  // IPv4-translated, ::ffff:0:a.b.c.d, RFC 2765: obsolete, and every translator reads it its own way.
  if (all_zero(b.first(8)) && starts_with(b.subspan(8), {0xff, 0xff, 0, 0})) return unreadable(address);
  if (starts_with(b, {0x00, 0x64, 0xff, 0x9b})) {
    if (all_zero(b.subspan(4, 8))) return embedding(address, v4_at(b, 12));  // 64:ff9b::/96, RFC 6052
    // 64:ff9b:1::/48, RFC 8215: the operator chooses where in it the IPv4 address lies. Only the /96 form at
    // its very start is beyond doubt.
    if (b[4] == 0 && b[5] == 1)
      return all_zero(b.subspan(6, 6)) ? embedding(address, v4_at(b, 12)) : unreadable(address);
    return {.dial = address};
  }
  if (starts_with(b, {0x20, 0x01, 0, 0})) {  // Teredo, RFC 4380 section 4: the client's address, inverted
    std::array<std::uint8_t, 4> client{};
    std::ranges::transform(b.subspan(12, 4), client.begin(),
                           [](std::uint8_t octet) { return static_cast<std::uint8_t>(~octet); });
    return embedding(address, net::Ipv4Address{client});
  }
  // ISATAP, RFC 5214 section 6.1: an interface identifier, possible under any prefix. Whoever runs a server
  // may give it one that carries somebody else's address, so it proves nothing and opens nothing.
  if ((b[8] & 0xfdU) == 0 && starts_with(b.subspan(9), {0x00, 0x5e, 0xfe})) return unreadable(address);
  if (starts_with(b, {0x20, 0x02})) return embedding(address, v4_at(b, 2));  // 6to4, RFC 3056
  return {.dial = address};
}

}  // namespace cordon::policy
