// Counts the guest's flows under the policy's limits: who may still come in, and whose bytes are used up.
//
// Each scope (policy/limit_scopes.h) has a number of live flows, a meter for new ones and a sum of bytes. A
// flow is admitted when every scope it falls under has room, and only then is it counted in any of them. It
// stays in these scopes until it is released, or moved to those of the rule that a reloaded policy admits it
// by.
//
// A scope is the same one in the next policy when its file and its rule have the same name: what was counted
// stays counted. Nobody is cut because fewer connections are allowed now; a budget that is smaller than what
// is spent already is used up.
//
// Shapers have numbers that the data path knows them by. One that is still somebody's keeps its meaning: the
// next policy takes other numbers for scopes of its own, and only when none is left does it share one.
//
// New flows are metered by GCRA (ITU-T I.371, "virtual scheduling"), which is a token bucket in whole
// nanoseconds: a scope of N per period lets N in at once after a pause, then one each period/N, so at most 2N
// in any period. No clock, no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
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
    flow::Shaping shaping;
    std::optional<Refusal> refused;
  };

  explicit FlowLimits(const policy::PolicySet& policy);

  // The limits of the next policy. Live accounts stay in the scopes that are still there.
  void replace(const policy::PolicySet& next, base::Instant now);

  [[nodiscard]] const policy::LimitScopes& scopes() const { return scopes_; }
  [[nodiscard]] Admission admit(const Ids& ids, base::Instant now);
  // A live flow, from now on under these scopes; room or not. `account` 0: it has none yet. An account that
  // becomes metered takes its next volume for what nobody is charged.
  [[nodiscard]] Admission move(std::uint32_t account, const Ids& ids);
  // The same for one that stays where replace() left it.
  [[nodiscard]] Admission stay(std::uint32_t account) const;
  // Once for each account that admit() or move() gave out.
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
    std::uint16_t shaper = 0;
    std::uint16_t outer = 0;
    bool live = false;
    bool metered = false;
    bool unmeasured = false;  // its next volume is where counting begins
  };
  // What makes a scope the same one in the next policy.
  struct Name {
    std::string file;
    std::size_t twin = 0;  // files before it that have the same name
    std::string rule;      // "": the head of the file
    policy::Direction direction = policy::Direction::kEgress;
    friend bool operator==(const Name&, const Name&) = default;
  };
  static std::vector<Name> names_of(const policy::PolicySet& policy, const policy::LimitScopes& scopes);
  // Numbers for the shapers of scopes_: those that they had, or new ones.
  void number_shapers(const policy::LimitScopes& old_scopes, const std::vector<Name>& old_names);
  [[nodiscard]] std::uint16_t free_shaper(const std::array<bool, flow::kMaxShapers + 1>& taken) const;
  [[nodiscard]] flow::Shaping numbered(const flow::Shaping& by_policy) const;
  [[nodiscard]] flow::Shaping shaping_of(const Account& account) const;
  void use_shapers(Account& account, std::uint16_t shaper, std::uint16_t outer);

  [[nodiscard]] policy::Reason full(std::uint16_t scope, base::Instant now) const;
  [[nodiscard]] bool used_up(std::uint16_t scope) const;
  [[nodiscard]] bool is_metered(const Ids& ids) const;
  [[nodiscard]] Account* find(std::uint32_t account);
  [[nodiscard]] std::uint32_t open_account(const Ids& ids);
  void enter(const Ids& ids);
  void leave(const Ids& ids);

  policy::LimitScopes scopes_;
  std::vector<Name> names_;  // of scopes_
  std::vector<Gauge> gauges_;
  std::vector<Account> accounts_;
  std::uint32_t free_ = 0;  // account number; 0: none
  std::uint32_t live_ = 0;
  // By the policy's own number of a shaper: the data path's.
  std::array<std::uint16_t, flow::kMaxShapers + 1> number_{};
  std::uint16_t guest_ = 0;  // the number of the whole guest's shaper; 0: it has none
  // By the data path's number: how many accounts draw from it, and how fast it is.
  std::array<std::uint32_t, flow::kMaxShapers + 1> users_{};
  std::array<std::uint64_t, flow::kMaxShapers + 1> rates_{};
};

}  // namespace cordon::app
