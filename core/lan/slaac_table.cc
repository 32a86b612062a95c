#include "core/lan/slaac_table.h"

#include <algorithm>
#include <span>

namespace cordon::lan {

bool SlaacTable::admit(const net::IpAddress& address, base::Instant now) {
  const auto live = std::span(entries_).first(count_);
  if (const auto known = std::ranges::find(live, address, &Entry::address); known != live.end()) {
    known->used = now;
    return true;
  }
  if (count_ < kMost) {
    entries_[count_++] = {address, now};
    return true;
  }
  const auto oldest = std::ranges::min_element(live, {}, &Entry::used);
  if (now - oldest->used < kIdle) return false;
  *oldest = {address, now};
  return true;
}

}  // namespace cordon::lan
