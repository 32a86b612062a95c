// The only bridge between our addresses and struct sockaddr.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>

#include "core/net/endpoint.h"

namespace cordon::net {

struct SockAddr {
  union {
    sockaddr generic;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_storage storage;
  };
  socklen_t length = 0;
  SockAddr() : storage{} {}
};

// `scope_id`: interface index for IPv6 link-local destinations, else 0.
[[nodiscard]] SockAddr to_sockaddr(const Endpoint& endpoint, std::uint32_t scope_id = 0);
[[nodiscard]] std::optional<Endpoint> from_sockaddr(const SockAddr& address);

}  // namespace cordon::net
