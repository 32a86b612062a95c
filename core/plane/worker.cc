#include "core/plane/worker.h"

namespace cordon::plane {

class Worker::Core {
 public:
  Counters counters;
  bool stopped = false;
};

Worker::Worker(const WorkerConfig&, link::Link&, flow::Gate&) : core_(std::make_unique<Core>()) {}
Worker::Worker(const WorkerConfig&, link::Link&, flow::Gate&, const Clock&)
    : core_(std::make_unique<Core>()) {}
Worker::~Worker() = default;
void Worker::add_poll_source(int, PollHandler&) {}
void Worker::want_output(int, bool) {}
void Worker::remove_poll_source(int) {}
void Worker::run_once(base::Duration) {}
void Worker::run() {}
void Worker::stop() { core_->stopped = true; }
void Worker::on_grant(flow::Grant) {}
void Worker::on_refuse(flow::Id, flow::RefuseHow) {}
void Worker::on_revoke(flow::Id, flow::RefuseHow) {}
void Worker::on_gate_writable() {}
const Counters& Worker::counters() const { return core_->counters; }
std::uint32_t Worker::live_flows() const { return 0; }

}  // namespace cordon::plane
