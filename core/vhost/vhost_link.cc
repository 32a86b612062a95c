#include "core/vhost/vhost_link.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "core/vhost/dirty_log.h"

namespace cordon::vhost {
namespace {

constexpr std::size_t kHeader = sizeof(NetHeader);
constexpr std::size_t kShortest = kHeader + link::kEthernetSize;
// A batch's bytes should still be in the CPU's cache when they are written on.
constexpr std::size_t kBatchBytes = std::size_t{384} << 10U;
// Chains after which the guest sees them, so that it works while we go on.
constexpr std::uint16_t kPublish = 16;

// Full is as good as told; anything else is the front end's loss.
void notify(int event) {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event, &one, sizeof one));
}

// Gathers a chain's first `size` bytes.
void copy_in(std::byte* to, std::span<const Segment> segments, std::size_t size) {
  for (const Segment& segment : segments) {
    const std::size_t n = std::min(size, segment.bytes.size());
    snapshot(to, segment.bytes.data(), n);
    to += n;
    size -= n;
    if (size == 0) return;
  }
}

}  // namespace

VhostLink::VhostLink(PauseSeat* seat)
    : seat_(seat),
      kicks_(::epoll_create1(EPOLL_CLOEXEC)),
      changed_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      buffers_(kBuffers * kBufferSize) {
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
  if (!kicks_ || !changed_ || ::epoll_ctl(kicks_.get(), EPOLL_CTL_ADD, changed_.get(), &event) != 0)
    throw std::system_error(errno, std::generic_category(), "eventfd and epoll of a queue pair");
}

link::Capabilities VhostLink::capabilities() const { return capabilities_of(features_); }

// --- the device's state

std::uint16_t VhostLink::next_available(bool transmit) const {
  return transmit ? transmit_.position() : static_cast<std::uint16_t>(receive_.position() - waiting_.size());
}

void VhostLink::apply(const PairState& state) {
  flush();
  forget_kicks();
  receive_.stop();
  transmit_.stop();
  waiting_.clear();
  features_ = state.features;
  log_ = state.features.log_all ? state.log : nullptr;
  receive_call_ = state.receive.call;
  transmit_call_ = state.transmit.call;
  if (violation_ || state.memory == nullptr) return;
  if (state.receive.ring) receive_.start(*state.receive.ring, features_, *state.memory, log_);
  if (state.transmit.ring) transmit_.start(*state.transmit.ring, features_, *state.memory, log_);
  watch(state);
  notify(changed_.get());
}

// A kick that cannot be watched (a file) or stands for both queues costs the guest only its own wake-ups.
void VhostLink::watch(const PairState& state) {
  const std::array<int, 2> wanted{state.receive.ring ? state.receive.kick : -1,
                                  state.transmit.ring ? state.transmit.kick : -1};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
    if (wanted[i] >= 0 && ::epoll_ctl(kicks_.get(), EPOLL_CTL_ADD, wanted[i], &event) == 0)
      watched_[i] = wanted[i];
  }
  kicked_ = true;
}

void VhostLink::forget_kicks() {
  for (int& fd : watched_) {
    if (fd >= 0) ::epoll_ctl(kicks_.get(), EPOLL_CTL_DEL, fd, nullptr);
    fd = -1;
  }
}

void VhostLink::die(RingViolation violation) {
  violation_ = violation;
  forget_kicks();
  receive_.stop();
  transmit_.stop();
  waiting_.clear();
}

// --- waiting

bool VhostLink::before_wait(bool) {
  flush();  // what timers have sent
  return false;
}

bool VhostLink::pending() const { return transmit_.has_more() || (blocked_ && receive_.has_more()); }

bool VhostLink::before_sleep() {
  kicked_ = true;
  bool more = transmit_.running() && transmit_.arm_kicks();
  if (blocked_ && receive_.running()) more = receive_.arm_kicks() || more;
  if (!more && seat_ != nullptr) {
    seat_->leave();
    outside_ = true;
  }
  return more;
}

void VhostLink::after_wait() {
  if (seat_ == nullptr) return;
  if (!outside_) seat_->leave();
  outside_ = false;
  seat_->enter();
}

// --- from the guest

std::size_t VhostLink::receive(std::span<link::Frame> frames) {
  const std::size_t most = std::min(frames.size(), kBuffers);
  std::size_t n = 0;
  if (kicked_) {
    // Else the worker would hear of the same kick again.
    std::array<epoll_event, 3> events;
    static_cast<void>(::epoll_wait(kicks_.get(), events.data(), static_cast<int>(events.size()), 0));
    kicked_ = false;
    if (transmit_.running()) transmit_.suppress_kicks();
    if (receive_.running()) receive_.suppress_kicks();
  }
  // Whoever waits for room tries again in this turn or at the start of the next one.
  if (blocked_ && receive_.has_more()) blocked_ = false;
  bool any = false;
  for (std::size_t bytes = 0; n < most && bytes < kBatchBytes && transmit_.running();) {
    const auto chain = transmit_.next(segments_);
    if (!chain) {
      die(chain.error());
      return n;
    }
    if (!*chain) break;
    any = true;
    ++stats_.chains_from_guest;
    const std::size_t size = std::min<std::uint64_t>((*chain)->bytes, kBufferSize);
    // Every chain counts against the batch, good or bad, so that a flood of bad ones ends too.
    bytes += std::max<std::size_t>(size, 256);
    std::byte* const buffer = buffers_.data() + n * kBufferSize;
    const bool fits = size >= kShortest && size < kBufferSize;
    if (fits) copy_in(buffer, std::span(segments_).first((*chain)->segments), size);
    transmit_.put_used((*chain)->head, 0);
    if (!fits) {
      ++stats_.bad_length;
      continue;
    }
    NetHeader header;
    std::memcpy(&header, buffer, kHeader);
    const auto offload = read_header(header, size - kHeader, features_);
    if (!offload) {
      ++stats_.bad_offload;
      continue;
    }
    ++stats_.frames_from_guest;
    frames[n++] = {.bytes = {buffer + kHeader, size - kHeader}, .offload = *offload};
  }
  if (any)
    transmit_.publish();
  else
    kicked_ = true;  // what brought us here may be a kick that came while they were off
  return n;
}

