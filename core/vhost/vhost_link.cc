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
// A frame longer than kWhole may have a tail behind its first kStart bytes: Ethernet, the longest IPv4 header
// and the longest TCP header take 134.
constexpr std::size_t kWhole = kHeader + 4096;
constexpr std::size_t kStart = 256;
// A batch's bytes should still be in the CPU's cache when they are written on.
constexpr std::size_t kBatchBytes = std::size_t{384} << 10U;
// Chains after which the guest sees them, so that it works while we go on.
constexpr std::uint16_t kPublish = 16;

// Gathers `size` bytes of a chain, behind `skip` others.
void copy_in(std::byte* to, std::span<const Segment> segments, std::size_t skip, std::size_t size) {
  for (const Segment& segment : segments) {
    const std::size_t before = std::min(skip, segment.bytes.size());
    const std::size_t n = std::min(size, segment.bytes.size() - before);
    snapshot(to, segment.bytes.data() + before, n);
    to += n;
    skip -= before;
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
  calls_.set(state.receive.call, state.transmit.call);
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
  lent_count_ = piece_count_ = 0;
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
  give_back();
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
      return intact() ? n : 0;
    }
    if (!*chain) break;
    any = true;
    ++stats_.chains_from_guest;
    // Every chain counts against the batch, good or bad, so that a flood of bad ones ends too.
    bytes += std::clamp<std::uint64_t>((*chain)->bytes, 256, kBufferSize);
    const auto frame = take(**chain, buffers_.data() + n * kBufferSize);
    if (frame && frame->tail.size != 0)
      lent_[lent_count_++] = (*chain)->head;
    else
      transmit_.put_used((*chain)->head, 0);
    if (frame) frames[n++] = *frame;
  }
  if (any)
    transmit_.publish();
  else
    kicked_ = true;         // what brought us here may be a kick that came while they were off
  return intact() ? n : 0;  // zeros are no frames
}

std::optional<link::Frame> VhostLink::take(const Chain& chain, std::byte* buffer) {
  const std::size_t size = std::min<std::uint64_t>(chain.bytes, kBufferSize);
  if (size < kShortest || size == kBufferSize) {
    ++stats_.bad_length;
    return std::nullopt;
  }
  const auto segments = std::span(segments_).first(chain.segments);
  const std::size_t start = size > kWhole ? kStart : size;
  copy_in(buffer, segments, 0, start);
  NetHeader header;
  std::memcpy(&header, buffer, kHeader);
  const auto offload = read_header(header, size - kHeader, features_);
  if (!offload) {
    ++stats_.bad_offload;
    return std::nullopt;
  }
  ++stats_.frames_from_guest;
  link::Frame frame{.bytes = {buffer + kHeader, start - kHeader}, .offload = *offload, .tail = {}};
  if (start == size) return frame;
  if (offload->needs_checksum) frame.tail = leave(segments, start, buffer + start);
  if (frame.tail.size != 0) {
    ++stats_.tails;
  } else {
    copy_in(buffer + start, segments, start, size - start);
    frame.bytes = {buffer + kHeader, size - kHeader};
  }
  return frame;
}

// Nothing, when there are too many pieces: then the frame is copied.
link::Tail VhostLink::leave(std::span<const Segment> segments, std::size_t skip, std::byte* room) {
  const std::size_t most = std::min(link::kMostPieces, kPieces - piece_count_);
  const std::span<iovec> out = std::span(pieces_).subspan(piece_count_, most);
  std::size_t n = 0;
  std::size_t size = 0;
  for (const Segment& segment : segments) {
    const auto rest = segment.bytes.subspan(std::min(skip, segment.bytes.size()));
    skip -= segment.bytes.size() - rest.size();
    if (rest.empty()) continue;
    if (n == most) return {};
    out[n++] = {rest.data(), rest.size()};
    size += rest.size();
  }
  piece_count_ += n;
  return {.pieces = out.first(n), .size = size, .room = room};
}

// Whoever had the frames of the last receive() is done with them.
void VhostLink::give_back() {
  if (lent_count_ == 0) return;
  for (std::size_t i = 0; i < lent_count_; ++i) transmit_.put_used(lent_[i], 0);
  transmit_.publish();
  lent_count_ = piece_count_ = 0;
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
      call_both();  // what the guest has to take before it gives buffers back; frames may still be in use
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

bool VhostLink::calls_for(Ring& ring) {
  if (!ring.running()) return false;
  ring.publish();
  return ring.wants_call();
}

void VhostLink::flush() {
  give_back();
  call_both();
}

void VhostLink::call_both() {
  if (calls_for(receive_) && calls_.receive()) ++stats_.calls;
  if (calls_for(transmit_) && calls_.transmit()) ++stats_.calls;
}

void VhostLink::trim() { buffers_.discard(0, buffers_.size()); }

}  // namespace cordon::vhost
