// What changed about the host, for the audit log: at most one record in ten seconds, however often addresses
// come and go in between. It tells the difference to what was told last.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/time.h"
#include "netlink/host_state.h"
#include "policy/audit_record.h"

namespace cordon::app {

class HostNews {
 public:
  static constexpr base::Duration kSettle = std::chrono::milliseconds{200};  // changes come in bursts
  static constexpr base::Duration kWindow = std::chrono::seconds{10};
  static constexpr std::size_t kMostNames = 16;  // of each list; the rest is a number

  void start(const netlink::HostState& state) { told_ = read(state); }
  // The state changed.
  void note(base::Instant now);
  [[nodiscard]] base::Instant due() const { return due_; }
  struct News {
    policy::HostChanges changes;  // empty lists: routes
    std::uint64_t count = 0;      // of note()s
  };
  // At due().
  [[nodiscard]] std::optional<News> take(const netlink::HostState& state, base::Instant now);

 private:
  struct Facts {
    std::vector<std::string> addresses, links, uplinks;  // sorted
  };
  static Facts read(const netlink::HostState& state);
  Facts told_;
  std::uint64_t count_ = 0;
  base::Instant due_ = base::Instant::never();
  base::Instant quiet_until_;
};

}  // namespace cordon::app
