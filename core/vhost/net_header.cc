#include "core/vhost/net_header.h"

namespace cordon::vhost {
namespace {

bool allowed(const link::Offload& offload, bool checksum, bool tso4, bool tso6, bool uso) {
  if (offload.needs_checksum && !checksum) return false;
  if (offload.ecn) return false;  // HOST_ECN and GUEST_ECN are not offered
  switch (offload.gso) {
    case link::Gso::kNone: return true;
    case link::Gso::kTcp4: return tso4;
    case link::Gso::kTcp6: return tso6;
    case link::Gso::kUdp: return uso;
  }
  return false;
}

}  // namespace

std::optional<link::Offload> read_header(const NetHeader& header, std::size_t frame_size,
                                         const Negotiated& features) {
  auto offload = link::read_offload(header.vnet, frame_size);
  if (!offload ||
      !allowed(*offload, features.checksum, features.host_tso4, features.host_tso6, features.host_uso))
    return std::nullopt;
  offload->checksum_valid = false;
  return offload;
}

std::optional<NetHeader> write_header(const link::Offload& offload, const Negotiated& features) {
  const bool checksum = features.guest_checksum;
  if (!allowed(offload, checksum, checksum && features.guest_tso4, checksum && features.guest_tso6,
               checksum && features.guest_uso4 && features.guest_uso6))
    return std::nullopt;
  NetHeader header{.vnet = link::write_offload(offload), .num_buffers = 1};
  if (!checksum) header.vnet.flags = 0;
  return header;
}

link::Capabilities capabilities_of(const Negotiated& features) {
  const bool checksum = features.guest_checksum;
  return {.tso = checksum && features.guest_tso4 && features.guest_tso6,
          .uso = checksum && features.guest_uso4 && features.guest_uso6,
          .checksum = checksum};
}

}  // namespace cordon::vhost
