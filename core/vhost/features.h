// Feature bits, and what we offer to whom.
//
// A back-end that is replaced (restart, upgrade) must offer at least what the one before offered, or the
// front end refuses it while the guest runs: bits may join these sets, never leave them.
#pragma once

#include <cstdint>

#include "core/vhost/queue.h"

namespace cordon::vhost {

// Whose habits we meet. They differ where the text of the protocol leaves room.
enum class FrontEnd : std::uint8_t {
  kQemu,             // GET_QUEUE_NUM is pairs; prints a warning at each start when CONFIG is offered
  kCloudHypervisor,  // GET_QUEUE_NUM is virtqueues; reads MAC and MTU with CONFIG
  kCrosvm,           // GET_QUEUE_NUM is virtqueues, and without MQ it counts a control queue; needs CONFIG
};

// VIRTIO_NET_F_*, VIRTIO_F_*, VHOST_F_*, VHOST_USER_F_*
inline constexpr std::uint64_t kFeatureCsum = 1ULL << 0U;
inline constexpr std::uint64_t kFeatureGuestCsum = 1ULL << 1U;
inline constexpr std::uint64_t kFeatureMac = 1ULL << 5U;
inline constexpr std::uint64_t kFeatureGuestTso4 = 1ULL << 7U;
inline constexpr std::uint64_t kFeatureGuestTso6 = 1ULL << 8U;
inline constexpr std::uint64_t kFeatureHostTso4 = 1ULL << 11U;
inline constexpr std::uint64_t kFeatureHostTso6 = 1ULL << 12U;
inline constexpr std::uint64_t kFeatureMrgRxbuf = 1ULL << 15U;
inline constexpr std::uint64_t kFeatureCtrlVq = 1ULL << 17U;
inline constexpr std::uint64_t kFeatureMq = 1ULL << 22U;
inline constexpr std::uint64_t kFeatureLogAll = 1ULL << 26U;
inline constexpr std::uint64_t kFeatureIndirect = 1ULL << 28U;
inline constexpr std::uint64_t kFeatureEventIndex = 1ULL << 29U;
inline constexpr std::uint64_t kFeatureProtocol = 1ULL << 30U;
inline constexpr std::uint64_t kFeatureVersion1 = 1ULL << 32U;
inline constexpr std::uint64_t kFeatureGuestUso4 = 1ULL << 54U;
inline constexpr std::uint64_t kFeatureGuestUso6 = 1ULL << 55U;
inline constexpr std::uint64_t kFeatureHostUso = 1ULL << 56U;

// VHOST_USER_PROTOCOL_F_*
inline constexpr std::uint64_t kProtocolMq = 1ULL << 0U;
inline constexpr std::uint64_t kProtocolLogShmfd = 1ULL << 1U;
inline constexpr std::uint64_t kProtocolRarp = 1ULL << 2U;
inline constexpr std::uint64_t kProtocolReplyAck = 1ULL << 3U;
inline constexpr std::uint64_t kProtocolConfig = 1ULL << 9U;
inline constexpr std::uint64_t kProtocolMemSlots = 1ULL << 15U;
inline constexpr std::uint64_t kProtocolStatus = 1ULL << 16U;

[[nodiscard]] std::uint64_t offered_features(FrontEnd front_end, unsigned pairs, bool has_mac);
[[nodiscard]] std::uint64_t offered_protocol_features(FrontEnd front_end, unsigned pairs);
// An offload without the checksum that it needs (virtio 1.2, 5.1.3.1) is no offload.
[[nodiscard]] Negotiated negotiate(std::uint64_t features);

}  // namespace cordon::vhost
