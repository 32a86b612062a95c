// FlowLimits: what is carried over to the next policy.
#include <algorithm>
#include <utility>

#include "app/flow_limits.h"
#include "core/base/check.h"

namespace cordon::app {

std::vector<FlowLimits::Name> FlowLimits::names_of(const policy::PolicySet& policy,
                                                   const policy::LimitScopes& scopes) {
  const auto files = policy.files();
  std::vector<Name> names;
  names.reserve(scopes.size());
  for (std::uint16_t id = 1; id <= scopes.size(); ++id) {
    const policy::LimitScope& scope = scopes.scope(id);
    const auto layer = static_cast<std::size_t>(scope.layer);
    const policy::Ruleset& file = files[layer];
    const auto twin = std::ranges::count(files.first(layer), file.name, &policy::Ruleset::name);
    Name name{.file = file.name, .twin = static_cast<std::size_t>(twin), .rule = {}, .direction = {}};
    if (scope.rule != policy::Decision::kNoRule) {
      name.rule = file.rules(scope.direction)[static_cast<std::size_t>(scope.rule)].name;
      name.direction = scope.direction;
    }
    names.push_back(std::move(name));
  }
  return names;
}

void FlowLimits::replace(const policy::PolicySet& next, base::Instant now) {
  const policy::LimitScopes old_scopes = std::exchange(scopes_, policy::LimitScopes{next});
  const std::vector<Name> old_names = std::exchange(names_, names_of(next, scopes_));
  const std::vector<Gauge> old_gauges = std::exchange(gauges_, std::vector<Gauge>(scopes_.size()));
  std::vector<std::uint16_t> heir(old_names.size());  // by old scope; 0: none
  for (std::size_t old = 0; old < old_names.size(); ++old) {
    const auto found = std::ranges::find(names_, old_names[old]);
    if (found == names_.end()) continue;
    const auto index = static_cast<std::size_t>(found - names_.begin());
    heir[old] = static_cast<std::uint16_t>(index + 1);
    Gauge& gauge = gauges_[index];
    gauge.bytes = old_gauges[old].bytes;
    // A slower meter's debt must not outlast what the new one can have.
    const policy::NewFlows& fresh = scopes_.scope(heir[old]).limits.fresh;
    const std::int64_t period = std::int64_t{fresh.seconds} * 1'000'000'000;
    gauge.next = std::min(old_gauges[old].next, now + base::Duration{period});
  }
  const std::uint16_t old_guest = guest_;
  number_shapers(old_scopes, old_names);
  const flow::Shaping guest = numbered(scopes_.shaping({}));
  for (Account& account : accounts_) {
    if (!account.live) continue;
    Ids ids{};
    std::size_t count = 0;
    for (const std::uint16_t id : account.ids)
      if (id != 0 && heir[id - 1U] != 0) ids[count++] = heir[id - 1U];
    account.ids = ids;
    // The guest's shaper is about all flows; a rule's stays with those that it had.
    const bool own = account.shaper != 0 && account.shaper != old_guest;
    use_shapers(account, own ? account.shaper : guest.shaper, own ? guest.shaper : std::uint16_t{0});
    enter(ids);
  }
}

// A shaper that was there before keeps its number, the guest's too.
void FlowLimits::number_shapers(const policy::LimitScopes& old_scopes, const std::vector<Name>& old_names) {
  const auto old_number = std::exchange(number_, {});
  const flow::Shaping guest = scopes_.shaping({});
  std::array<bool, flow::kMaxShapers + 1> taken{};
  if (guest.shaper == 0) guest_ = 0;
  number_[guest.shaper] = guest_;
  taken[guest_] = true;
  const auto each_new = [&](auto&& run) {
    for (std::uint16_t id = 1; id <= scopes_.size(); ++id) {
      const std::uint16_t shaper = scopes_.scope(id).shaper;
      if (shaper != 0 && shaper != guest.shaper && number_[shaper] == 0) run(shaper, names_[id - 1U]);
    }
  };
  each_new([&](std::uint16_t shaper, const Name& name) {
    const auto found = std::ranges::find(old_names, name);
    if (found == old_names.end() || name.rule.empty()) return;
    const auto old_id = static_cast<std::uint16_t>(found - old_names.begin() + 1);
    number_[shaper] = old_number[old_scopes.scope(old_id).shaper];
    taken[number_[shaper]] = true;
  });
  const auto take = [&] {
    const std::uint16_t number = free_shaper(taken);
    taken[number] = true;
    return number;
  };
  if (guest.shaper != 0 && guest_ == 0) number_[guest.shaper] = guest_ = take();
  each_new([&](std::uint16_t shaper, const Name&) { number_[shaper] = take(); });
  for (std::uint16_t id = 1; id <= scopes_.size(); ++id) {
    const policy::LimitScope& scope = scopes_.scope(id);
    if (scope.shaper != 0) rates_[number_[scope.shaper]] = scope.limits.rate;
  }
  if (guest_ != 0) rates_[guest_] = guest.rate;
}

// Nobody's, or else that of the fewest: these flows then share the rate of the new scope.
std::uint16_t FlowLimits::free_shaper(const std::array<bool, flow::kMaxShapers + 1>& taken) const {
  std::uint16_t best = 0;
  for (std::uint16_t number = 1; number <= flow::kMaxShapers; ++number) {
    if (taken[number]) continue;
    if (best == 0 || users_[number] < users_[best]) best = number;
  }
  CORDON_CHECK(best != 0);
  return best;
}

flow::Shaping FlowLimits::numbered(const flow::Shaping& by_policy) const {
  flow::Shaping out = by_policy;
  out.shaper = number_[by_policy.shaper];
  out.outer = number_[by_policy.outer];
  return out;
}

flow::Shaping FlowLimits::shaping_of(const Account& account) const {
  flow::Shaping out{.shaper = account.shaper, .outer = account.outer};
  if (out.shaper != 0) out.rate = rates_[out.shaper];
  if (out.outer != 0) out.outer_rate = rates_[out.outer];
  return out;
}

void FlowLimits::use_shapers(Account& account, std::uint16_t shaper, std::uint16_t outer) {
  if (account.shaper != 0) --users_[account.shaper];
  if (account.outer != 0) --users_[account.outer];
  account.shaper = shaper;
  account.outer = outer;
  if (shaper != 0) ++users_[shaper];
  if (outer != 0) ++users_[outer];
}

}  // namespace cordon::app
