#include "core/link/vnet_header.h"

namespace cordon::link {
namespace {

constexpr std::uint8_t kNeedsChecksum = 1;
constexpr std::uint8_t kDataValid = 2;
constexpr std::uint8_t kGsoNone = 0;
constexpr std::uint8_t kGsoTcp4 = 1;
constexpr std::uint8_t kGsoTcp6 = 4;
constexpr std::uint8_t kGsoEcn = 0x80;

}  // namespace

std::optional<Offload> read_offload(const VnetHeader& header, std::size_t frame_size) {
  Offload out;
  out.needs_checksum = (header.flags & kNeedsChecksum) != 0;
  out.checksum_valid = (header.flags & kDataValid) != 0;
  out.ecn = (header.gso_type & kGsoEcn) != 0;
  if (out.needs_checksum) {
    if (header.csum_start < kEthernetSize ||
        std::size_t{header.csum_start} + header.csum_offset + 2 > frame_size)
      return std::nullopt;
    out.checksum_start = header.csum_start;
    out.checksum_offset = header.csum_offset;
  }
  switch (header.gso_type & 0x7fU) {
    case kGsoNone: return out.ecn ? std::nullopt : std::optional{out};
    case kGsoTcp4: out.gso = Gso::kTcp4; break;
    case kGsoTcp6: out.gso = Gso::kTcp6; break;
    case kVirtioGsoUdpL4: out.gso = Gso::kUdp; break;
    default: return std::nullopt;
  }
  // A super-frame always comes with a partial checksum (virtio 1.2, 5.1.6.2). hdr_len is only a hint there,
  // so it is checked for range and the reader relies on the parsed headers instead.
  if (!out.needs_checksum || header.gso_size == 0 || header.hdr_len > frame_size) return std::nullopt;
  out.gso_size = header.gso_size;
  out.header_length = header.hdr_len;
  return out;
}

VnetHeader write_offload(const Offload& offload) {
  VnetHeader header{};
  if (offload.needs_checksum) {
    header.flags = kNeedsChecksum;
    header.csum_start = offload.checksum_start;
    header.csum_offset = offload.checksum_offset;
  } else if (offload.checksum_valid) {
    header.flags = kDataValid;
  }
  switch (offload.gso) {
    case Gso::kNone: return header;
    case Gso::kTcp4: header.gso_type = kGsoTcp4; break;
    case Gso::kTcp6: header.gso_type = kGsoTcp6; break;
    case Gso::kUdp: header.gso_type = kVirtioGsoUdpL4; break;
  }
  if (offload.ecn) header.gso_type = static_cast<std::uint8_t>(header.gso_type | kGsoEcn);
  header.gso_size = offload.gso_size;
  header.hdr_len = offload.header_length;
  return header;
}

}  // namespace cordon::link
