// One guest, several workers: a queue of the guest's link as a worker sees it that shares the guest with
// others.
//
// Theory of operation. Each worker reads its own queue and keeps the frames of the flows it owns (owner.h);
// the others go into the ring (handover_ring.h) that leads to their owner. The kernel learns the queue of a
// flow from what is written to the guest, and an owner writes to its own queue, so after the first answer
// most frames come to their owner by themselves. A worker without input sleeps in its epoll: before that it
// says so, then looks into its rings once more; who hands over looks, after the last push of a batch, whether
// the owner sleeps and only then writes its eventfd. Both do so in the one order of sequentially consistent
// operations, so at least one of them sees the other and no frame waits for the next event. Nothing is shared
// but the rings, the doorbells and one flag.
//
// A virtual machine may use fewer queue pairs than it was given, and always uses the first. A worker whose
// own queue is not in use sends by the rings to the first worker, which writes the frames to its queue. What
// that one cannot take now stays in the ring, and with it all behind it, until there is room again; so a full
// queue is felt as a full ring, and nothing is lost on the way.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/fd.h"
#include "core/flow/gate.h"
#include "core/link/link.h"
#include "core/plane/counters.h"
#include "core/plane/handover_ring.h"
#include "core/plane/owner.h"

namespace cordon::plane {

class Doorbell {
 public:
  Doorbell();
  // Wakes the worker if it sleeps.
  void ring();
  void sleep() { asleep_.store(true, std::memory_order_seq_cst); }
  void awake() { asleep_.store(false, std::memory_order_relaxed); }
  // For epoll, edge-triggered: it is written and never read.
  [[nodiscard]] int poll_fd() const { return event_.get(); }

 private:
  alignas(64) std::atomic<bool> asleep_{false};
  base::Fd event_;
};

// What the workers have in common.
class WorkerGroup {
 public:
  static constexpr std::size_t kRingBytes = std::size_t{2} << 20U;  // 30 of the largest frames

  // May throw std::bad_alloc, std::system_error.
  WorkerGroup(const base::SipKey& key, std::uint32_t workers, std::size_t ring_bytes = kRingBytes);

  [[nodiscard]] std::uint32_t size() const { return workers_; }
  [[nodiscard]] const Owners& owners() const { return owners_; }
  [[nodiscard]] HandoverRing& ring(std::uint32_t from, std::uint32_t to) {
    return *rings_[from * workers_ + to];
  }
  [[nodiscard]] Doorbell& bell(std::uint32_t worker) { return *bells_[worker]; }
  // All are to end.
  void stop();
  [[nodiscard]] bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

 private:
  std::uint32_t workers_;
  Owners owners_;
  std::vector<std::unique_ptr<HandoverRing>> rings_;
  std::vector<std::unique_ptr<Doorbell>> bells_;
  std::atomic<bool> stopped_{false};
};

class SharedLink final : public link::Link {
 public:
  SharedLink(link::Link& queue, WorkerGroup& group, std::uint32_t self);

  [[nodiscard]] link::Capabilities capabilities() const override { return queue_.capabilities(); }
  [[nodiscard]] int poll_fd() const override { return queue_.poll_fd(); }
  [[nodiscard]] int wake_fd() const override { return group_.bell(self_).poll_fd(); }
  [[nodiscard]] bool before_wait(bool may_sleep) override;
  void after_wait() override {
    group_.bell(self_).awake();
    queue_.after_wait();
  }
  [[nodiscard]] bool pending() const override { return queue_.pending(); }
  [[nodiscard]] bool before_sleep() override { return queue_.before_sleep(); }
  [[nodiscard]] bool tells_room() const override { return !by_ring() && queue_.tells_room(); }
  [[nodiscard]] std::uint32_t waits_for() const override { return queue_.waits_for(); }
  [[nodiscard]] int bulk_fd() const override { return queue_.bulk_fd(); }
  [[nodiscard]] bool intact() const override { return queue_.intact(); }
  void lose_tail() override { queue_.lose_tail(); }
  [[nodiscard]] std::size_t receive(std::span<link::Frame> frames) override;
  [[nodiscard]] std::size_t receive_bulk(std::span<link::Frame> frames) override;
  [[nodiscard]] link::Refused refused() const override { return queue_.refused(); }
  [[nodiscard]] link::SendStatus send(const link::Offload& offload, std::span<const iovec> parts) override {
    return by_ring() ? send_by_ring(offload, parts) : queue_.send(offload, parts);
  }
  [[nodiscard]] bool pass_on(base::Bytes ethernet_header, base::Bytes ip) override;
  void flush() override {
    if (to_ring_ != 0) ring_bells();
    queue_.flush();
  }
  void trim() override;

