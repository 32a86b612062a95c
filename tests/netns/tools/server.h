// What the server, the canary and the DNS server share.
#pragma once

#include "tests/netns/tools/traffic.h"

namespace cordon::traffic {

void raise_file_limit();
void make_blocking(int fd);
// Non-blocking listener; "::" means IPv4 as well.
Fd listen_tcp(const Target& local);
// A bound datagram socket that reports the address a datagram was sent to.
Fd bind_udp(const Target& local);

// One received datagram and what is needed to answer from the address it was sent to.
struct Datagram {
  sockaddr_storage peer{};
  socklen_t peer_length = 0;
  alignas(8) std::byte control[128]{};
  std::size_t control_length = 0;
  std::size_t size = 0;
};
// False when nothing came within the socket's time-out.
bool receive_datagram(int fd, std::span<std::byte> buffer, Datagram& datagram);
bool send_datagram(int fd, std::span<const std::byte> data, const Datagram& to);
[[noreturn]] void serve_udp(int fd);

}  // namespace cordon::traffic
