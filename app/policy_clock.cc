#include "app/policy_clock.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>

namespace cordon::app {
namespace {

// No date is next: only a set clock wakes. Far beyond any date that a policy can name.
constexpr time_t kFar = time_t{1} << 40U;

}  // namespace

PolicyClock::PolicyClock() : timer_(::timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC)) {}

std::size_t PolicyClock::passed(base::WallTime now) const {
  return static_cast<std::size_t>(std::ranges::upper_bound(dates_, now) - dates_.begin());
}

void PolicyClock::watch(const std::vector<std::shared_ptr<const policy::PolicySet>>& policies,
                        base::WallTime now) {
  dates_.clear();
  const auto add = [&](base::WallTime date) {
    if (date != base::WallTime::max()) dates_.push_back(date);
  };
  for (const auto& policy : policies) {
    for (const policy::Ruleset& file : policy->files()) {
      add(file.expires);
      for (const auto direction : {policy::Direction::kEgress, policy::Direction::kIngress})
        for (const policy::Rule& rule : file.rules(direction)) add(rule.until);
    }
  }
  std::ranges::sort(dates_);
  const auto twins = std::ranges::unique(dates_);
  dates_.erase(twins.begin(), twins.end());
  passed_ = passed(now);
  looked_ = before_ = now;
  arm();
}

void PolicyClock::arm() {
  itimerspec at{};
  if (passed_ < dates_.size()) {
    const auto date = dates_[passed_].time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(date);
    at.it_value.tv_sec = seconds.count();
    at.it_value.tv_nsec = std::chrono::nanoseconds{date - seconds}.count();
    // Zero would disarm it; a date before 1970 has passed by any clock that a kernel can have.
    if (at.it_value.tv_sec < 0 || (at.it_value.tv_sec == 0 && at.it_value.tv_nsec == 0))
      at.it_value = {.tv_sec = 0, .tv_nsec = 1};
  } else if (!dates_.empty()) {
    at.it_value.tv_sec = kFar;
  }
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, nullptr);
}

bool PolicyClock::wake(base::WallTime now) {
  // ECANCELED: the clock was set. Either way the clock itself says what has passed.
  std::uint64_t expirations = 0;
  [[maybe_unused]] const auto got = ::read(timer_.get(), &expirations, sizeof expirations);
  const std::size_t count = passed(now);
  const bool moved = count != passed_;
  if (moved) before_ = looked_;
  passed_ = count;
  looked_ = now;
  arm();
  return moved;
}

}  // namespace cordon::app
