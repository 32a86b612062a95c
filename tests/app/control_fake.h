// A broker that a test invents, for the control socket's server.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "app/control_methods.h"
#include "app/control_source.h"

namespace cordon::app {

class FakeSource final : public ControlSource {
 public:
  Json status(base::Instant /*now*/) override { return Json::Object{{"guest", "vm-1"}}; }
  FlowPage flows(std::uint64_t cursor, std::size_t most, base::Instant /*now*/) override {
    ++pages;
    most_asked = std::max(most_asked, most);
    FlowPage page;
    for (; cursor < flow_count && page.flows.size() < most; ++cursor)
      page.flows.emplace_back(Json::Object{{"id", to_text({static_cast<std::uint32_t>(cursor), 1})},
                                           {"rule", "web"},
                                           {"remote", "192.0.2.10:443"}});
    if (cursor < flow_count) page.next = cursor;
    return page;
  }
  KillStep kill(const FlowFilter& filter, std::uint64_t cursor, base::Instant /*now*/) override {
    filters.push_back(filter);
    KillStep step{.killed = 10, .next = cursor + 1};
    if (cursor + 1 >= kill_steps) step.next.reset();
    return step;
  }
  void ask_reload() override { ++asked; }
  [[nodiscard]] const ReloadOutcome& last_reload() const override { return outcome; }
  [[nodiscard]] PolicyInForce policy() const override {
    return {.generation = generation, .hash = "sha256:00"};
  }
  void metrics(MetricsText& out, base::Instant /*now*/) override {
    out.single("cordon_flows_active", MetricsText::Type::kGauge, "Flows.", flow_count);
  }
  void loaded(bool in_force) {
    ++outcome.count;
    outcome.nothing = false;
    outcome.in_force = outcome.changed = in_force;
    if (in_force) ++generation;
  }

  std::uint64_t flow_count = 0;
  std::uint64_t kill_steps = 1;
  std::uint64_t generation = 1;
  ReloadOutcome outcome{.count = 0, .in_force = false, .diagnostics = Json::Array{}};
  unsigned asked = 0;
  unsigned pages = 0;
  std::size_t most_asked = 0;
  std::vector<FlowFilter> filters;
};

}  // namespace cordon::app
