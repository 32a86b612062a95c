// The dates in a policy (`until`, `expires`) on the wall clock, which may jump either way.
//
// A timer wakes at the next date and whenever the clock is set (TFD_TIMER_CANCEL_ON_SET, timerfd_create(2)).
// What matters is how many dates have passed: live flows are judged again when that number is another one.
// New flows need no timer, as each is decided by the clock itself.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "core/base/fd.h"
#include "core/base/time.h"
#include "policy/ruleset.h"

namespace cordon::app {

class PolicyClock {
 public:
  // Makes the timer: before lockdown. Without one (poll_fd() < 0) dates do not wake anybody.
  PolicyClock();
  [[nodiscard]] int poll_fd() const { return timer_.get(); }

  // The dates of all of them.
  void watch(const std::vector<std::shared_ptr<const policy::PolicySet>>& policies, base::WallTime now);
  // poll_fd() was readable. True: another set of dates has passed.
  bool wake(base::WallTime now);
  // A time at which the dates that passed in the last wake() had not (or had, when the clock went back).
  [[nodiscard]] base::WallTime before() const { return before_; }
  [[nodiscard]] const std::vector<base::WallTime>& dates() const { return dates_; }

 private:
  void arm();
  [[nodiscard]] std::size_t passed(base::WallTime now) const;

  base::Fd timer_;
  std::vector<base::WallTime> dates_;  // ascending
  std::size_t passed_ = 0;
  base::WallTime looked_{};  // when passed_ was right
  base::WallTime before_{};
};

}  // namespace cordon::app
