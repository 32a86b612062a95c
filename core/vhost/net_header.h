// The header before each frame in a virtqueue: the virtio-net header and, with VERSION_1 always, the number
// of buffers (virtio 1.2, section 5.1.6). What was not negotiated is refused in both directions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/link/link.h"
#include "core/link/vnet_header.h"
#include "core/vhost/queue.h"

namespace cordon::vhost {

struct NetHeader {
  link::VnetHeader vnet;
  std::uint16_t num_buffers;
};
static_assert(sizeof(NetHeader) == 12);

// Of the guest. nullopt: it lies about the frame, or uses what it has not negotiated. That the guest vouches
// for a checksum counts for nothing: DATA_VALID is the device's word (section 5.1.6.2).
[[nodiscard]] std::optional<link::Offload> read_header(const NetHeader& header, std::size_t frame_size,
                                                       const Negotiated& features);

// To the guest. nullopt: it could not make anything of such a frame.
[[nodiscard]] std::optional<NetHeader> write_header(const link::Offload& offload, const Negotiated& features);

// Super-frames only when the guest takes them over IPv4 and IPv6: a link has one word for both.
[[nodiscard]] link::Capabilities capabilities_of(const Negotiated& features);

}  // namespace cordon::vhost
