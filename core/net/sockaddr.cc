#include "core/net/sockaddr.h"

#include <cstring>

namespace cordon::net {

SockAddr to_sockaddr(const Endpoint& endpoint, std::uint32_t scope_id) {
  SockAddr out;
  if (endpoint.address.is_v4()) {
    out.v4.sin_family = AF_INET;
    out.v4.sin_port = htons(endpoint.port.number());
    std::memcpy(&out.v4.sin_addr, endpoint.address.bytes().data(), 4);
    out.length = sizeof out.v4;
  } else {
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(endpoint.port.number());
    out.v6.sin6_scope_id = scope_id;
    std::memcpy(&out.v6.sin6_addr, endpoint.address.bytes().data(), 16);
    out.length = sizeof out.v6;
  }
  return out;
}

std::optional<Endpoint> from_sockaddr(const SockAddr& address) {
  if (address.generic.sa_family == AF_INET) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &address.v4.sin_addr, 4);
    return Endpoint{Ipv4Address{bytes}, Port{ntohs(address.v4.sin_port)}};
  }
  if (address.generic.sa_family == AF_INET6) {
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &address.v6.sin6_addr, 16);
    return Endpoint{Ipv6Address{bytes}, Port{ntohs(address.v6.sin6_port)}};
  }
  return std::nullopt;
}

}  // namespace cordon::net
