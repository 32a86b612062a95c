// Cuts a datagram that exceeds the guest's MTU into IP fragments (RFC 791 section 3.2, RFC 8200 section 4.5):
// of UDP, or an echo reply, whose header is as long.
//
// Pure: next() writes the headers of one fragment and says which slice of the payload follows them. The
// checksum is complete (a fragment cannot be offloaded) and lies in the first fragment with the header.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/base/bytes.h"
#include "core/wire/frame_builder.h"

namespace cordon::udp {

struct Fragment {
  std::size_t header_length = 0;  // bytes written: Ethernet, IP (and the datagram's in the first)
  base::Bytes payload;
};

class Fragments {
 public:
  // `payload` + 8 must fit flow.max_fragmented_l4_length(); `id`: distinct for datagrams that are in flight
  // together.
  Fragments(const wire::FrameTemplate& flow, base::Bytes payload, std::uint16_t mtu, std::uint32_t id);
  // The same of another protocol, whose header has its checksum.
  static constexpr std::size_t kHeader = 8;
  Fragments(const wire::FrameTemplate& flow, std::span<const std::byte, kHeader> header, base::Bytes payload,
            std::uint16_t mtu, std::uint32_t id);
  [[nodiscard]] std::optional<Fragment> next(wire::HeaderBuffer out);

 private:
  const wire::FrameTemplate& flow_;
  base::Bytes payload_;
  std::uint32_t id_;
  std::array<std::byte, kHeader> header_{};
  std::size_t piece_;       // bytes of the IP payload per fragment, a multiple of 8
  std::size_t offset_ = 0;  // in the IP payload (header and data)
};

}  // namespace cordon::udp