  // A flow from outside: to its owner. False: it is our own, or there is no room; `inbound` is as it was.
  [[nodiscard]] bool pass_on(flow::Inbound& inbound);
  [[nodiscard]] bool owns(const flow::Tuple& tuple) const { return group_.owners().of(tuple) == self_; }
  // Who takes the flows that others have passed on.
  void on_passed(flow::GateEvents& events) { events_ = &events; }

  // kHandedOver and what was lost on the way.
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  [[nodiscard]] bool push(std::uint32_t owner, HandoverRing::Kind kind, const link::Offload& offload,
                          std::span<const base::Bytes> parts);
  // Copies the tail, too.
  [[nodiscard]] bool push_frame(std::uint32_t owner, const link::Frame& frame);
  void ring_bells();
  // Keeps ours of the frames, gives the others away; how many are left.
  std::size_t sort(std::span<link::Frame> frames);
  std::size_t take_passed(std::span<link::Frame> frames);
  std::size_t take_ring(std::uint32_t from, std::span<link::Frame> frames);
  [[nodiscard]] bool by_ring() const { return self_ != kGuestWay && !queue_.serves_guest(); }
  [[nodiscard]] link::SendStatus send_by_ring(const link::Offload& offload, std::span<const iovec> parts);
  // False: no room in the queue now.
  [[nodiscard]] bool give_guest(const HandoverRing::Record& record);
  void take_inbound(base::Bytes record);

  static constexpr std::uint32_t kGuestWay = 0;  // whose queue is in use when any is
  static constexpr std::uint32_t kMostWorkers = 32;

  link::Link& queue_;
  WorkerGroup& group_;
  std::uint32_t self_;
  // To the guest, and there is no room: nothing of that ring is given back.
  std::array<std::optional<HandoverRing::Record>, kMostWorkers> stalled_{};
  std::uint32_t to_ring_ = 0;  // bit set of workers
  std::uint32_t next_ring_ = 0;
  flow::GateEvents* events_ = nullptr;
  Counters counters_;
};

// The gate's answers on their way to a worker: a flow from outside may belong to another one.
class InboundSorter final : public flow::GateEvents {
 public:
  InboundSorter(SharedLink& link, flow::GateEvents& worker, flow::Gate& gate)
      : link_(link), worker_(worker), gate_(gate) {
    link.on_passed(worker);
  }
  void on_grant(flow::Grant grant) override { worker_.on_grant(std::move(grant)); }
  void on_refuse(flow::Id id, flow::RefuseHow how) override { worker_.on_refuse(id, how); }
  void on_revoke(flow::Id id, flow::RefuseHow how) override { worker_.on_revoke(id, how); }
  void on_reshape(flow::Id id, const flow::Shaping& shaping) override { worker_.on_reshape(id, shaping); }
  void on_gate_writable() override;
  void on_late_datagram(const flow::LateDatagram& datagram) override { worker_.on_late_datagram(datagram); }
  void on_inbound(flow::Inbound inbound) override;

 private:
  SharedLink& link_;
  flow::GateEvents& worker_;
  flow::Gate& gate_;
  // Declined while the channel was full: each offer has to be answered. The broker has fewer of them open.
  std::array<std::uint32_t, 4096> declines_{};
  std::uint32_t waiting_declines_ = 0;
};

}  // namespace cordon::plane
