#include "core/vhost/ring.h"

#include <array>
#include <atomic>
#include <utility>

#include "core/base/check.h"
#include "core/vhost/dirty_log.h"

namespace cordon::vhost {
namespace {

constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWrite = 2;
constexpr std::uint16_t kIndirect = 4;
constexpr std::uint16_t kNoInterrupt = 1;  // in the available ring's flags
constexpr std::uint16_t kNoNotify = 1;     // in the used ring's flags
constexpr std::size_t kDescriptorSize = sizeof(RingDescriptor);
static_assert(kDescriptorSize == 16);

RingDescriptor descriptor_at(std::span<const std::byte> table, std::size_t index) {
  RingDescriptor out;
  snapshot(&out, &table[index * kDescriptorSize], kDescriptorSize);
  return out;
}

// The ring's fields lie aligned (queue.h).
template <class T>
std::atomic_ref<T> field(std::span<std::byte> ring, std::size_t offset) {
  return std::atomic_ref<T>{*static_cast<T*>(static_cast<void*>(&ring[offset]))};
}
constexpr std::size_t kFlags = 0;
constexpr std::size_t kIndex = 2;
constexpr std::size_t kEntries = 4;

// A full barrier: a store before it and a load behind it keep their order.
void full_barrier() { std::atomic_thread_fence(std::memory_order_seq_cst); }

}  // namespace

std::string_view name(RingViolation violation) {
  switch (violation) {
    case RingViolation::kAvailableJump: return "available index more than a ring ahead";
    case RingViolation::kHeadOutOfRange: return "available entry out of range";
    case RingViolation::kNextOutOfRange: return "next descriptor out of range";
    case RingViolation::kLoop: return "descriptor loop";
    case RingViolation::kIndirectNotNegotiated: return "indirect descriptor without the feature";
    case RingViolation::kIndirectNested: return "indirect descriptor in an indirect table";
    case RingViolation::kIndirectContinued: return "indirect descriptor with a successor";
    case RingViolation::kIndirectLength: return "length of an indirect table";
    case RingViolation::kOutsideMemory: return "descriptor outside memory";
    case RingViolation::kDirection: return "descriptor of the wrong direction";
  }
  return "unknown";
}

void Ring::start(const RingConfig& config, const Negotiated& features, const MemoryTable& memory,
                 DirtyLog* log) {
  CORDON_CHECK(config.size != 0 && config.size <= kMaxRingSize);
  config_ = config;
  features_ = features;
  memory_ = &memory;
  log_ = log;
  next_available_ = seen_available_ = config.base;
  // As the kernel's back-end does: the front end keeps no used index of its own.
  used_ = published_ = signalled_ =
      field<std::uint16_t>(config_.used, kIndex).load(std::memory_order_relaxed);
  call_owed_ = true;
  running_ = true;
  kicks_armed_ = false;
  store16(kFlags, features.event_index ? std::uint16_t{0} : kNoNotify);
  if (features.event_index) store16(event_offset(), static_cast<std::uint16_t>(next_available_ - 1));
}

std::uint16_t Ring::available_index() const {
  return field<std::uint16_t>(config_.available, kIndex).load(std::memory_order_acquire);
}

bool Ring::has_more() const {
  return running_ && (seen_available_ != next_available_ || available_index() != next_available_);
}

std::expected<std::optional<Chain>, RingViolation> Ring::next(std::span<Segment> room) {
  if (seen_available_ == next_available_) {
    seen_available_ = available_index();
    if (static_cast<std::uint16_t>(seen_available_ - next_available_) > config_.size)
      return std::unexpected(RingViolation::kAvailableJump);
    if (seen_available_ == next_available_) return std::nullopt;
  }
  const std::size_t entry = next_available_ & (config_.size - 1U);
  const auto head =
      field<std::uint16_t>(config_.available, kEntries + 2 * entry).load(std::memory_order_relaxed);
  if (head >= config_.size) return std::unexpected(RingViolation::kHeadOutOfRange);
  const auto chain = walk(head, room);
  if (!chain) return std::unexpected(chain.error());
  ++next_available_;
  return *chain;
}

std::expected<Chain, RingViolation> Ring::walk(std::uint16_t head, std::span<Segment> room) const {
  CORDON_CHECK(room.size() >= kMaxChain);
  Chain chain{.head = head};
  std::span<const std::byte> table = config_.descriptors;
  std::size_t entries = config_.size;
  std::size_t index = head;
  bool indirect = false;
  // Each turn takes an entry of the ring or of the one table: both are bounded.
  for (std::size_t left = entries; left > 0; --left) {
    const RingDescriptor descriptor = descriptor_at(table, index);
    if ((descriptor.flags & kIndirect) != 0) {
      if (indirect) return std::unexpected(RingViolation::kIndirectNested);
      const auto found = indirect_table(descriptor);
      if (!found) return std::unexpected(found.error());
      table = *found;
      entries = table.size() / kDescriptorSize;
      indirect = true;
      index = 0;
      left = entries + 1;
      continue;
    }
    if (((descriptor.flags & kWrite) != 0) != (direction_ == Direction::kToGuest))
      return std::unexpected(RingViolation::kDirection);
    if (descriptor.length != 0) {
      const auto bytes = memory_->at(GuestAddress{descriptor.address}, descriptor.length);
      if (!bytes) return std::unexpected(RingViolation::kOutsideMemory);
      if (chain.segments == kMaxChain) return std::unexpected(RingViolation::kLoop);
      room[chain.segments++] = {*bytes, GuestAddress{descriptor.address}};
      chain.bytes += descriptor.length;
    }
    if ((descriptor.flags & kNext) == 0) return chain;
    index = descriptor.next;
    if (index >= entries) return std::unexpected(RingViolation::kNextOutOfRange);
  }
  return std::unexpected(RingViolation::kLoop);
}

std::expected<std::span<const std::byte>, RingViolation> Ring::indirect_table(
    const RingDescriptor& descriptor) const {
  if (!features_.indirect) return std::unexpected(RingViolation::kIndirectNotNegotiated);
  if ((descriptor.flags & kNext) != 0) return std::unexpected(RingViolation::kIndirectContinued);
  if (descriptor.length == 0 || descriptor.length % kDescriptorSize != 0 ||
      descriptor.length / kDescriptorSize > kMaxChain)
    return std::unexpected(RingViolation::kIndirectLength);
  const auto table = memory_->at(GuestAddress{descriptor.address}, descriptor.length);
  if (!table) return std::unexpected(RingViolation::kOutsideMemory);
  return *table;
}

void Ring::mark_used(std::size_t offset, std::size_t length) {
  if (log_ != nullptr && config_.used_logged)
    log_->mark(GuestAddress{config_.used_logged->value + offset}, length);
}

void Ring::store16(std::size_t offset, std::uint16_t value) {
  field<std::uint16_t>(config_.used, offset).store(value, std::memory_order_release);
  mark_used(offset, sizeof value);
}

void Ring::put_used(std::uint16_t head, std::uint32_t written) {
  const std::size_t offset = kEntries + std::size_t{8} * (used_ & (config_.size - 1U));
  field<std::uint32_t>(config_.used, offset).store(head, std::memory_order_relaxed);
  field<std::uint32_t>(config_.used, offset + 4).store(written, std::memory_order_relaxed);
  mark_used(offset, 8);
  ++used_;
}

void Ring::publish() {
  if (used_ == published_) return;
  published_ = used_;
  store16(kIndex, used_);
}

bool Ring::wants_call() {
  if (published_ == signalled_) return false;
  full_barrier();
  const std::uint16_t before = std::exchange(signalled_, published_);
  if (!features_.event_index)
    return (field<std::uint16_t>(config_.available, kFlags).load(std::memory_order_relaxed) & kNoInterrupt) ==
           0;
  if (std::exchange(call_owed_, false)) return true;
  const auto event = field<std::uint16_t>(config_.available, kEntries + std::size_t{2} * config_.size)
                         .load(std::memory_order_relaxed);
  // Section 2.7.7.2: the event lies in what was published since.
  return static_cast<std::uint16_t>(published_ - event - 1) < static_cast<std::uint16_t>(published_ - before);
}

// With the event index the flags stay 0, and an event that has passed is as good as none.
void Ring::suppress_kicks() {
  if (kicks_armed_ && !features_.event_index) store16(kFlags, kNoNotify);
  kicks_armed_ = false;
}

bool Ring::arm_kicks() {
  if (!kicks_armed_ || armed_at_ != next_available_) {
    if (features_.event_index)
      store16(event_offset(), next_available_);
    else if (!kicks_armed_)
      store16(kFlags, 0);
    kicks_armed_ = true;
    armed_at_ = next_available_;
    full_barrier();
  }
  return has_more();
}

}  // namespace cordon::vhost
