// The rings of ring_guest.
#pragma once

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/vhost/driver_ring.h"
#include "tests/vhost/front_end.h"

namespace cordon::bench {

using namespace vhost_client;

inline constexpr std::uint16_t kRing = 256;
inline constexpr std::uint32_t kReceiveBuffer = 4096, kLongest = 12 + 14 + 65535;

class Card {
 public:
  // Throws when the back-end does not take us.
  Card(const std::string& socket, GuestMemory& memory) : memory_(memory), front_end_(socket, memory) {
    front_end_.negotiate(~std::uint64_t{0} & ~bit(feature::kLogAll));
    const bool merge = has(front_end_.features(), feature::kMergeBuffers);
    const RingOptions options{kRing, has(front_end_.features(), feature::kEventIndex), false};
    receive_.emplace(memory, options);
    transmit_.emplace(memory, options);
    size_ = merge ? kReceiveBuffer : kLongest;
    at_.resize(kRing);
    sent_at_.resize(kRing);
    for (unsigned i = 0; i < kRing; ++i) post(memory.allocate(size_));
    for (unsigned i = 0; i < kRing; ++i) free_.push_back(memory.allocate(kLongest));
    receive_->publish();
    transmit_->suppress_calls();
    front_end_.set_features();
    front_end_.set_memory();
    front_end_.start(0, *receive_);
    front_end_.start(1, *transmit_);
    front_end_.enable(0, true);
    front_end_.enable(1, true);
  }

  [[nodiscard]] bool offers(unsigned feature) const { return has(front_end_.features(), feature); }

  // A frame to fill in, zeros behind the headers; nullptr: the ring is full.
  std::byte* room() {
    if (free_.empty()) reclaim();
    return free_.empty() ? nullptr : memory_.at(free_.back());
  }
  // One that has more than headers and zeros is not used `again`.
  void send(std::size_t size, bool again) {
    const Buffer buffer{free_.back(), static_cast<std::uint32_t>(size)};
    const auto head = transmit_->add(std::span(&buffer, 1), false);
    if (!head) throw std::runtime_error("the transmit ring is full");
    sent_at_[*head] = again ? free_.back() : 0;
    free_.pop_back();
    unsent_ = true;
  }
  void push() {
    if (!unsent_) return;
    unsent_ = false;
    transmit_->publish();
    if (transmit_->wants_kick()) front_end_.kick(1);
  }

  // Hands every frame that is there to `take`.
  template <class Take>
  bool poll(Take&& take) {
    bool any = false;
    while (const auto used = receive_->take_used()) {
      any = true;
      const std::byte* const frame = memory_.at(at_[used->head]);
      std::uint16_t more = 1;
      std::memcpy(&more, frame + 10, sizeof more);
      done_.assign(1, at_[used->head]);
      while (done_.size() < std::max<std::uint16_t>(more, 1))
        if (const auto next = receive_->take_used()) done_.push_back(at_[next->head]);
      take(frame);
      for (const std::uint64_t at : done_) post(at);
    }
    if (any) {
      receive_->publish();
      if (receive_->wants_kick()) front_end_.kick(0);
    }
    return any;
  }
  // Until a frame is there, or room in the transmit ring if `full`, or the time has passed.
  void wait(bool full, std::chrono::milliseconds longest) {
    if (receive_->arm_calls() || (full && transmit_->arm_calls())) return;
    std::array<pollfd, 3> fds{{{front_end_.call_fd(0), POLLIN, 0},
                               {full ? front_end_.call_fd(1) : -1, POLLIN, 0},
                               {front_end_.socket(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), static_cast<int>(longest.count()));
    if (fds[2].revents != 0) throw std::runtime_error("the back-end is gone");
    static_cast<void>(front_end_.take_calls(0));
    static_cast<void>(front_end_.take_calls(1));
    receive_->suppress_calls();
    transmit_->suppress_calls();
  }

 private:
  void post(std::uint64_t at) {
    const Buffer buffer{at, size_};
    const auto head = receive_->add(std::span(&buffer, 1), true);
    if (!head) throw std::runtime_error("the receive ring is full");
    at_[*head] = at;
  }
  void reclaim() {
    while (const auto used = transmit_->take_used())
      if (sent_at_[used->head] != 0) free_.push_back(sent_at_[used->head]);
  }

  GuestMemory& memory_;
  FrontEnd front_end_;
  std::optional<DriverRing> receive_, transmit_;
  std::uint32_t size_ = 0;
  std::vector<std::uint64_t> at_, sent_at_, free_, done_;
  bool unsent_ = false;
};

}  // namespace cordon::bench
