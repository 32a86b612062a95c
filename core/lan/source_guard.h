// check_source() with a memory: the one question each packet of the guest has to pass.
#pragma once

#include "core/base/time.h"
#include "core/lan/addresses.h"
#include "core/lan/slaac_table.h"

namespace cordon::lan {

class SourceGuard {
 public:
  // kAssigned, or why the packet is dropped; never kSelfMade.
  [[nodiscard]] SourceCheck check(const LanConfig& config, net::MacAddress source_mac,
                                  const wire::Packet& packet, base::Instant now);

 private:
  SlaacTable self_made_;
};

}  // namespace cordon::lan
