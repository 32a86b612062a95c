#include "core/link/tap_link.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/link/vnet_header.h"

namespace cordon::link {
namespace {

constexpr std::size_t kVnetSize = sizeof(VnetHeader);
// A batch's bytes should still be in the CPU's cache when they are written on.
constexpr std::size_t kBatchBytes = std::size_t{384} << 10U;

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
