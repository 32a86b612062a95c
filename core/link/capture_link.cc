#include "core/link/capture_link.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace cordon::link {
namespace {

constexpr std::uint32_t kMagic = 0xa1b2c3d4;  // microseconds, in the writer's byte order
constexpr std::uint32_t kEthernet = 1;
constexpr std::size_t kRecordHeader = 16;
constexpr std::size_t kLongest = 65535 + 14 + 4;  // of what is kept of a frame

struct FileHeader {
  std::uint32_t magic = kMagic;
  std::uint16_t major = 2;
  std::uint16_t minor = 4;
  std::int32_t zone = 0;
  std::uint32_t accuracy = 0;
  std::uint32_t longest = kLongest;
  std::uint32_t network = kEthernet;
};
static_assert(sizeof(FileHeader) == kCaptureHeader);

struct RecordHeader {
  std::uint32_t seconds = 0;
  std::uint32_t microseconds = 0;
  std::uint32_t kept = 0;
  std::uint32_t length = 0;
};
static_assert(sizeof(RecordHeader) == kRecordHeader);

}  // namespace

std::array<std::byte, kCaptureHeader> capture_header() {
  std::array<std::byte, kCaptureHeader> out{};
  const FileHeader header;
  std::memcpy(out.data(), &header, sizeof header);
  return out;
}

CaptureLink::CaptureLink(Link& inner, int file)
    : ForwardingLink(inner), file_(file), buffer_(kRecordHeader + kLongest) {}

std::size_t CaptureLink::receive(std::span<Frame> frames) {
  const std::size_t count = inner_.receive(frames);
  record(frames.first(count));
  return count;
}

std::size_t CaptureLink::receive_bulk(std::span<Frame> frames) {
  const std::size_t count = inner_.receive_bulk(frames);
  record(frames.first(count));
  return count;
}

SendStatus CaptureLink::send(const Offload& offload, std::span<const iovec> parts) {
  const SendStatus status = inner_.send(offload, parts);
  if (status == SendStatus::kSent) record(parts);
  return status;
}

// What is written down is what goes on, so nothing stays in the guest's memory.
void CaptureLink::record(std::span<Frame> frames) {
  for (Frame& frame : frames) {
    if (frame.tail.size != 0) complete(frame);
    const iovec part{const_cast<std::byte*>(frame.bytes.data()), frame.bytes.size()};
    record(std::span(&part, 1));
  }
}

void CaptureLink::record(std::span<const iovec> parts) {
  if (ended_) {
    ++lost_;
    return;
  }
  std::size_t length = 0;
  std::size_t kept = 0;
  for (const iovec& part : parts) {
    const std::size_t take = std::min(part.iov_len, kLongest - kept);
    if (take > 0) std::memcpy(buffer_.data() + kRecordHeader + kept, part.iov_base, take);
    kept += take;
    length += part.iov_len;
  }
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const RecordHeader header{.seconds = static_cast<std::uint32_t>(now.tv_sec),
                            .microseconds = static_cast<std::uint32_t>(now.tv_nsec / 1000),
                            .kept = static_cast<std::uint32_t>(kept),
                            .length = static_cast<std::uint32_t>(length)};
  std::memcpy(buffer_.data(), &header, sizeof header);
  const ssize_t wanted = static_cast<ssize_t>(kRecordHeader + kept);
  const ssize_t written = ::write(file_, buffer_.data(), static_cast<std::size_t>(wanted));
  if (written == wanted) return;
  ++lost_;
  ended_ = written >= 0 || (errno != EINTR && errno != EAGAIN);
}

}  // namespace cordon::link
