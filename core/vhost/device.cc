#include "core/vhost/device.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "core/base/check.h"

namespace cordon::vhost {
namespace {

constexpr std::uint64_t kFailed = 1;  // any number but 0
// SET_DEVICE_STATE_FD: failed, and no descriptor comes back.
constexpr std::uint64_t kFailedNoFd = 0x101;

Outcome done() { return {}; }
Outcome replied(Request request, std::uint64_t value) {
  Outcome outcome;
  outcome.reply = Reply::number(static_cast<std::uint32_t>(request), value);
  return outcome;
}
Outcome refused(std::string_view why) {
  Outcome outcome;
  outcome.verdict = Outcome::Verdict::kRefused;
  outcome.why = why;
  return outcome;
}
Outcome changed(unsigned queue) {
  Outcome outcome;
  outcome.changed.set(queue);
  return outcome;
}

constexpr std::string_view kNoQueue = "is about a queue that does not exist";
constexpr std::string_view kFrozen = "changes a ring that has been started";

bool aligned(const SetVringAddr& addr) {
  return addr.descriptors.value % 16 == 0 && addr.available.value % 2 == 0 && addr.used.value % 4 == 0;
}

bool same_place(const SetVringAddr& a, const SetVringAddr& b) {
  return a.descriptors.value == b.descriptors.value && a.available.value == b.available.value &&
         a.used.value == b.used.value;
}

bool apart(std::span<const std::byte> a, std::span<const std::byte> b) {
  constexpr std::less_equal<> kNotAfter;  // of different mappings, too
  return kNotAfter(a.data() + a.size(), b.data()) || kNotAfter(b.data() + b.size(), a.data());
}

// struct virtio_net_config (virtio 1.2, 5.1.4), little-endian; zero beyond.
std::array<std::byte, kMaxConfigSize> config_space(const DeviceOptions& options) {
  std::array<std::byte, kMaxConfigSize> space{};
  const auto put16 = [&space](std::size_t at, unsigned value) {
    space[at] = static_cast<std::byte>(value & 0xffU);
    space[at + 1] = static_cast<std::byte>(value >> 8U & 0xffU);
  };
  if (options.mac) {
    const auto mac = options.mac->bytes();
    std::memcpy(space.data(), mac.data(), mac.size());
  }
  put16(6, 1);  // VIRTIO_NET_S_LINK_UP
  put16(8, options.pairs);
  put16(10, options.mtu);
  return space;
}

}  // namespace

Device::Device(const DeviceOptions& options)
    : options_(options),
      offered_(offered_features(options.front_end, options.pairs, options.mac.has_value())),
      offered_protocol_(offered_protocol_features(options.front_end, options.pairs)) {
  CORDON_CHECK(options.pairs >= 1 && options.pairs <= kMaxPairs);
}

bool Device::touches_queues(const Message& message) {
  switch (static_cast<Request>(message.request)) {
    case Request::kSetFeatures:
    case Request::kResetOwner:
    case Request::kSetMemTable:
    case Request::kSetLogBase:
    case Request::kSetVringNum:
    case Request::kSetVringAddr:
    case Request::kSetVringBase:
    case Request::kGetVringBase:
    case Request::kSetVringKick:
    case Request::kSetVringCall:
    case Request::kSetVringEnable:
    case Request::kAddMemReg:
    case Request::kRemMemReg:
    case Request::kSetStatus: return true;
    case Request::kGetFeatures:
    case Request::kSetOwner:
    case Request::kSetLogFd:
    case Request::kSetVringErr:
    case Request::kGetProtocolFeatures:
    case Request::kSetProtocolFeatures:
    case Request::kGetQueueNum:
    case Request::kSendRarp:
    case Request::kGetConfig:
    case Request::kGetMaxMemSlots:
    case Request::kGetStatus:
    case Request::kSetDeviceStateFd:
    case Request::kCheckDeviceState: return false;
  }
  return false;  // a number without a name
}

Outcome Device::step(const Message& message, const Findings& findings) {
  // From here on a change of any kind goes on where the ring stands, not where it began.
  for (unsigned i = 0; touches_queues(message) && i < queues(); ++i)
    if (ring(i)) vrings_[i].base = findings.positions[i];
  Outcome outcome = std::visit([&](const auto& body) { return on(body, findings); }, message.body);
  answer(message, outcome);
  return outcome;
}

Outcome Device::refuse(const Message& message, std::string_view why) {
  Outcome outcome = refused(why);
  answer(message, outcome);
  return outcome;
}

// Requests with an answer of their own have it by now; the others are acknowledged on demand. What cannot be
// refused, because nobody would hear it, ends the connection.
void Device::answer(const Message& message, Outcome& outcome) {
  if (outcome.reply || outcome.verdict == Outcome::Verdict::kViolation) return;
  const auto request = static_cast<Request>(message.request);
  const bool failed = outcome.verdict == Outcome::Verdict::kRefused;
  if (request == Request::kSetDeviceStateFd)
    outcome.reply = Reply::number(message.request, kFailedNoFd);
  else if (request == Request::kCheckDeviceState || message.need_reply)
    outcome.reply = Reply::number(message.request, failed ? kFailed : 0);
  else if (failed)
    outcome.verdict = Outcome::Verdict::kViolation;
}

std::optional<RingConfig> Device::ring(unsigned queue) const {
  const Vring& vring = vrings_[queue];
  if (!vring.started || !enabled(vring) || table_ == nullptr) return std::nullopt;
  if ((features_ & kFeatureVersion1) == 0) return std::nullopt;
  return resolve(vring, *table_);
}

std::optional<RingConfig> Device::resolve(const Vring& vring, const MemoryTable& table) const {
  if (vring.size == 0 || !vring.addr) return std::nullopt;
  const std::uint64_t size = vring.size;
  const auto descriptors = table.at(vring.addr->descriptors, 16 * size);
  const auto available = table.at(vring.addr->available, 6 + 2 * size);
  const auto used = table.at(vring.addr->used, 6 + 8 * size);
  if (!descriptors || !available || !used) return std::nullopt;
  // We write to one of them only, and it must not be what we read.
  if (!apart(*descriptors, *used) || !apart(*available, *used) || !apart(*descriptors, *available))
    return std::nullopt;
  RingConfig config;
  config.size = vring.size;
  config.descriptors = *descriptors;
  config.available = *available;
  config.used = *used;
  config.base = vring.base;
  if (vring.addr->log) config.used_logged = vring.addr->log_address;
  return config;
}

bool Device::any_started() const {
  return std::ranges::any_of(vrings_, [](const Vring& vring) { return vring.started; });
}

std::bitset<kMaxQueues> Device::all() const {
  std::bitset<kMaxQueues> bits;
  for (unsigned i = 0; i < queues(); ++i) bits.set(i);
  return bits;
}

// --- features

Outcome Device::on(const GetFeatures&, const Findings&) { return replied(Request::kGetFeatures, offered_); }

Outcome Device::on(const SetFeatures& set, const Findings&) {
  if ((set.bits & ~offered_) != 0) return refused("has features that were not offered");
  if (any_started() && ((set.bits ^ features_) & ~kFeatureLogAll) != 0)
    return refused("changes the features of a started ring");
  if (set.bits == features_) return done();
  features_ = set.bits;
  Outcome outcome;
  outcome.changed = all();
  return outcome;
}

Outcome Device::on(const GetProtocolFeatures&, const Findings&) {
  return replied(Request::kGetProtocolFeatures, offered_protocol_);
}

Outcome Device::on(const SetProtocolFeatures& set, const Findings&) {
  if ((set.bits & ~offered_protocol_) != 0) return refused("has features that were not offered");
  if (any_started() && set.bits != protocol_) return refused("changes the features of a started ring");
  protocol_ = set.bits;
  return done();
}

Outcome Device::on(const GetQueueNum&, const Findings&) {
  const bool in_pairs = options_.front_end == FrontEnd::kQemu;
  return replied(Request::kGetQueueNum, in_pairs ? options_.pairs : queues());
}

Outcome Device::on(const GetConfig& get, const Findings&) {
  const auto space = config_space(options_);
  Outcome outcome;
  outcome.reply = Reply::config(get, std::span(space).subspan(get.offset, get.size));
  return outcome;
}

// --- owner and status

Outcome Device::on(const SetOwner&, const Findings&) { return done(); }

// "Deprecated": front ends of long ago meant a reset by it.
Outcome Device::on(const ResetOwner&, const Findings&) {
  for (Vring& vring : vrings_) stop(vring);
  Outcome outcome;
  outcome.changed = all();
  return outcome;
}

Outcome Device::on(const SetStatus& set, const Findings&) {
  status_ = set.status;
  Outcome outcome;
  if (set.status != 0) return outcome;
  for (Vring& vring : vrings_) stop(vring);
  outcome.changed = all();
  return outcome;
}

Outcome Device::on(const GetStatus&, const Findings&) { return replied(Request::kGetStatus, status_); }

Outcome Device::on(const SendRarp&, const Findings&) { return done(); }

// --- memory

Outcome Device::take_table(const Findings& findings) {
  if (findings.table == nullptr) return refused("has memory that cannot be used");
  table_ = findings.table;
  Outcome outcome;
  outcome.changed = all();
  return outcome;
}

Outcome Device::on(const SetMemTable&, const Findings& findings) { return take_table(findings); }
Outcome Device::on(const AddMemReg&, const Findings& findings) { return take_table(findings); }
Outcome Device::on(const RemMemReg&, const Findings& findings) {
  return findings.table == nullptr ? refused("is about a region that does not exist") : take_table(findings);
}
Outcome Device::on(const GetMaxMemSlots&, const Findings&) {
  return replied(Request::kGetMaxMemSlots, kMaxRegions);
}

Outcome Device::on(const SetLogBase&, const Findings& findings) {
  if (!findings.log_mapped) return refused("has a log that cannot be used");
  has_log_ = true;
  Outcome outcome;
  outcome.changed = all();
  if ((protocol_ & kProtocolLogShmfd) != 0) outcome.reply = Reply::number(6, 0);
  return outcome;
}

Outcome Device::on(const SetLogFd&, const Findings&) { return done(); }

// --- rings

Outcome Device::on(const SetVringNum& set, const Findings&) {
  if (set.index >= queues()) return refused(kNoQueue);
  Vring& vring = vrings_[set.index];
  if (vring.started) return refused(kFrozen);
  if (set.size == 0 || set.size > kMaxRingSize || !std::has_single_bit(set.size))
    return refused("has a size that is not a power of two up to 1024");
  vring.size = static_cast<std::uint16_t>(set.size);
  return done();
}

Outcome Device::on(const SetVringAddr& set, const Findings&) {
  if (set.index >= queues()) return refused(kNoQueue);
  Vring& vring = vrings_[set.index];
  if (vring.started && !(vring.addr && same_place(*vring.addr, set))) return refused(kFrozen);
  if (!aligned(set)) return refused("has addresses that are not aligned");
  Vring next = vring;
  next.addr = set;
  // A front end gives the memory and the size first. Where it does not, the ring waits for them.
  if (!vring.started && table_ != nullptr && next.size != 0 && !resolve(next, *table_))
    return refused("has addresses outside of memory, or in each other");
  vring = next;
  return changed(set.index);
}

Outcome Device::on(const SetVringBase& set, const Findings&) {
  if (set.index >= queues()) return refused(kNoQueue);
  Vring& vring = vrings_[set.index];
  if (vring.started) return refused(kFrozen);
  if (set.base > UINT16_MAX) return refused("has an index that a ring cannot have");
  vring.base = static_cast<std::uint16_t>(set.base);
  return done();
}

Outcome Device::on(const GetVringBase& get, const Findings&) {
  Outcome outcome = refused(kNoQueue);
  outcome.verdict = Outcome::Verdict::kViolation;  // an acknowledgement would not be an answer
  if (get.index >= queues()) return outcome;
  Vring& vring = vrings_[get.index];
  stop(vring);
  outcome = changed(get.index);
  outcome.reply =
      Reply::vring_state(static_cast<std::uint32_t>(Request::kGetVringBase), get.index, vring.base);
  return outcome;
}

Outcome Device::on(const SetVringKick& set, const Findings&) {
  if (set.index >= queues()) return refused(kNoQueue);
  if (!set.has_fd) return refused("wants the ring to be polled");
  Vring& vring = vrings_[set.index];
  if (!vring.started) {
    if (vring.size == 0 || !vring.addr || table_ == nullptr)
      return refused("starts a ring that is not set up");
    if (!resolve(vring, *table_))
      return refused("starts a ring with addresses outside of memory, or in each other");
  }
  vring.started = true;
  return changed(set.index);
}

Outcome Device::on(const SetVringCall& set, const Findings&) {
  return set.index < queues() ? changed(set.index) : refused(kNoQueue);
}

Outcome Device::on(const SetVringErr&, const Findings&) { return done(); }

Outcome Device::on(const SetVringEnable& set, const Findings&) {
  if (set.index >= queues()) return refused(kNoQueue);
  vrings_[set.index].enabled = set.enable;
  return changed(set.index);
}

Outcome Device::on(const Unsupported&, const Findings&) { return refused("is not offered"); }

}  // namespace cordon::vhost