// --- to the guest

void VhostLink::Waiting::compact() {
  std::copy(segments.begin() + static_cast<std::ptrdiff_t>(first_segment),
            segments.begin() + static_cast<std::ptrdiff_t>(end_segment), segments.begin());
  std::copy(chains.begin() + static_cast<std::ptrdiff_t>(first_chain),
            chains.begin() + static_cast<std::ptrdiff_t>(end_chain), chains.begin());
  end_segment -= first_segment;
  end_chain -= first_chain;
  first_segment = first_chain = 0;
}

// Reads chains until `bytes` have room; `chains` is how many of those that wait are needed.
VhostLink::Gathered VhostLink::gather(std::size_t bytes, std::size_t& chains) {
  std::uint64_t room = 0;
  for (chains = 0;;) {
    if (chains == waiting_.size()) {
      if (waiting_.size() == receive_.size()) return Gathered::kNever;
      if (kSegments - waiting_.end_segment < kMaxChain || waiting_.end_chain == kMaxRingSize)
        waiting_.compact();
      if (kSegments - waiting_.end_segment < kMaxChain) return Gathered::kNever;
      const auto chain = receive_.next(std::span(waiting_.segments).subspan(waiting_.end_segment));
      if (!chain) {
        die(chain.error());
        return Gathered::kNever;
      }
      if (!*chain) return Gathered::kTooFew;
      waiting_.chains[waiting_.end_chain++] = **chain;
      waiting_.end_segment += (*chain)->segments;
    }
    room += waiting_.chains[waiting_.first_chain + chains++].bytes;
    if (room >= bytes) return Gathered::kEnough;
    if (!features_.merge_buffers) return Gathered::kNever;
  }
}

link::SendStatus VhostLink::send(const link::Offload& offload, std::span<const iovec> parts) {
  std::size_t bytes = kHeader;
  for (const iovec& part : parts) bytes += part.iov_len;
  if (dead() || bytes >= kBufferSize) {
    ++stats_.not_fitting;
    return link::SendStatus::kDropped;
  }
  if (!receive_.running()) {
    blocked_ = true;
    ++stats_.no_buffers;
    return link::SendStatus::kAgain;
  }
  const auto header = write_header(offload, features_);
  if (!header) {
    ++stats_.not_negotiated;
    return link::SendStatus::kDropped;
  }
  std::size_t chains = 0;
  switch (gather(bytes, chains)) {
    case Gathered::kEnough: break;
    case Gathered::kTooFew:
      blocked_ = true;
      flush();  // what the guest has to take before it gives buffers back
      ++stats_.no_buffers;
      return link::SendStatus::kAgain;
    case Gathered::kNever: ++stats_.not_fitting; return link::SendStatus::kDropped;
  }
  blocked_ = false;
  fill(chains, *header, parts);
  ++stats_.frames_to_guest;
  if (receive_.unpublished() >= kPublish) receive_.publish();
  return link::SendStatus::kSent;
}

void VhostLink::fill(std::size_t chains, NetHeader header, std::span<const iovec> parts) {
  header.num_buffers = static_cast<std::uint16_t>(chains);
  base::Bytes source = base::as_bytes(&header, kHeader);
  const auto next_source = [&source, &parts] {
    while (source.empty() && !parts.empty()) {
      source = {static_cast<const std::byte*>(parts.front().iov_base), parts.front().iov_len};
      parts = parts.subspan(1);
    }
    return !source.empty();
  };
  for (; chains > 0; --chains) {
    const Chain& chain = waiting_.chains[waiting_.first_chain++];
    std::size_t written = 0;
    for (std::size_t i = 0; i < chain.segments; ++i) {
      const Segment& segment = waiting_.segments[waiting_.first_segment++];
      std::span<std::byte> room = segment.bytes;
      while (!room.empty() && next_source()) {
        const std::size_t n = std::min(room.size(), source.size());
        std::memcpy(room.data(), source.data(), n);
        room = room.subspan(n);
        source = source.subspan(n);
      }
      const std::size_t used = segment.bytes.size() - room.size();
      if (log_ != nullptr) log_->mark(segment.guest, used);
      written += used;
    }
    receive_.put_used(chain.head, static_cast<std::uint32_t>(written));
  }
  if (waiting_.size() == 0) waiting_.clear();
}

void VhostLink::call(Ring& ring, int fd) {
  if (!ring.running()) return;
  ring.publish();
  if (!ring.wants_call() || fd < 0) return;
  ++stats_.calls;
  notify(fd);
}

void VhostLink::flush() {
  call(receive_, receive_call_);
  call(transmit_, transmit_call_);
}

void VhostLink::trim() { buffers_.discard(0, buffers_.size()); }

}  // namespace cordon::vhost
