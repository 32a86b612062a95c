#include "core/link/stream_link.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace cordon::link {
namespace {

constexpr std::size_t kTrimAlign = std::size_t{64} << 10U;  // a multiple of every page size

constexpr std::size_t round_up(std::size_t n) { return (n + kTrimAlign - 1) / kTrimAlign * kTrimAlign; }

}  // namespace

StreamLink::StreamLink(base::Fd socket) : socket_(std::move(socket)), input_(kInput), output_(kOutput) {}

std::size_t StreamLink::length_at(std::size_t position) const {
  return base::load_be<std::uint32_t>(std::span<const std::byte, kPrefix>(input_.data() + position, kPrefix));
}

bool StreamLink::pending() const {
  const std::size_t held = last_ - first_;
  return !dead() && held >= kPrefix && (!possible(length_at(first_)) || length_at(first_) <= held - kPrefix);
}

std::size_t StreamLink::receive(std::span<Frame> frames) {
  if (!dead() && !pending()) refill();
  std::size_t n = 0;
  while (n < frames.size() && pending()) {
    const std::size_t length = length_at(first_);
    if (!possible(length)) {
      ++stats_.bad_length;
      fail(StreamEnd::kBadLength, length);
      break;
    }
    frames[n++] = {.bytes = {input_.data() + first_ + kPrefix, length}, .offload = {.checksum_valid = true}};
    first_ += kPrefix + length;
  }
  return n;
}

// What is left of a frame is less than the largest one, so there is always room behind it.
void StreamLink::compact() {
  if (first_ == 0) return;
  std::memmove(input_.data(), input_.data() + first_, last_ - first_);
  last_ -= first_;
  first_ = 0;
}

void StreamLink::refill() {
  compact();
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), input_.data() + last_, kInput - last_, MSG_DONTWAIT);
    if (got > 0) {
      last_ += static_cast<std::size_t>(got);
      return;
    }
    if (got == 0) return fail(last_ == 0 ? StreamEnd::kClosed : StreamEnd::kCutShort, 0);
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS) return;
    return fail(StreamEnd::kFailed, static_cast<std::uint64_t>(errno));
  }
}

SendStatus StreamLink::send(const Offload& offload, std::span<const iovec> parts) {
  std::size_t length = 0;
  for (const iovec& part : parts) length += part.iov_len;
  // Nobody offers offloads to a link that has none.
  if (dead() || length > kMaxFrame || offload.needs_checksum || offload.gso != Gso::kNone) {
    ++stats_.refused;
    return SendStatus::kDropped;
  }
  if (full_) return SendStatus::kAgain;
  if (kOutput - gathered_ < kPrefix + length) {
    flush();
    if (full_) return SendStatus::kAgain;
    if (dead()) return SendStatus::kDropped;
  }
  std::byte* to = output_.data() + gathered_;
  base::store_be<std::uint32_t>(std::span<std::byte, kPrefix>(to, kPrefix),
                                static_cast<std::uint32_t>(length));
  to += kPrefix;
  for (const iovec& part : parts) {
    if (part.iov_len > 0) std::memcpy(to, part.iov_base, part.iov_len);
    to += part.iov_len;
  }
  gathered_ += kPrefix + length;
  return SendStatus::kSent;
}

void StreamLink::flush() {
  full_ = false;
  while (sent_ < gathered_ && !dead()) {
    const ssize_t put =
        ::send(socket_.get(), output_.data() + sent_, gathered_ - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0) {
      sent_ += static_cast<std::size_t>(put);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS) {
      full_ = true;
      return;
    }
    // A peer that is gone has perhaps left frames behind: the reader finds them first, then the end.
    if (errno != EPIPE && errno != ECONNRESET) fail(StreamEnd::kFailed, static_cast<std::uint64_t>(errno));
    break;
  }
  sent_ = 0;
  gathered_ = 0;
}

std::uint32_t StreamLink::waits_for() const { return full_ && !dead() ? std::uint32_t{EPOLLOUT} : 0U; }

// A frame that came half must be kept.
void StreamLink::trim() {
  if (!pending()) {
    compact();
    const std::size_t kept = round_up(last_);
    input_.discard(kept, kInput - kept);
  }
  if (sent_ == gathered_) output_.discard(0, kOutput);
}

void StreamLink::fail(StreamEnd end, std::uint64_t detail) {
  end_ = end;
  detail_ = detail;
}

std::string StreamLink::describe_end() const {
  switch (end_) {
    case StreamEnd::kNone: return "the stream is open";
    case StreamEnd::kClosed: return "closed by the other side";
    case StreamEnd::kCutShort: return "closed by the other side inside a frame";
    case StreamEnd::kBadLength:
      return "a frame of " + std::to_string(detail_) + " bytes was announced, expected " +
             std::to_string(kMinFrame) + " to " + std::to_string(kMaxFrame);
    case StreamEnd::kFailed: return std::generic_category().message(static_cast<int>(detail_));
  }
  return {};
}

}  // namespace cordon::link
