#include "app/old_policies.h"

#include <algorithm>
#include <utility>

namespace cordon::app {

void OldPolicies::push(std::shared_ptr<const policy::PolicySet> policy, HostView view,
                       std::uint32_t last_epoch, base::Duration drain, base::Instant now) {
  for (OldPolicy& old : all_) {
    if (!old.draining) continue;
    old.drain_until = std::min(old.drain_until, now + drain);
    old.draining = old.drain_until > now;
  }
  all_.push_front({.policy = std::move(policy),
                   .view = std::move(view),
                   .drain_until = now + drain,
                   .draining = drain > base::Duration::zero(),
                   .last_epoch = last_epoch});
  if (all_.size() > kMost) all_.pop_back();
}

const OldPolicy* OldPolicies::find(PolicyTag tag) const {
  const auto found = std::ranges::find_if(
      all_, [&](const OldPolicy& old) { return tag_of_generation(old.policy->generation()) == tag; });
  return found == all_.end() ? nullptr : &*found;
}

void OldPolicies::refresh() {
  for (OldPolicy& old : all_) old.view.refresh();
}

base::Instant OldPolicies::next_end() const {
  base::Instant next = base::Instant::never();
  for (const OldPolicy& old : all_)
    if (old.draining) next = std::min(next, old.drain_until);
  return next;
}

bool OldPolicies::end_drains(base::Instant now) {
  bool ended = false;
  for (OldPolicy& old : all_) {
    if (!old.draining || old.drain_until > now) continue;
    old.draining = false;
    ended = true;
  }
  return ended;
}

void OldPolicies::on_reviewed(std::uint32_t epoch) {
  // Epochs wrap: the difference tells which one is later.
  const auto done = [&](const OldPolicy& old) {
    return !old.draining && static_cast<std::int32_t>(epoch - old.last_epoch) > 0;
  };
  while (all_.size() > 1 && done(all_.back())) all_.pop_back();
}

}  // namespace cordon::app
