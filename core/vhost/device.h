// The device behind the vhost-user socket, as a pure machine: what a message means in the state we are in.
//
// Theory of operation. step() takes one message and what the shell (backend.h) has found out about it, and
// says what to answer and whether a queue is another one now. A queue's ring exists (ring() has a value)
// when VERSION_1 was acknowledged, the ring has size, addresses within the memory table and a kick, and is
// enabled; it stops to exist with any of them. So the order of messages, which differs between front ends,
// does not matter, and nothing is assumed of a message that did not come.
//
// From its kick to its GET_VRING_BASE a ring's size, addresses and base are frozen (the exception: QEMU sends
// the same addresses again to turn the log of used entries on and off). When memory goes away under a started
// ring, the ring waits until it is back: a front end replaces regions one by one.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/net/mac_address.h"
#include "core/vhost/features.h"
#include "core/vhost/message.h"
#include "core/vhost/queue.h"

namespace cordon::vhost {

inline constexpr unsigned kMaxQueues = 2 * kMaxPairs;

struct DeviceOptions {
  FrontEnd front_end = FrontEnd::kQemu;
  unsigned pairs = 1;                  // 1..kMaxPairs
  std::optional<net::MacAddress> mac;  // of the guest, for CONFIG
  std::uint16_t mtu = 1500;            // likewise
};

// What the shell knows when it calls step().
struct Findings {
  // SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG: the table as it would be; nullptr: it could not be made.
  const MemoryTable* table = nullptr;
  // SET_LOG_BASE: the log is mapped.
  bool log_mapped = false;
  // Where the ring of each queue stands that exists now; only if touches_queues().
  std::array<std::uint16_t, kMaxQueues> positions{};
};

struct Outcome {
  enum class Verdict : std::uint8_t {
    kDone,
    kRefused,    // `why`; the state is as it was. Answered when an answer was asked for, else a violation
    kViolation,  // `why`; the connection is to be closed
  };
  Verdict verdict = Verdict::kDone;
  std::string_view why;
  std::optional<Reply> reply;
  std::bitset<kMaxQueues> changed;  // ring(), features() or the descriptors of these queues are others now
};

class Device {
 public:
  explicit Device(const DeviceOptions& options);

  // Whether workers have to be paused for it, because step() may change what they use.
  [[nodiscard]] static bool touches_queues(const Message& message);
  Outcome step(const Message& message, const Findings& findings);
  // What step() says of a message that the shell has found to be impossible.
  [[nodiscard]] static Outcome refuse(const Message& message, std::string_view why);

  // --- the state, for who sets queues up
  [[nodiscard]] std::optional<RingConfig> ring(unsigned queue) const;
  [[nodiscard]] Negotiated features() const { return negotiate(features_); }
  // A ring that has stopped has no kick any more.
  [[nodiscard]] bool started(unsigned queue) const { return vrings_[queue].started; }
  [[nodiscard]] bool logging() const { return has_log_ && (features_ & kFeatureLogAll) != 0; }
  [[nodiscard]] unsigned queues() const { return 2 * options_.pairs; }

 private:
  struct Vring {
    std::uint16_t size = 0;  // 0: not set
    std::uint16_t base = 0;
    std::optional<SetVringAddr> addr;
    bool started = false;  // has a kick
    bool enabled = false;
  };

  [[nodiscard]] std::optional<RingConfig> resolve(const Vring& vring, const MemoryTable& table) const;
  [[nodiscard]] bool any_started() const;
  [[nodiscard]] std::bitset<kMaxQueues> all() const;
  void stop(Vring& vring) { vring.started = false; }
  static void answer(const Message& message, Outcome& outcome);
  [[nodiscard]] bool enabled(const Vring& vring) const {
    return vring.enabled || (features_ & kFeatureProtocol) == 0;  // else nobody would enable it
  }

  // One for each body.
  Outcome on(const GetFeatures&, const Findings&);
  Outcome on(const SetFeatures& set, const Findings&);
  Outcome on(const SetOwner&, const Findings&);
  Outcome on(const ResetOwner&, const Findings&);
  Outcome on(const SetMemTable&, const Findings& findings);
  Outcome on(const SetLogBase&, const Findings& findings);
  Outcome on(const SetLogFd&, const Findings&);
  Outcome on(const SetVringNum& set, const Findings&);
  Outcome on(const SetVringAddr& set, const Findings&);
  Outcome on(const SetVringBase& set, const Findings&);
  Outcome on(const GetVringBase& get, const Findings&);
  Outcome on(const SetVringKick& set, const Findings&);
  Outcome on(const SetVringCall& set, const Findings&);
  Outcome on(const SetVringErr&, const Findings&);
  Outcome on(const GetProtocolFeatures&, const Findings&);
  Outcome on(const SetProtocolFeatures& set, const Findings&);
  Outcome on(const GetQueueNum&, const Findings&);
  Outcome on(const SetVringEnable& set, const Findings&);
  Outcome on(const SendRarp&, const Findings&);
  Outcome on(const GetConfig& get, const Findings&);
  Outcome on(const GetMaxMemSlots&, const Findings&);
  Outcome on(const AddMemReg&, const Findings& findings);
  Outcome on(const RemMemReg&, const Findings& findings);
  Outcome on(const SetStatus& set, const Findings&);
  Outcome on(const GetStatus&, const Findings&);
  Outcome on(const Unsupported&, const Findings&);
  Outcome take_table(const Findings& findings);

  DeviceOptions options_;
  std::uint64_t offered_;
  std::uint64_t offered_protocol_;
  std::uint64_t features_ = 0;
  std::uint64_t protocol_ = 0;
  std::uint8_t status_ = 0;
  bool has_log_ = false;
  const MemoryTable* table_ = nullptr;
  std::array<Vring, kMaxQueues> vrings_{};
};

}  // namespace cordon::vhost
