#include "core/icmp/host_error.h"

namespace cordon::icmp {
namespace {

// Values of the kernel's interface (linux/errqueue.h, asm-generic/errno.h), written out so that this mapping
// stays a pure function of numbers.
constexpr std::uint8_t kOriginLocal = 1;
constexpr std::uint8_t kOriginIcmp = 2;
constexpr std::uint8_t kOriginIcmpv6 = 3;
constexpr std::uint32_t kMessageSize = 90;         // EMSGSIZE
constexpr std::uint32_t kNetUnreachable = 101;     // ENETUNREACH
constexpr std::uint32_t kConnectionRefused = 111;  // ECONNREFUSED
constexpr std::uint32_t kHostUnreachable = 113;    // EHOSTUNREACH

std::optional<ErrorReport> from_v4(const HostError& error) {
  if (error.type == 11 && error.code == 0) return ErrorReport{ErrorKind::kTimeExceeded, 0};
  if (error.type != 3) return std::nullopt;
  switch (error.code) {  // RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1
    case 0:
    case 6:
    case 11: return ErrorReport{ErrorKind::kNetUnreachable, 0};
    case 1:
    case 5:
    case 7:
    case 8:
    case 12: return ErrorReport{ErrorKind::kHostUnreachable, 0};
    case 2: return ErrorReport{ErrorKind::kProtocolUnreachable, 0};
    case 3: return ErrorReport{ErrorKind::kPortUnreachable, 0};
    case 4: return ErrorReport{ErrorKind::kPacketTooBig, error.info};
    case 9:
    case 10:
    case 13:
    case 14:
    case 15: return ErrorReport{ErrorKind::kAdminProhibited, 0};
    default: return std::nullopt;
  }
}

std::optional<ErrorReport> from_v6(const HostError& error) {
  if (error.type == 2) return ErrorReport{ErrorKind::kPacketTooBig, error.info};
  if (error.type == 3 && error.code == 0) return ErrorReport{ErrorKind::kTimeExceeded, 0};
  if (error.type == 4 && error.code == 1) return ErrorReport{ErrorKind::kProtocolUnreachable, 0};
  if (error.type != 1) return std::nullopt;
  switch (error.code) {  // RFC 4443 section 3.1
    case 0: return ErrorReport{ErrorKind::kNetUnreachable, 0};
    case 1:
    case 5:
    case 6: return ErrorReport{ErrorKind::kAdminProhibited, 0};
    case 2:
    case 3: return ErrorReport{ErrorKind::kHostUnreachable, 0};
    case 4: return ErrorReport{ErrorKind::kPortUnreachable, 0};
    default: return std::nullopt;
  }
}

// The kernel found it out without a message from the network.
std::optional<ErrorReport> from_local(const HostError& error) {
  switch (error.error) {
    case kMessageSize: return ErrorReport{ErrorKind::kPacketTooBig, error.info};
    case kNetUnreachable: return ErrorReport{ErrorKind::kNetUnreachable, 0};
    case kHostUnreachable: return ErrorReport{ErrorKind::kHostUnreachable, 0};
    case kConnectionRefused: return ErrorReport{ErrorKind::kPortUnreachable, 0};
    default: return std::nullopt;
  }
}

}  // namespace

std::optional<ErrorReport> to_guest_error(const HostError& error) {
  switch (error.origin) {
    case kOriginLocal: return from_local(error);
    case kOriginIcmp: return from_v4(error);
    case kOriginIcmpv6: return from_v6(error);
    default: return std::nullopt;
  }
}

}  // namespace cordon::icmp
