// Listening sockets of published ports: opened before the broker locks itself in, one per port, kept for its
// life. Thousands are fine: a port costs a descriptor, an epoll entry and 16 bytes here; the kernel's share
// is some 6 KiB.
//
// The broker has its own user namespace, so that no privilege over the host's network is left to it. Ports
// below ip_unprivileged_port_start are therefore opened by the launcher, if it may, and inherited. TCP only:
// each UDP peer gets a socket that binds the port again, which the broker may not.
//
// [::] without IPV6_V6ONLY serves both families with one socket. A port that is in use is tried again for a
// moment: an earlier instance may just be ending.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"
#include "core/base/token_bucket.h"
#include "sandbox/forward.h"

namespace cordon::sandbox {

struct Listener {
  base::Fd socket;
  std::uint16_t rule = 0;  // index
  std::uint16_t port = 0;
  std::uint32_t peers = 0;                       // UDP: flows and offers that came by it
  std::unique_ptr<base::TokenBucket> newcomers;  // UDP: new peers; made for the first one
};

// Ports the host hands to its own clients; `all` leaves them out. Readable only while there is a /proc.
struct PortSpan {
  std::uint16_t first = 0;
  std::uint16_t last = 0;
};
[[nodiscard]] PortSpan ephemeral_ports();

// How many sockets the rules ask for.
[[nodiscard]] std::uint32_t count_listeners(std::span<const ForwardRule> rules, PortSpan ephemeral);

// In the launcher: the sockets of those ports that need a privilege, when this process has it.
[[nodiscard]] base::Result<std::vector<base::Fd>> open_privileged(
    std::span<const ForwardRule> rules, PortSpan ephemeral,
    base::Duration patience = std::chrono::seconds{1});
// In the broker: what the launcher has left at the descriptors from kFirstFreeFd on.
[[nodiscard]] std::vector<base::Fd> take_inherited();

// All of them, or why not: the error names the first port that is not to be had and what to do. Ports of weak
// rules may be missing, but not all ports of one.
[[nodiscard]] base::Result<std::vector<Listener>> open_listeners(
    std::span<const ForwardRule> rules, PortSpan ephemeral, std::vector<base::Fd> inherited = {},
    base::Duration patience = std::chrono::seconds{1});

}  // namespace cordon::sandbox
