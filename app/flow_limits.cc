#include "app/flow_limits.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace cordon::app {
namespace {

// Rounded up: never more often than the policy says.
base::Duration interval(const policy::NewFlows& fresh) {
  const std::int64_t period = std::int64_t{fresh.seconds} * 1'000'000'000;
  return base::Duration{(period + fresh.count - 1) / fresh.count};
}

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return a > std::numeric_limits<std::uint64_t>::max() - b ? std::numeric_limits<std::uint64_t>::max()
                                                           : a + b;
}

}  // namespace

FlowLimits::FlowLimits(const policy::PolicySet& policy)
    : scopes_(policy), names_(names_of(policy, scopes_)), gauges_(scopes_.size()) {
  number_shapers(scopes_, {});
}

bool FlowLimits::used_up(std::uint16_t scope) const {
  const std::uint64_t budget = scopes_.scope(scope).limits.bytes;
  return budget != 0 && gauges_[scope - 1U].bytes >= budget;
}

policy::Reason FlowLimits::full(std::uint16_t scope, base::Instant now) const {
  const policy::Limits& limits = scopes_.scope(scope).limits;
  const Gauge& gauge = gauges_[scope - 1U];
  if (used_up(scope)) return policy::Reason::kLimitBytes;
  if (limits.connections != 0 && gauge.flows >= limits.connections) return policy::Reason::kLimitConnections;
  if (limits.fresh.count != 0 && gauge.next - interval(limits.fresh) * (limits.fresh.count - 1) > now)
    return policy::Reason::kLimitNew;
  return policy::Reason::kNone;
}

bool FlowLimits::is_metered(const Ids& ids) const {
  return std::ranges::any_of(
      ids, [&](std::uint16_t id) { return id != 0 && scopes_.scope(id).limits.bytes != 0; });
}

void FlowLimits::enter(const Ids& ids) {
  for (const std::uint16_t id : ids)
    if (id != 0) ++gauges_[id - 1U].flows;
}

void FlowLimits::leave(const Ids& ids) {
  for (const std::uint16_t id : ids)
    if (id != 0) --gauges_[id - 1U].flows;
}

std::uint32_t FlowLimits::open_account(const Ids& ids) {
  if (free_ == 0) {
    accounts_.emplace_back();
    free_ = static_cast<std::uint32_t>(accounts_.size());
  }
  const std::uint32_t number = free_;
  Account& account = accounts_[number - 1];
  free_ = account.next_free;
  account = {.ids = ids, .live = true};
  ++live_;
  return number;
}

FlowLimits::Admission FlowLimits::admit(const Ids& ids, base::Instant now) {
  Admission out;
  if (ids[0] == 0) return out;
  for (const std::uint16_t id : ids) {
    if (id == 0) break;
    if (const auto reason = full(id, now); reason != policy::Reason::kNone) {
      out.refused = Refusal{.scope = id, .reason = reason};
      return out;
    }
  }
  for (const std::uint16_t id : ids) {
    if (id == 0) break;
    const policy::Limits& limits = scopes_.scope(id).limits;
    if (limits.fresh.count != 0) {
      Gauge& gauge = gauges_[id - 1U];
      gauge.next = std::max(gauge.next, now) + interval(limits.fresh);
    }
  }
  enter(ids);
  out.account = open_account(ids);
  Account& account = accounts_[out.account - 1];
  account.metered = out.metered = is_metered(ids);
  out.shaping = numbered(scopes_.shaping(ids));
  use_shapers(account, out.shaping.shaper, out.shaping.outer);
  return out;
}

FlowLimits::Admission FlowLimits::move(std::uint32_t number, const Ids& ids) {
  Account* account = find(number);
  if (account == nullptr) {
    if (ids[0] == 0) return {};
    enter(ids);
    number = open_account(ids);
    account = &accounts_[number - 1];
  } else {
    leave(account->ids);
    enter(ids);
    account->ids = ids;
  }
  const bool metered = is_metered(ids);
  account->unmeasured = metered && (account->unmeasured || !account->metered);
  account->metered = metered;
  const flow::Shaping shaping = ids[0] == 0 ? flow::Shaping{} : numbered(scopes_.shaping(ids));
  use_shapers(*account, shaping.shaper, shaping.outer);
  return {.account = number, .metered = metered, .shaping = shaping};
}

FlowLimits::Admission FlowLimits::stay(std::uint32_t number) const {
  if (number == 0 || number > accounts_.size()) return {};
  const Account& account = accounts_[number - 1];
  return {.account = number, .metered = account.metered, .shaping = shaping_of(account)};
}

FlowLimits::Account* FlowLimits::find(std::uint32_t account) {
  if (account == 0 || account > accounts_.size() || !accounts_[account - 1].live) return nullptr;
  return &accounts_[account - 1];
}

void FlowLimits::release(std::uint32_t account) {
  Account* entry = find(account);
  if (entry == nullptr) return;
  leave(entry->ids);
  use_shapers(*entry, 0, 0);
  *entry = {.next_free = free_};
  free_ = account;
  --live_;
}

void FlowLimits::on_volume(std::uint32_t account, std::uint64_t total) {
  Account* entry = find(account);
  if (entry == nullptr) return;
  const bool first = std::exchange(entry->unmeasured, false);
  if (total <= entry->counted) return;
  const std::uint64_t more = total - entry->counted;
  entry->counted = total;
  if (first) return;
  for (const std::uint16_t id : entry->ids)
    if (id != 0) gauges_[id - 1U].bytes = saturating_add(gauges_[id - 1U].bytes, more);
}

std::optional<std::uint16_t> FlowLimits::over_budget(std::uint32_t account) const {
  if (account == 0 || account > accounts_.size()) return std::nullopt;
  for (const std::uint16_t id : accounts_[account - 1].ids) {
    if (id == 0) break;
    if (used_up(id)) return id;
  }
  return std::nullopt;
}

}  // namespace cordon::app
