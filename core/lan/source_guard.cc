#include "core/lan/source_guard.h"

#include "core/wire/packet.h"

namespace cordon::lan {

SourceCheck SourceGuard::check(const LanConfig& config, net::MacAddress source_mac,
                               const wire::Packet& packet, base::Instant now) {
  const SourceCheck check = check_source(config, source_mac, packet);
  if (check != SourceCheck::kSelfMade) return check;
  return self_made_.admit(packet.source, now) ? SourceCheck::kAssigned : SourceCheck::kTooManyAddresses;
}

}  // namespace cordon::lan
