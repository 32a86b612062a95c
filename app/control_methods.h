// The methods of the control socket, as a table: a new one is a row and a function. docs/control.md has an
// example of each.
//
// A method answers at once, or it begins a job that is stepped until it has an answer; each step is bounded.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <variant>

#include "app/control_protocol.h"
#include "app/control_source.h"
#include "core/base/time.h"

namespace cordon::app {

// One reload at a time, whoever asks. Who comes while one is under way waits for the one after it: the files
// may have been read before he changed them.
class ReloadDesk {
 public:
  // How long the launcher may take: it reads files that may be on a slow disk, with limits of its own.
  static constexpr base::Duration kPatience = std::chrono::seconds{20};

  explicit ReloadDesk(ControlSource& source) : source_(source) {}

  // The number of the round whose outcome answers this request.
  [[nodiscard]] std::uint64_t join(base::Instant now);
  enum class Progress : std::uint8_t { kWaiting, kDone, kLost };
  [[nodiscard]] Progress look(std::uint64_t round, base::Instant now);
  // When look() has something to say; at once when the launcher has answered.
  [[nodiscard]] base::Instant due() const;

 private:
  void ask(base::Instant now);

  ControlSource& source_;
  std::uint64_t round_ = 0;     // the last one asked for
  std::uint64_t finished_ = 0;  // the last one that has ended
  std::uint64_t lost_ = 0;      // the last one without an answer
  std::uint64_t wanted_ = 0;    // the last one somebody waits for
  std::uint64_t count_ = 0;     // ReloadOutcome::count when it was asked for
  base::Instant asked_at_;
};

struct ControlContext {
  ControlSource& source;
  ReloadDesk& reloads;
};

class ControlJob {
 public:
  virtual ~ControlJob() = default;
  // Bounded work. No value: not yet.
  virtual std::optional<RpcReply> step(base::Instant now) = 0;
  // When to step again.
  [[nodiscard]] virtual base::Instant due() const = 0;
};
using Begun = std::variant<RpcReply, std::unique_ptr<ControlJob>>;

struct ControlMethod {
  std::string_view name;
  // `params`: an object, or null for none.
  Begun (*begin)(const ControlContext& context, const Json& params, base::Instant now);
};
[[nodiscard]] std::span<const ControlMethod> control_methods();

[[nodiscard]] Begun begin_request(const ControlContext& context, const RpcRequest& request,
                                  base::Instant now);

// "17.3" and back.
[[nodiscard]] std::string to_text(flow::Id id);
[[nodiscard]] std::optional<flow::Id> parse_flow_id(std::string_view text);

}  // namespace cordon::app
