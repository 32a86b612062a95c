#include "app/guest_sources.h"

#include <algorithm>

namespace cordon::app {

GuestSources::GuestSources(const GuestPlan& plan) : families_(plan.families()) {
  if (plan.services.slaac && plan.ipv6 && plan.ipv6->prefix_length == 64)
    self_made_prefix_ = net::Prefix::containing(plan.ipv6->address, 64);
}

bool GuestSources::admit(const net::IpAddress& source, base::Instant now) {
  if (std::ranges::any_of(families_, [&](const FamilyPlan& f) { return f.is_guest(source); })) return true;
  if (!self_made_prefix_ || !self_made_prefix_->contains(source) || source == self_made_prefix_->address())
    return false;
  const bool ours = std::ranges::any_of(
      families_, [&](const FamilyPlan& f) { return f.gateway == source || f.dns == source; });
  return !ours && self_made_.admit(source, now);
}

}  // namespace cordon::app
