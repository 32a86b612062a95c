// What an entry of a socket's error queue (IP_RECVERR, IPV6_RECVERR) means for the guest. Pure: the driver
// copies the fields of struct sock_extended_err into HostError.
#pragma once

#include <cstdint>
#include <optional>

#include "core/icmp/errors.h"

namespace cordon::icmp {

struct HostError {
  std::uint32_t error = 0;  // ee_errno
  std::uint8_t origin = 0;  // ee_origin: 1 local, 2 ICMP, 3 ICMPv6
  std::uint8_t type = 0;    // ee_type, of the wire
  std::uint8_t code = 0;    // ee_code
  std::uint32_t info = 0;   // ee_info: the MTU for EMSGSIZE
};

// nullopt: nothing the guest should hear of (source quench, redirects, parameter problems, timestamps ...).
[[nodiscard]] std::optional<ErrorReport> to_guest_error(const HostError& error);

}  // namespace cordon::icmp
