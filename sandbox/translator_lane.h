// A lane: all that one worker of the translator has, and its loop.
//
// Theory of operation. Link, gate and worker are made before the lockdown; serve() runs in a thread of its
// own for all lanes but the first, which is the main thread's. A lane's link is of one kind or another
// (translator_link.h). Lanes share nothing but their WorkerGroup
// (core/plane/shared_link.h); a lane that is alone has none and pays for none. A lane ends when its channel
// or link ends or when the group is stopped, and then stops the group: no worker goes on without the others.
#pragma once

#include <array>
#include <optional>

#include "core/link/capture_link.h"
#include "core/link/fault_link.h"
#include "core/plane/shared_link.h"
#include "core/plane/worker.h"
#include "sandbox/channel.h"
#include "sandbox/translator_link.h"
#include "sandbox/translator_process.h"

namespace cordon::sandbox {

// The channel inside the worker's loop.
class ChannelSource final : public plane::PollHandler {
 public:
  // `events`: the worker, or what sorts for it.
  ChannelSource(ChannelGate& gate, plane::Worker& worker, flow::GateEvents& events)
      : gate_(gate), worker_(worker), events_(events) {}
  void on_ready(std::uint32_t events, base::Instant now) override;
  // Output is watched only while the channel is full.
  void adjust();
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  ChannelGate& gate_;
  plane::Worker& worker_;
  flow::GateEvents& events_;
  bool watching_output_ = false;
  bool closed_ = false;
};

// Totals go to the broker at most once a second and only when they moved, so an idle translator sleeps.
class CounterReporter {
 public:
  CounterReporter(ChannelGate& gate, const plane::Worker& worker, const plane::SharedLink* shared)
      : gate_(gate), worker_(worker), shared_(shared) {}
  // How long the next turn may wait.
  base::Duration tick(base::Instant now);
  // The last word, if there is one.
  void finish();

 private:
  using Values = std::array<std::uint64_t, plane::kCounters>;
  [[nodiscard]] bool moved() const {
    return sent_ != worker_.counters().values() ||
           (shared_ != nullptr && sent_shared_ != shared_->counters().values());
  }
  void send();

  ChannelGate& gate_;
  const plane::Worker& worker_;
  const plane::SharedLink* shared_;
  Values sent_{};
  Values sent_shared_{};
  base::Instant next_;
};

struct LaneSetup {
  const TranslatorConfig& config;
  const plane::WorkerConfig& worker;  // its share of the limits
  link::Capabilities offloads;
  plane::WorkerGroup* group = nullptr;  // nullptr: alone
  unsigned number = 0;
  bool bulk_queue = false;
  VhostPort* vhost = nullptr;
};

class Lane {
 public:
  // Reserves everything; may throw std::bad_alloc.
  explicit Lane(const LaneSetup& setup);
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  [[nodiscard]] plane::Worker& worker() { return worker_; }
  // One turn. False: the lane has ended.
  [[nodiscard]] bool turn();
  // Tells the others, and the broker the last counters.
  void finish();
  [[nodiscard]] const GuestLink& guest_link() const { return link_; }

 private:
  [[nodiscard]] link::Link& chosen_link();
  [[nodiscard]] link::Link& outer_link();

  plane::WorkerGroup* group_;
  unsigned number_;
  GuestLink link_;
  std::optional<link::CaptureLink> captured_;
  std::optional<link::FaultLink> faulty_;
  std::optional<plane::SharedLink> shared_;
  ChannelGate gate_;
  plane::Worker worker_;
  std::optional<plane::InboundSorter> sorter_;
  ChannelSource channel_;
  CounterReporter counters_;
};

}  // namespace cordon::sandbox
