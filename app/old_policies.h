// The policies that were in force before. Live flows name their rules until they have been judged again, and
// a flow that drains is judged by the one that had admitted it until its time is over.
//
// Few are kept: a flow whose policy is forgotten is judged by the present one alone, and its records say that
// the rule is not known any more.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "app/broker_token.h"
#include "app/host_view.h"
#include "core/base/time.h"
#include "policy/ruleset.h"

namespace cordon::app {

struct OldPolicy {
  std::shared_ptr<const policy::PolicySet> policy;
  HostView view;              // of the host by this policy's own settings
  base::Instant drain_until;  // its flows may live on until then although nothing allows them any more
  bool draining = false;
  std::uint32_t last_epoch = 0;  // of the judge, while it was in force
};

class OldPolicies {
 public:
  static constexpr std::size_t kMost = 8;

  // `drain`: what the policy that came now gives to the flows of all before it; it shortens what an earlier
  // one gave, and never lengthens it.
  void push(std::shared_ptr<const policy::PolicySet> policy, HostView view, std::uint32_t last_epoch,
            base::Duration drain, base::Instant now);
  // nullptr: forgotten, or the present one.
  [[nodiscard]] const OldPolicy* find(PolicyTag tag) const;
  // After a change of the host.
  void refresh();
  // The next end of a drain; never(): none.
  [[nodiscard]] base::Instant next_end() const;
  // True: a drain has ended, and its flows are to be judged again.
  bool end_drains(base::Instant now);
  // All flows were judged in this epoch or later. The newest stays for records that are still to come.
  void on_reviewed(std::uint32_t epoch);
  [[nodiscard]] const auto& all() const { return all_; }

 private:
  std::deque<OldPolicy> all_;  // newest first
};

}  // namespace cordon::app
