#include "core/link/tap_offloads.h"

#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "core/link/tap_link.h"

namespace cordon::link {

base::Result<Capabilities> set_tap_offloads(int tap, const Capabilities& wanted) {
  constexpr unsigned long kTso = TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  constexpr unsigned long kUso = kTunFUso4 | kTunFUso6;  // taken only together, and only since Linux 6.2
  for (const bool uso : {true, false}) {
    const Capabilities offer{.tso = wanted.checksum && wanted.tso,
                             .uso = wanted.checksum && wanted.uso && uso,
                             .checksum = wanted.checksum};
    const unsigned long flags =
        (offer.checksum ? TUN_F_CSUM : 0UL) | (offer.tso ? kTso : 0UL) | (offer.uso ? kUso : 0UL);
    if (::ioctl(tap, TUNSETOFFLOAD, flags) == 0) return offer;
  }
  return base::fail_errno("set tap offloads", "TUNSETOFFLOAD");
}

}  // namespace cordon::link
