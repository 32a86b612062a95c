// A host's network as it was in one instant: what `cordon policy snapshot` writes and `explain --snapshot`
// reads back. Routes are looked up as a kernel without policy routing rules does: the local table, then main,
// then default; in each the longest prefix, of equal ones the lowest metric. What it cannot know: policy
// routing rules (it only says that there were some), which hop of a multipath route a flow hashes to (the
// first is taken), which of several equal IPv6 routers answers.
#pragma once

#include <expected>
#include <map>
#include <string>
#include <string_view>

#include "app/host_view.h"
#include "core/base/time.h"
#include "netlink/dump.h"

namespace cordon::app {

struct Snapshot {
  base::WallTime taken{};
  netlink::Network network;
};

[[nodiscard]] std::string write_snapshot(const Snapshot& snapshot);

inline constexpr std::size_t kMaxSnapshotBytes = 16UL * 1024 * 1024;
// The error is "LINE:COLUMN: what" for JSON that is none, "/routes/3/gateway: what" for a value that is
// wrong.
[[nodiscard]] std::expected<Snapshot, std::string> read_snapshot(std::string_view text);

class SnapshotHost final : public HostSource {
 public:
  explicit SnapshotHost(const netlink::Network& network);

  [[nodiscard]] const netlink::HostState& state() const override { return state_; }
  [[nodiscard]] base::Result<netlink::FibAnswer> route(const net::IpAddress& destination) override {
    return look_up(destination);
  }

 private:
  // By table; longest prefix first, then lowest metric.
  using Table = std::vector<netlink::Route>;
  [[nodiscard]] netlink::FibAnswer look_up(const net::IpAddress& destination) const;
  [[nodiscard]] netlink::FibAnswer answer(const netlink::Route& route) const;

  netlink::HostState state_;
  std::map<std::uint32_t, Table> tables_;
  std::uint32_t loopback_ = 0;
};

}  // namespace cordon::app
