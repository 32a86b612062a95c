// TapLink: a tap device (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR) as a Link. Its creator has set the offloads
// (TUNSETOFFLOAD) and left the vnet header at 10 bytes; this side only reads and writes.
//
// Theory of operation. Each read() returns one frame with its virtio-net header. Headers come from the
// guest's kernel and are judged like any foreign bytes: an offload that points outside the frame or
// contradicts it makes the frame a counted drop. receive() fills fixed buffers until the device is empty, the
// caller's span or a byte budget is full (the budget keeps a batch inside the CPU's cache). send() is one
// writev; a tap hands the frame to the guest's stack at once, so there is nothing to flush.
//
// The kernel's side of a tap is one first-in-first-out line for each queue, and a bulk flow fills it with a
// window's worth of frames, which would be everybody's delay. But the kernel also sends a flow by the queue
// on which it last heard of it. So frames of a bulk flow are written to the second queue, its segments come
// by that one, and they wait for each other only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/base/fd.h"
#include "core/base/reserved.h"
#include "core/link/link.h"

namespace cordon::link {

// <linux/if_tun.h> of Linux 6.2; older headers lack them.
inline constexpr unsigned kTunFUso4 = 0x20;
inline constexpr unsigned kTunFUso6 = 0x40;

struct TapStats {
  std::uint64_t bad_offload = 0;  // vnet header outside the frame or contradictory
  std::uint64_t bad_length = 0;   // shorter than an Ethernet header or longer than a buffer
  std::uint64_t refused = 0;      // writes the device refused (down, too long)
};

class TapLink final : public Link {
 public:
  // `bulk`: another queue of the same tap, or none.
  TapLink(base::Fd tap, Capabilities capabilities, base::Fd bulk = {});

  [[nodiscard]] Capabilities capabilities() const override { return capabilities_; }
  [[nodiscard]] int poll_fd() const override { return tap_.get(); }
  [[nodiscard]] int bulk_fd() const override { return bulk_.get(); }
  [[nodiscard]] std::size_t receive(std::span<Frame> frames) override;
  [[nodiscard]] std::size_t receive_bulk(std::span<Frame> frames) override;
  [[nodiscard]] Refused refused() const override { return {stats_.bad_length, stats_.bad_offload}; }
  [[nodiscard]] SendStatus send(const Offload& offload, std::span<const iovec> parts) override;
  void trim() override;
  // Device gone (EBADFD and the like): nothing will come any more.
  [[nodiscard]] bool dead() const { return dead_; }
  [[nodiscard]] const TapStats& stats() const { return stats_; }

 private:
  static constexpr std::size_t kBuffers = 64;
  static constexpr std::size_t kBufferSize = 68U << 10U;  // vnet header + Ethernet + 65,535, page aligned
  std::size_t read_queue(const base::Fd& queue, std::span<Frame> frames);
  base::Fd tap_;
  base::Fd bulk_;
  Capabilities capabilities_;
  base::Reserved<std::byte> buffers_;
  TapStats stats_;
  bool dead_ = false;
};

}  // namespace cordon::link
