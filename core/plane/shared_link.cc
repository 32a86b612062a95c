#include "core/plane/shared_link.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <type_traits>

#include "core/base/check.h"

namespace cordon::plane {
namespace {

// Whose protocol a lost frame had, for the counter only.
bool looks_like_tcp(base::Bytes frame) {
  constexpr std::size_t kProtocol4 = 14 + 9;
  constexpr std::size_t kNextHeader6 = 14 + 6;
  if (frame.size() <= kProtocol4) return false;
  const bool v6 = frame[12] == std::byte{0x86};
  return frame[v6 ? kNextHeader6 : kProtocol4] == std::byte{6};
}

struct InboundRecord {
  std::uint32_t offer;
  int socket;
  flow::Tuple tuple;
  std::uint32_t path_mtu;
  std::uint32_t receive_window;
  flow::Shaping shaping;
};
static_assert(std::is_trivially_copyable_v<InboundRecord>);

}  // namespace

Doorbell::Doorbell() : event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!event_.valid()) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Doorbell::ring() {
  if (!asleep_.load(std::memory_order_seq_cst) || !asleep_.exchange(false, std::memory_order_relaxed)) return;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event_.get(), &one, sizeof one));
}

WorkerGroup::WorkerGroup(const base::SipKey& key, std::uint32_t workers, std::size_t ring_bytes)
    : workers_(workers), owners_(key, workers) {
  for (std::uint32_t from = 0; from < workers; ++from)
    for (std::uint32_t to = 0; to < workers; ++to)
      rings_.push_back(from == to ? nullptr : std::make_unique<HandoverRing>(ring_bytes));
  for (std::uint32_t i = 0; i < workers; ++i) bells_.push_back(std::make_unique<Doorbell>());
}

void WorkerGroup::stop() {
  stopped_.store(true, std::memory_order_seq_cst);
  for (const auto& bell : bells_) bell->ring();
}

SharedLink::SharedLink(link::Link& queue, WorkerGroup& group, std::uint32_t self)
    : queue_(queue), group_(group), self_(self) {
  CORDON_CHECK(self < group.size() && group.size() <= kMostWorkers);
}

bool SharedLink::before_wait(bool may_sleep) {
  const bool input = queue_.before_wait(may_sleep);
  if (may_sleep) group_.bell(self_).sleep();
  for (std::uint32_t from = 0; from < group_.size(); ++from)
    if (from != self_ && !stalled_[from] && !group_.ring(from, self_).empty()) return true;
  return input || (may_sleep && group_.stopped());
}

std::size_t SharedLink::receive(std::span<link::Frame> frames) {
  const std::size_t passed = take_passed(frames.first(frames.size() / 2));
  const std::span<link::Frame> fresh = frames.subspan(passed);
  return passed + sort(fresh.first(queue_.receive(fresh)));
}

std::size_t SharedLink::receive_bulk(std::span<link::Frame> frames) {
  return sort(frames.first(queue_.receive_bulk(frames)));
}

std::size_t SharedLink::sort(std::span<link::Frame> frames) {
  std::size_t kept = 0;
  for (link::Frame frame : frames) {
    auto owner = group_.owners().of(frame.bytes);
    if (!owner && frame.tail.size != 0) {  // its start does not tell
      link::complete(frame);
      owner = group_.owners().of(frame.bytes);
    }
    if (!owner || *owner == self_)
      frames[kept++] = frame;
    else if (!push_frame(*owner, frame))
      counters_.add(looks_like_tcp(frame.bytes) ? Counter::kHandOverLostTcp : Counter::kHandOverLostOther);
  }
  ring_bells();
  return kept;
}

// What other workers have read for us, each of them in turn; frames taken last time are done with.
std::size_t SharedLink::take_passed(std::span<link::Frame> frames) {
  std::size_t n = 0;
  const std::uint32_t workers = group_.size();
  for (std::uint32_t i = 0; i < workers; ++i) {
    const std::uint32_t from = (next_ring_ + i) % workers;
    if (from != self_) n += take_ring(from, frames.subspan(n));
  }
  next_ring_ = (next_ring_ + 1) % workers;
  return n;
}

std::size_t SharedLink::take_ring(std::uint32_t from, std::span<link::Frame> frames) {
  if (stalled_[from] && !give_guest(*stalled_[from])) return 0;
  stalled_[from].reset();
  HandoverRing& ring = group_.ring(from, self_);
  ring.release();
  std::size_t n = 0;
  while (n < frames.size()) {
    const auto record = ring.next();
    if (!record) break;
    switch (record->kind) {
      case HandoverRing::Kind::kFrame: frames[n++] = {record->bytes, record->offload}; break;
      case HandoverRing::Kind::kInbound: take_inbound(record->bytes); break;
      case HandoverRing::Kind::kToGuest:
        if (give_guest(*record)) break;
        stalled_[from] = record;
        return n;
    }
  }
  return n;
}

