// Worker: the single-threaded shell of the data path. One link, one epoll, one gate.
//
// Theory of operation. A turn is: fire timers; wait; dispatch (link input in batches, host sockets, other
// fds); send what became due; retry what was blocked; give ended slots back. All memory is reserved in the
// constructor (MAP_NORESERVE) and committed as used, so a turn allocates nothing and needs no mmap after
// lockdown.
#pragma once

#include <cstdint>
#include <memory>

#include "core/base/time.h"
#include "core/flow/gate.h"
#include "core/link/link.h"
#include "core/plane/config.h"
#include "core/plane/counters.h"

namespace cordon::plane {

// Somebody else's fd in the same loop: the channel to the broker.
class PollHandler {
 public:
  virtual ~PollHandler() = default;
  // `events`: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR (level-triggered).
  virtual void on_ready(std::uint32_t events, base::Instant now) = 0;
};

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual base::Instant now() const { return base::monotonic_now(); }
};

class Worker final : public flow::GateEvents {
 public:
  // Reserves everything; may throw std::bad_alloc. `link`, `gate` and `clock` outlive the worker.
  Worker(const WorkerConfig& config, link::Link& link, flow::Gate& gate);
  Worker(const WorkerConfig& config, link::Link& link, flow::Gate& gate, const Clock& clock);
  ~Worker() override;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // At most 8 of them; input always, output only while wanted.
  void add_poll_source(int fd, PollHandler& handler);
  void want_output(int fd, bool wanted);
  void remove_poll_source(int fd);

  // The guest's MAC is asked for, where it is to be learnt; one worker's part at the start.
  void want_guest();

  // One turn; waits for at most `max_wait` (less when a timer or queued work is due).
  void run_once(base::Duration max_wait);
  // Turns until stop() or until the link is gone.
  void run();
  void stop();

  // --- the gate's answers; to be called from a PollHandler
  void on_grant(flow::Grant grant) override;
  void on_refuse(flow::Id id, flow::RefuseHow how) override;
  void on_inbound(flow::Inbound inbound) override;
  void on_late_datagram(const flow::LateDatagram& datagram) override;
  void on_revoke(flow::Id id, flow::RefuseHow how) override;
  void on_reshape(flow::Id id, const flow::Shaping& shaping) override;
  void on_gate_writable() override;

  [[nodiscard]] const Counters& counters() const;
  [[nodiscard]] std::uint32_t live_flows() const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace cordon::plane
