#include "core/vhost/features.h"

namespace cordon::vhost {

std::uint64_t offered_features(FrontEnd front_end, unsigned pairs, bool has_mac) {
  std::uint64_t bits = kFeatureVersion1 | kFeatureMrgRxbuf | kFeatureCsum | kFeatureGuestCsum |
                       kFeatureHostTso4 | kFeatureHostTso6 | kFeatureGuestTso4 | kFeatureGuestTso6 |
                       kFeatureHostUso | kFeatureGuestUso4 | kFeatureGuestUso6 | kFeatureEventIndex |
                       kFeatureIndirect | kFeatureLogAll | kFeatureProtocol;
  if (pairs > 1) bits |= kFeatureMq;
  // MQ needs a control queue. QEMU has it by itself; Cloud Hypervisor runs it when we do not mind.
  if (pairs > 1 && front_end == FrontEnd::kCloudHypervisor) bits |= kFeatureCtrlVq;
  // QEMU's guests get their address from QEMU.
  if (has_mac && front_end != FrontEnd::kQemu) bits |= kFeatureMac;
  return bits;
}

std::uint64_t offered_protocol_features(FrontEnd front_end, unsigned pairs) {
  std::uint64_t bits =
      kProtocolReplyAck | kProtocolMemSlots | kProtocolLogShmfd | kProtocolRarp | kProtocolStatus;
  if (pairs > 1 || front_end == FrontEnd::kCrosvm) bits |= kProtocolMq;
  if (front_end != FrontEnd::kQemu) bits |= kProtocolConfig;
  return bits;
}

Negotiated negotiate(std::uint64_t features) {
  const auto has = [features](std::uint64_t bit) { return (features & bit) != 0; };
  Negotiated out;
  out.merge_buffers = has(kFeatureMrgRxbuf);
  out.guest_checksum = has(kFeatureGuestCsum);
  out.guest_tso4 = out.guest_checksum && has(kFeatureGuestTso4);
  out.guest_tso6 = out.guest_checksum && has(kFeatureGuestTso6);
  out.guest_uso4 = out.guest_checksum && has(kFeatureGuestUso4);
  out.guest_uso6 = out.guest_checksum && has(kFeatureGuestUso6);
  out.checksum = has(kFeatureCsum);
  out.host_tso4 = out.checksum && has(kFeatureHostTso4);
  out.host_tso6 = out.checksum && has(kFeatureHostTso6);
  out.host_uso = out.checksum && has(kFeatureHostUso);
  out.event_index = has(kFeatureEventIndex);
  out.indirect = has(kFeatureIndirect);
  out.log_all = has(kFeatureLogAll);
  return out;
}

}  // namespace cordon::vhost
