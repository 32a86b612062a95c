// Counts the guest's flows under the policy's limits: who may still come in, and whose bytes are used up.
//
// Each scope (policy/limit_scopes.h) has a number of live flows, a meter for new ones and a sum of bytes. A
// flow is admitted when every scope it falls under has room, and only then is it counted in any of them. It
// stays in the scopes it was admitted under until it is released, whatever rule a later review finds for it.
//
// New flows are metered by GCRA (ITU-T I.371, "virtual scheduling"), which is a token bucket in whole
// nanoseconds: a scope of N per period lets N in at once after a pause, then one each period/N, so at most 2N
// in any period. No clock, no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/time.h"
#include "policy/limit_scopes.h"

namespace cordon::app {

class FlowLimits {
 public:
  using Ids = policy::LimitScopes::Ids;
  struct Refusal {
    std::uint16_t scope = 0;  // the outermost that has no room
    policy::Reason reason = policy::Reason::kNone;
  };
  struct Admission {
    std::uint32_t account = 0;  // 0: refused, or no limit is about this flow
    bool metered = false;       // some scope has a byte budget
    std::optional<Refusal> refused;
  };

  explicit FlowLimits(const policy::PolicySet& policy);

  [[nodiscard]] const policy::LimitScopes& scopes() const { return scopes_; }
  [[nodiscard]] Admission admit(const Ids& ids, base::Instant now);
  // Once for each account that admit() gave out.
  void release(std::uint32_t account);
  // All that the flow carried so far; less than before is ignored.
  void on_volume(std::uint32_t account, std::uint64_t total);
  // The outermost scope of the flow whose budget is used up.
  [[nodiscard]] std::optional<std::uint16_t> over_budget(std::uint32_t account) const;

  [[nodiscard]] std::uint32_t connections(std::uint16_t scope) const { return gauges_[scope - 1U].flows; }
  [[nodiscard]] std::uint64_t bytes(std::uint16_t scope) const { return gauges_[scope - 1U].bytes; }
  [[nodiscard]] std::uint32_t accounts() const { return live_; }

 private:
  struct Gauge {
    std::uint32_t flows = 0;
    base::Instant next;  // when a new flow would be exactly on time
    std::uint64_t bytes = 0;
  };
  struct Account {
    Ids ids{};
    std::uint64_t counted = 0;  // bytes already in the gauges
    std::uint32_t next_free = 0;
    bool live = false;
  };
  [[nodiscard]] policy::Reason full(std::uint16_t scope, base::Instant now) const;
  [[nodiscard]] bool used_up(std::uint16_t scope) const;
  [[nodiscard]] Account* find(std::uint32_t account);

  policy::LimitScopes scopes_;
  std::vector<Gauge> gauges_;
  std::vector<Account> accounts_;
  std::uint32_t free_ = 0;  // account number; 0: none
  std::uint32_t live_ = 0;
};

}  // namespace cordon::app
