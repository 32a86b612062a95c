// What the audit tests share: a pipe as sink, and events.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "policy/audit_log.h"
#include "tests/policy/testing.h"

namespace cordon::policy::testing {

using base::Instant;
using namespace std::chrono_literals;

// 2026-09-25T10:11:12.123456Z
inline constexpr WallTime kWall{std::chrono::sys_days{std::chrono::year{2026} / 9 / 25} + 10h + 11min + 12s +
                                123456us};
inline constexpr Instant kStart = Instant::from_nanos(1'000'000'000);

inline std::shared_ptr<const PolicySet> shared(PolicySet policy) {
  return std::make_shared<const PolicySet>(std::move(policy));
}

// What an AuditLog wrote, through a pipe.
class Pipe {
 public:
  explicit Pipe(int capacity = 1 << 20) {
    std::array<int, 2> fds{};
    REQUIRE(::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    reader_ = base::Fd{fds[0]};
    writer_ = base::Fd{fds[1]};
    REQUIRE(::fcntl(writer_.get(), F_SETPIPE_SZ, capacity) >= capacity);
  }
  [[nodiscard]] int fd() const { return writer_.get(); }
  void close_reader() { reader_.reset(); }
  std::vector<std::string> lines() {
    std::array<char, 65536> chunk{};
    for (ssize_t got = 0; (got = ::read(reader_.get(), chunk.data(), chunk.size())) > 0;)
      rest_.append(chunk.data(), static_cast<std::size_t>(got));
    std::vector<std::string> out;
    for (std::size_t end = 0; (end = rest_.find('\n')) != std::string::npos; rest_.erase(0, end + 1))
      out.push_back(rest_.substr(0, end));
    return out;
  }

 private:
  base::Fd reader_, writer_;
  std::string rest_;
};

inline AuditEvent denied(const PolicySet& policy, std::string_view address, std::uint16_t port) {
  const auto tuple = flow_to(address, port);
  return {.action = AuditAction::kFlowDenied,
          .tuple = tuple,
          .decision = decide(policy, tuple, facts(routed())),
          .facts = routed()};
}

inline std::string field(const std::string& line, std::string_view key) {
  const auto start = line.find("\"" + std::string{key} + "\":");
  if (start == std::string::npos) return "(absent)";
  const auto value = start + key.size() + 3;
  return line.substr(value, line.find_first_of(",}", value) - value);
}

}  // namespace cordon::policy::testing
