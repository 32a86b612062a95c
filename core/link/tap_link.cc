#include "core/link/tap_link.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

namespace cordon::link {
namespace {

// struct virtio_net_hdr of virtio 1.2 section 5.1.6; Debian 12's <linux/virtio_net.h> is not C++.
struct VnetHeader {
  std::uint8_t flags;
  std::uint8_t gso_type;
  std::uint16_t hdr_len;
  std::uint16_t gso_size;
  std::uint16_t csum_start;
  std::uint16_t csum_offset;
};
constexpr std::size_t kVnetSize = sizeof(VnetHeader);
static_assert(kVnetSize == 10);
constexpr std::uint8_t kNeedsChecksum = 1;
constexpr std::uint8_t kDataValid = 2;
constexpr std::uint8_t kGsoNone = 0;
constexpr std::uint8_t kGsoTcp4 = 1;
constexpr std::uint8_t kGsoTcp6 = 4;
constexpr std::uint8_t kGsoEcn = 0x80;
constexpr std::size_t kEthernetSize = 14;
// A batch's bytes should still be in the CPU's cache when they are written on.
constexpr std::size_t kBatchBytes = std::size_t{384} << 10U;

// The guest's kernel wrote this header; every number in it is judged against the frame.
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

}  // namespace

TapLink::TapLink(base::Fd tap, Capabilities capabilities, base::Fd bulk)
    : tap_(std::move(tap)),
      bulk_(std::move(bulk)),
      capabilities_(capabilities),
      buffers_(kBuffers * kBufferSize) {}

std::size_t TapLink::receive(std::span<Frame> frames) { return read_queue(tap_, frames); }
std::size_t TapLink::receive_bulk(std::span<Frame> frames) { return read_queue(bulk_, frames); }

std::size_t TapLink::read_queue(const base::Fd& queue, std::span<Frame> frames) {
  const std::size_t most = std::min(frames.size(), kBuffers);
  std::size_t n = 0;
  for (std::size_t bytes = 0; n < most && bytes < kBatchBytes;) {
    std::byte* const buffer = buffers_.data() + n * kBufferSize;
    const ssize_t got = ::read(queue.get(), buffer, kBufferSize);
    if (got < 0) {
      if (errno == EINTR) continue;
      // EIO: the interface is down for now. Anything but "later" means that the device is gone.
      if (errno != EAGAIN && errno != EIO) dead_ = true;
      break;
    }
    const auto size = static_cast<std::size_t>(got);
    // Every read counts against the batch, good or bad, so that a flood of bad frames ends too.
    bytes += std::max<std::size_t>(size, 256);
    if (size < kVnetSize + kEthernetSize || size == kBufferSize) {
      ++stats_.bad_length;
      continue;
    }
    VnetHeader header;
    std::memcpy(&header, buffer, kVnetSize);
    const auto offload = read_offload(header, size - kVnetSize);
    if (!offload) {
      ++stats_.bad_offload;
      continue;
    }
    frames[n++] = {.bytes = {buffer + kVnetSize, size - kVnetSize}, .offload = *offload};
  }
  return n;
}

SendStatus TapLink::send(const Offload& offload, std::span<const iovec> parts) {
  constexpr std::size_t kParts = 66;
  std::array<iovec, kParts> all;
  if (parts.size() + 1 > kParts) {
    ++stats_.refused;
    return SendStatus::kDropped;
  }
  VnetHeader header = write_offload(offload);
  const int queue = offload.bulk && bulk_.valid() ? bulk_.get() : tap_.get();
  all[0] = {&header, kVnetSize};
  std::copy(parts.begin(), parts.end(), all.begin() + 1);
  for (;;) {
    if (::writev(queue, all.data(), static_cast<int>(parts.size() + 1)) >= 0) return SendStatus::kSent;
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) return SendStatus::kAgain;
    ++stats_.refused;
    return SendStatus::kDropped;
  }
}

void TapLink::trim() { buffers_.discard(0, buffers_.size()); }

}  // namespace cordon::link