// A frame of theirs that the link refuses is lost on the wire, as one of ours would be.
bool SharedLink::give_guest(const HandoverRing::Record& record) {
  const iovec part{const_cast<std::byte*>(record.bytes.data()), record.bytes.size()};  // NOLINT: iovec
  return queue_.send(record.offload, std::span(&part, 1)) != link::SendStatus::kAgain;
}

link::SendStatus SharedLink::send_by_ring(const link::Offload& offload, std::span<const iovec> parts) {
  std::array<base::Bytes, 80> pieces;
  CORDON_CHECK(parts.size() <= pieces.size());
  std::size_t n = 0;
  for (const iovec& part : parts) pieces[n++] = base::as_bytes(part.iov_base, part.iov_len);
  return push(kGuestWay, HandoverRing::Kind::kToGuest, offload, std::span(pieces).first(n))
             ? link::SendStatus::kSent
             : link::SendStatus::kAgain;
}

bool SharedLink::push(std::uint32_t owner, HandoverRing::Kind kind, const link::Offload& offload,
                      std::span<const base::Bytes> parts) {
  to_ring_ |= 1U << owner;  // also when it is full: that one must not sleep
  if (!group_.ring(self_, owner).push(kind, offload, parts)) return false;
  counters_.add(Counter::kHandedOver);
  return true;
}

bool SharedLink::push_frame(std::uint32_t owner, const link::Frame& frame) {
  std::array<base::Bytes, 1 + link::kMostPieces> parts{frame.bytes};
  std::size_t n = 1;
  for (const iovec& piece : frame.tail.pieces) parts[n++] = base::as_bytes(piece.iov_base, piece.iov_len);
  return push(owner, HandoverRing::Kind::kFrame, frame.offload, std::span(parts).first(n));
}

void SharedLink::ring_bells() {
  for (std::uint32_t i = 0; to_ring_ != 0; ++i, to_ring_ >>= 1U)
    if ((to_ring_ & 1U) != 0) group_.bell(i).ring();
}

// Reassembled and its checksums verified. Lost or on its way, it is no longer ours.
bool SharedLink::pass_on(base::Bytes ethernet_header, base::Bytes ip) {
  std::array<std::byte, 128> start;
  const std::size_t head = ethernet_header.size();
  CORDON_CHECK(head < start.size());
  const std::size_t some = std::min(ip.size(), start.size() - head);
  std::memcpy(start.data(), ethernet_header.data(), head);
  std::memcpy(start.data() + head, ip.data(), some);
  const auto owner = group_.owners().of(std::span(start).first(head + some));
  if (!owner || *owner == self_) return false;
  const std::array<base::Bytes, 2> parts{ethernet_header, ip};
  if (!push(*owner, HandoverRing::Kind::kFrame, {.checksum_valid = true}, parts))
    counters_.add(Counter::kHandOverLostOther);
  ring_bells();
  return true;
}

bool SharedLink::pass_on(flow::Inbound& inbound) {
  const std::uint32_t owner = group_.owners().of(inbound.tuple);
  if (owner == self_) return false;
  const InboundRecord record{inbound.offer,    inbound.socket.get(),   inbound.tuple,
                             inbound.path_mtu, inbound.receive_window, inbound.shaping};
  const std::array<base::Bytes, 2> parts{base::as_bytes(&record, sizeof record), inbound.first};
  const bool pushed = push(owner, HandoverRing::Kind::kInbound, {}, parts);
  if (pushed) static_cast<void>(inbound.socket.release());  // the owner's from here on
  ring_bells();
  return pushed;
}

void SharedLink::take_inbound(base::Bytes bytes) {
  InboundRecord record;
  std::memcpy(&record, bytes.data(), sizeof record);
  flow::Inbound inbound;
  inbound.offer = record.offer;
  inbound.tuple = record.tuple;
  inbound.socket = base::Fd{record.socket};
  inbound.path_mtu = record.path_mtu;
  inbound.receive_window = record.receive_window;
  inbound.shaping = record.shaping;
  inbound.first = bytes.subspan(sizeof record);
  if (events_ != nullptr) events_->on_inbound(std::move(inbound));
}

void SharedLink::trim() {
  queue_.trim();
  for (std::uint32_t to = 0; to < group_.size(); ++to)
    if (to != self_) group_.ring(self_, to).trim();
}

void InboundSorter::on_inbound(flow::Inbound inbound) {
  if (link_.owns(inbound.tuple)) return worker_.on_inbound(std::move(inbound));
  if (link_.pass_on(inbound)) return;
  if (gate_.decline(inbound.offer)) return;
  CORDON_CHECK(waiting_declines_ < declines_.size());
  declines_[waiting_declines_++] = inbound.offer;
}

void InboundSorter::on_gate_writable() {
  for (; waiting_declines_ > 0; --waiting_declines_)
    if (!gate_.decline(declines_[waiting_declines_ - 1])) return;
  worker_.on_gate_writable();
}

}  // namespace cordon::plane
