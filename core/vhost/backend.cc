#include "core/vhost/backend.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/check.h"

namespace cordon::vhost {
namespace {

constexpr unsigned kMessagesPerTurn = 32;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMostMemory = 1ULL << 44U;  // of one guest
constexpr base::Duration kLongestPause = std::chrono::seconds{2};

// After a pause that did not succeed nothing may be changed; the process ends with its connection then.
class Paused {
 public:
  Paused(Pause& pause, bool needed)
      : pause_(pause), needed_(needed), ok_(!needed || pause.begin(kLongestPause)) {}
  ~Paused() {
    if (needed_) pause_.end();
  }
  Paused(const Paused&) = delete;
  Paused& operator=(const Paused&) = delete;
  explicit operator bool() const { return ok_; }

 private:
  Pause& pause_;
  bool needed_;
  bool ok_;
};

std::uint64_t mapped(const MemoryTable& table) {
  std::uint64_t sum = 0;
  for (const Region& region : table.regions()) sum += region.bytes.size();
  return sum;
}

}  // namespace

void Backend::Memory::clear() {
  table = {};
  for (Mapping& mapping : mappings) mapping.reset();
  count = 0;
}

Backend::Backend(base::Fd socket, const DeviceOptions& options, std::span<DataPath* const> pairs,
                 Pause& pause)
    : socket_(std::move(socket)), device_(options), pairs_(pairs), pause_(pause) {
  CORDON_CHECK(pairs.size() == options.pairs);
}

Backend::~Backend() {
  const Paused paused(pause_, true);
  if (paused)
    for (DataPath* const pair : pairs_) pair->apply({});
}

Backend::Status Backend::serve() {
  for (unsigned i = 0; i < kMessagesPerTurn; ++i) {
    Read read = fill(kHeaderSize);
    if (read == Read::kComplete && got_ == kHeaderSize) {
      const auto header = parse_header(std::span(message_).first<kHeaderSize>());
      if (!header) {
        std::uint32_t request = 0;
        std::memcpy(&request, message_.data(), sizeof request);
        return complain(request_name(request), header.error());
      }
      header_ = *header;
    }
    if (read == Read::kComplete) read = fill(kHeaderSize + header_.size);
    switch (read) {
      case Read::kComplete: break;
      case Read::kLater: return Status::kOpen;
      case Read::kClosed: return Status::kClosed;
      case Read::kViolation: return Status::kViolation;
    }
    const Status status = handle();
    drop_fds();
    got_ = 0;
    if (status != Status::kOpen) return status;
  }
  return Status::kOpen;
}

Backend::Read Backend::fill(std::size_t until) {
  while (got_ < until) {
    const Read read = receive(std::span(message_).subspan(got_, until - got_));
    if (read != Read::kComplete) return read;
  }
  return Read::kComplete;
}

// Some bytes, at least one.
Backend::Read Backend::receive(std::span<std::byte> room) {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kMaxMessageFds * sizeof(int))> control{};
  iovec part{room.data(), room.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? Read::kLater : Read::kClosed;
  const bool fits = take_fds(message);
  if (!fits || (message.msg_flags & MSG_CTRUNC) != 0) {
    complain("a message", "comes with too many descriptors");
    return Read::kViolation;
  }
  if (n == 0) return Read::kClosed;
  got_ += static_cast<std::size_t>(n);
  return Read::kComplete;
}

// Owns all of them at once, whatever comes of the message. False: more than any message may have.
bool Backend::take_fds(const msghdr& message) {
  bool fits = true;
  msghdr* const walked = const_cast<msghdr*>(&message);  // NOLINT: the macros want it so
  for (cmsghdr* c = CMSG_FIRSTHDR(walked); c != nullptr; c = CMSG_NXTHDR(walked, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < n; ++i) {
      int raw = -1;
      std::memcpy(&raw, CMSG_DATA(c) + i * sizeof raw, sizeof raw);
      base::Fd fd{raw};
      if (fd_count_ < fds_.size())
        fds_[fd_count_++] = std::move(fd);
      else
        fits = false;
    }
  }
  return fits;
}

void Backend::drop_fds() {
  for (base::Fd& fd : fds_) fd.reset();
  fd_count_ = 0;
}

Backend::Status Backend::handle() {
  const auto message = parse(header_, std::span(message_).subspan(kHeaderSize, header_.size), fd_count_);
  if (!message) return complain(request_name(header_.request), message.error());
  Outcome outcome;
  {
    const Paused paused(pause_, Device::touches_queues(*message));
    if (!paused) return complain(request_name(message->request), "finds a worker that does not pause");
    outcome = act(*message);
    apply(outcome.changed);
    give_back();
  }
  if (outcome.verdict == Outcome::Verdict::kViolation)
    return complain(request_name(message->request), outcome.why);
  return outcome.reply ? send(*outcome.reply) : Status::kOpen;
}

Outcome Backend::act(const Message& message) {
  Findings findings;
  if (Device::touches_queues(message))
    for (unsigned i = 0; i < device_.queues(); ++i)
      if (device_.ring(i)) findings.positions[i] = pairs_[i / 2]->next_available(i % 2 == 1);
  if (const auto* set = std::get_if<SetMemTable>(&message.body))
    return replace_memory(message, *set, findings);
  if (const auto* add = std::get_if<AddMemReg>(&message.body)) return add_memory(message, *add, findings);
  if (const auto* remove = std::get_if<RemMemReg>(&message.body))
    return remove_memory(message, *remove, findings);
  if (const auto* log = std::get_if<SetLogBase>(&message.body)) return map_log(message, *log, findings);
  if (const auto* kick = std::get_if<SetVringKick>(&message.body)) return set_kick(message, *kick, findings);
  if (const auto* call = std::get_if<SetVringCall>(&message.body)) return set_call(message, *call, findings);
  return step(message, findings);
}

// --- memory

std::expected<void, std::string_view> Backend::map_region(Memory& memory, const MemoryRegion& region,
                                                          int fd) {
  // Rings are aligned in the front end's addresses, so these decide how they are in ours.
  for (const std::uint64_t value : {region.guest.value, region.user.value, region.offset, region.size})
    if (value % kPage != 0) return std::unexpected("has a region that is not made of pages");
  if (region.size > kMostMemory || mapped(memory.table) + region.size > kMostMemory)
    return std::unexpected("has more memory than a guest may have");
  auto mapping = Mapping::of(fd, region.offset, region.size);
  if (!mapping) return std::unexpected(mapping.error());
  if (!memory.table.add({region.guest, region.user, mapping->bytes()}))
    return std::unexpected("has regions that overlap, or too many");
  memory.mappings[memory.count++] = *std::move(mapping);
  return {};
}

// False: there is no such region.
bool Backend::remove_region(MemoryTable& table, const MemoryRegion& gone) {
  for (const Region& region : table.regions())
    if (region.guest.value == gone.guest.value && region.user.value == gone.user.value &&
        region.bytes.size() == gone.size)
      return table.remove(Region{region});
  return false;
}

// The mappings of all that is in `to`'s table.
void Backend::move_mappings(Memory& from, Memory& to) {
  for (std::size_t i = 0; i < from.count; ++i) {
    Mapping& mapping = from.mappings[i];
    const bool kept = std::ranges::any_of(to.table.regions(), [&mapping](const Region& region) {
      return region.bytes.data() == mapping.bytes().data();
    });
    if (kept) to.mappings[to.count++] = std::move(mapping);
  }
}

Outcome Backend::replace_memory(const Message& message, const SetMemTable& set, Findings& findings) {
  Memory& next = memories_[1 - memory_];
  for (std::size_t i = 0; i < set.count; ++i)
    if (const auto mapped_region = map_region(next, set.regions[i], fds_[i].get()); !mapped_region)
      return Device::refuse(message, mapped_region.error());
  findings.table = &next.table;
  Outcome outcome = step(message, findings);
  if (outcome.verdict == Outcome::Verdict::kDone) memory_ = 1 - memory_;
  return outcome;
}

Outcome Backend::add_memory(const Message& message, const AddMemReg& add, Findings& findings) {
  Memory& now = memories_[memory_];
  Memory& next = memories_[1 - memory_];
  next.table = now.table;
  if (repeats_itself()) static_cast<void>(remove_region(next.table, add.region));
  if (const auto mapped_region = map_region(next, add.region, fds_[0].get()); !mapped_region)
    return Device::refuse(message, mapped_region.error());
  findings.table = &next.table;
  Outcome outcome = step(message, findings);
  if (outcome.verdict != Outcome::Verdict::kDone) return outcome;
  move_mappings(now, next);
  memory_ = 1 - memory_;
  return outcome;
}

Outcome Backend::remove_memory(const Message& message, const RemMemReg& remove, Findings& findings) {
  Memory& now = memories_[memory_];
  Memory& next = memories_[1 - memory_];
  next.table = now.table;
  if (!remove_region(next.table, remove.region) && !repeats_itself())
    return Device::refuse(message, "is about a region that does not exist");
  findings.table = &next.table;
  Outcome outcome = step(message, findings);
  if (outcome.verdict != Outcome::Verdict::kDone) return outcome;
  move_mappings(now, next);
  memory_ = 1 - memory_;
  return outcome;
}

Outcome Backend::map_log(const Message& message, const SetLogBase& set, Findings& findings) {
  auto mapping = Mapping::of(fds_[0].get(), set.offset, set.size);
  if (!mapping) return Device::refuse(message, mapping.error());
  findings.log_mapped = true;
  Outcome outcome = step(message, findings);
  if (outcome.verdict != Outcome::Verdict::kDone) return outcome;
  log_ = 1 - log_;
  logs_[log_].mapping = *std::move(mapping);
  logs_[log_].log = DirtyLog{logs_[log_].mapping.bytes()};
  return outcome;
}

// --- kicks and calls

Outcome Backend::set_kick(const Message& message, const SetVringKick& set, const Findings& findings) {
  if (set.has_fd && !eventfds_.accepts(fds_[0].get())) return Device::refuse(message, "has no eventfd");
  Outcome outcome = step(message, findings);
  if (outcome.verdict == Outcome::Verdict::kDone)
    retired_ = std::exchange(kicks_[set.index], std::move(fds_[0]));
  return outcome;
}

Outcome Backend::set_call(const Message& message, const SetVringCall& set, const Findings& findings) {
  if (set.has_fd && !eventfds_.accepts(fds_[0].get())) return Device::refuse(message, "has no eventfd");
  Outcome outcome = step(message, findings);
  if (outcome.verdict == Outcome::Verdict::kDone)
    retired_ = std::exchange(calls_[set.index], set.has_fd ? std::move(fds_[0]) : base::Fd{});
  return outcome;
}

// --- what the data paths get

QueueState Backend::queue_state(unsigned queue) const {
  QueueState state;
  state.ring = device_.ring(queue);
  state.kick = device_.started(queue) ? kicks_[queue].get() : -1;
  state.call = calls_[queue].get();
  return state;
}

void Backend::apply(const std::bitset<kMaxQueues>& changed) {
  for (unsigned i = 0; i < pairs_.size(); ++i) {
    if (!changed[2 * i] && !changed[2 * i + 1]) continue;
    PairState state;
    state.receive = queue_state(2 * i);
    state.transmit = queue_state(2 * i + 1);
    state.features = device_.features();
    state.memory = &memories_[memory_].table;
    state.log = device_.logging() ? &logs_[log_].log : nullptr;
    state.generation = ++generation_;
    pairs_[i]->apply(state);
  }
}

// What no data path holds any more.
void Backend::give_back() {
  memories_[1 - memory_].clear();
  logs_[1 - log_] = {};
  retired_.reset();
  for (unsigned i = 0; i < device_.queues(); ++i)
    if (!device_.started(i)) kicks_[i].reset();
}

Backend::Status Backend::send(const Reply& reply) {
  const base::Bytes bytes = reply.bytes();
  const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n == static_cast<ssize_t>(bytes.size())) return Status::kOpen;
  if (n < 0 && errno != EAGAIN) return Status::kClosed;
  return complain(request_name(header_.request), "is answered, but nobody reads the answers");
}

Backend::Status Backend::complain(std::string_view name, std::string_view why) {
  complaint_size_ = 0;
  for (const std::string_view part : {name, std::string_view{" "}, why}) {
    const std::size_t n = std::min(part.size(), complaint_.size() - complaint_size_);
    std::memcpy(complaint_.data() + complaint_size_, part.data(), n);
    complaint_size_ += n;
  }
  return Status::kViolation;
}

}  // namespace cordon::vhost
