// A queue as the device has set it up: where its ring lies, and what was negotiated. The border between the
// protocol (device.h, backend.h: they write it while the worker is paused) and the data path (ring.h,
// vhost_link.h: they read it).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/vhost/memory.h"

namespace cordon::vhost {

class DirtyLog;

inline constexpr std::uint16_t kMaxRingSize = 1024;
inline constexpr unsigned kMaxPairs = 16;

// A split ring (virtio 1.2, section 2.7). The spans were checked to lie in memory, to be aligned and to hold
// `size` entries with the event fields; what is in them changes under our eyes and is read once each.
struct RingConfig {
  std::uint16_t size = 0;                   // a power of two, at most kMaxRingSize
  std::span<std::byte> descriptors;         // 16 * size
  std::span<std::byte> available;           // 6 + 2 * size
  std::span<std::byte> used;                // 6 + 8 * size
  std::uint16_t base = 0;                   // SET_VRING_BASE: the next available entry to look at
  std::optional<GuestAddress> used_logged;  // where writes to `used` are to be logged
};

// As acknowledged by SET_FEATURES; VERSION_1 always is.
struct Negotiated {
  bool merge_buffers = false;   // VIRTIO_NET_F_MRG_RXBUF
  bool guest_checksum = false;  // the guest takes partial checksums (GUEST_CSUM)
  bool guest_tso4 = false;      // ... and super-frames
  bool guest_tso6 = false;
  bool guest_uso4 = false;
  bool guest_uso6 = false;
  bool checksum = false;  // the guest may send partial checksums (CSUM)
  bool host_tso4 = false;
  bool host_tso6 = false;
  bool host_uso = false;
  bool event_index = false;  // VIRTIO_F_EVENT_IDX
  bool indirect = false;     // VIRTIO_F_INDIRECT_DESC
  bool log_all = false;      // VHOST_F_LOG_ALL
};

// One direction of a pair. Ready: configured, started (has a kick) and enabled.
struct QueueState {
  std::optional<RingConfig> ring;  // nullopt: not ready, the data path leaves it alone
  int kick = -1;                   // the guest notifies us; owned by the back-end
  int call = -1;                   // we notify the guest; -1: it polls
};

// What one worker's link needs to know. `generation` grows with every change.
struct PairState {
  QueueState receive;   // towards the guest (virtqueue 2i)
  QueueState transmit;  // from the guest (virtqueue 2i + 1)
  Negotiated features;
  const MemoryTable* memory = nullptr;
  DirtyLog* log = nullptr;  // while a migration is under way
  std::uint64_t generation = 0;
};

}  // namespace cordon::vhost
