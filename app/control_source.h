// What the control socket's methods (control_methods.h) see of the broker. broker_source.h implements it over
// the real one, tests invent one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "app/json.h"
#include "app/metrics_text.h"
#include "core/base/time.h"
#include "core/flow/types.h"
#include "core/net/prefix.h"

namespace cordon::app {

// All that is set must hold; nothing set is every flow.
struct FlowFilter {
  std::optional<flow::Id> id;
  std::optional<net::Prefix> remote;  // the address the guest named, or the one that was dialed
  std::optional<net::Port> port;      // the remote one
  std::optional<flow::Protocol> protocol;
  std::optional<std::string> rule;  // "NAME", or "RULESET/NAME"
};

// What became of the reloads that were asked for by ask_reload().
struct ReloadOutcome {
  std::uint64_t count = 0;  // of them; 0: none yet
  bool nothing = false;     // there was no file: all stays as it was
  bool in_force = false;    // the last one's policy is
  bool changed = false;     // and it is another one than before
  Json diagnostics;         // what the loader had to say, warnings too
};

class ControlSource {
 public:
  virtual ~ControlSource() = default;

  [[nodiscard]] virtual Json status(base::Instant now) = 0;

  // A walk over all flows, in steps of bounded work: `cursor` starts at 0, each step says where the next one
  // begins; none: it was the last. Flows that begin or end meanwhile may be in it or not; none is in it
  // twice.
  struct FlowPage {
    Json::Array flows;
    std::optional<std::uint64_t> next;
  };
  [[nodiscard]] virtual FlowPage flows(std::uint64_t cursor, std::size_t most, base::Instant now) = 0;
  struct KillStep {
    std::uint64_t killed = 0;
    std::optional<std::uint64_t> next;
  };
  [[nodiscard]] virtual KillStep kill(const FlowFilter& filter, std::uint64_t cursor, base::Instant now) = 0;

  virtual void ask_reload() = 0;
  [[nodiscard]] virtual const ReloadOutcome& last_reload() const = 0;
  struct PolicyInForce {
    std::uint64_t generation = 0;
    std::string hash;
  };
  [[nodiscard]] virtual PolicyInForce policy() const = 0;

  virtual void metrics(MetricsText& out, base::Instant now) = 0;
};

}  // namespace cordon::app
