#include "app/flow_limits.h"

#include <algorithm>
#include <limits>

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

FlowLimits::FlowLimits(const policy::PolicySet& policy) : scopes_(policy), gauges_(scopes_.size()) {}

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
    Gauge& gauge = gauges_[id - 1U];
    ++gauge.flows;
    if (limits.fresh.count != 0) gauge.next = std::max(gauge.next, now) + interval(limits.fresh);
    out.metered |= limits.bytes != 0;
  }
  if (free_ == 0) {
    accounts_.emplace_back();
    free_ = static_cast<std::uint32_t>(accounts_.size());
  }
  out.account = free_;
  Account& account = accounts_[free_ - 1];
  free_ = account.next_free;
  account = {.ids = ids, .live = true};
  ++live_;
  return out;
}

FlowLimits::Account* FlowLimits::find(std::uint32_t account) {
  if (account == 0 || account > accounts_.size() || !accounts_[account - 1].live) return nullptr;
  return &accounts_[account - 1];
}

void FlowLimits::release(std::uint32_t account) {
  Account* entry = find(account);
  if (entry == nullptr) return;
  for (const std::uint16_t id : entry->ids) {
    if (id == 0) break;
    --gauges_[id - 1U].flows;
  }
  *entry = {.next_free = free_};
  free_ = account;
  --live_;
}

void FlowLimits::on_volume(std::uint32_t account, std::uint64_t total) {
  Account* entry = find(account);
  if (entry == nullptr || total <= entry->counted) return;
  const std::uint64_t more = total - entry->counted;
  entry->counted = total;
  for (const std::uint16_t id : entry->ids) {
    if (id == 0) break;
    gauges_[id - 1U].bytes = saturating_add(gauges_[id - 1U].bytes, more);
  }
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
