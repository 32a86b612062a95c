// The virtio-net header (virtio 1.2, section 5.1.6) as offload metadata and back. A tap has its first ten
// bytes, a virtqueue two more behind them (core/vhost/net_header.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/link/link.h"

namespace cordon::link {

// <linux/virtio_net.h> of Linux 6.2; older headers lack it, and Debian 12's is not C++.
inline constexpr std::uint8_t kVirtioGsoUdpL4 = 5;

// Little-endian, which is also what a tap uses by default on the machines we run on.
struct VnetHeader {
  std::uint8_t flags;
  std::uint8_t gso_type;
  std::uint16_t hdr_len;
  std::uint16_t gso_size;
  std::uint16_t csum_start;
  std::uint16_t csum_offset;
};
static_assert(sizeof(VnetHeader) == 10);

inline constexpr std::size_t kEthernetSize = 14;

// The guest wrote this header; every number in it is judged against the frame. nullopt: it points outside or
// contradicts itself.
[[nodiscard]] std::optional<Offload> read_offload(const VnetHeader& header, std::size_t frame_size);

[[nodiscard]] VnetHeader write_offload(const Offload& offload);

}  // namespace cordon::link
