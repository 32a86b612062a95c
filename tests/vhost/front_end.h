// A vhost-user front end, as a VMM has it: the dialogue over the socket, and the notifications. What the
// rings hold is DriverRing's part. It follows QEMU's order of messages; send() says anything else, too.
//
// Everything waits for at most kPatience and throws std::runtime_error when nothing comes or the back-end is
// gone.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "tests/vhost/driver_ring.h"
#include "tests/vhost/guest_memory.h"

namespace cordon::vhost_client {

// Feature bits (virtio 1.2, 5.1.3 and 6; vhost-user).
namespace feature {
inline constexpr unsigned kChecksum = 0, kGuestChecksum = 1, kGuestTso4 = 7, kGuestTso6 = 8, kHostTso4 = 11,
                          kHostTso6 = 12, kMergeBuffers = 15, kStatus = 16, kMultiQueue = 22, kLogAll = 26,
                          kIndirect = 28, kEventIndex = 29, kProtocolFeatures = 30, kVersion1 = 32,
                          kGuestUso4 = 54, kGuestUso6 = 55, kHostUso = 56;
}  // namespace feature
constexpr std::uint64_t bit(unsigned feature) { return std::uint64_t{1} << feature; }
constexpr bool has(std::uint64_t features, unsigned feature) { return (features & bit(feature)) != 0; }

enum class Request : std::uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kSetMemoryTable = 5,
  kSetLogBase = 6,
  kSetRingSize = 8,
  kSetRingAddresses = 9,
  kSetRingBase = 10,
  kGetRingBase = 11,
  kSetRingKick = 12,
  kSetRingCall = 13,
  kSetRingError = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueCount = 17,
  kSetRingEnable = 18,
};

class FrontEnd {
 public:
  static constexpr std::chrono::seconds kPatience{10};

  // Connects to the UNIX socket; throws when nobody listens.
  FrontEnd(const std::string& path, GuestMemory& memory) : FrontEnd(connect_to(path), memory) {}
  FrontEnd(base::Fd socket, GuestMemory& memory);

  // The dialogue up to SET_OWNER. `wanted`: feature bits; what both have is acknowledged at start().
  void negotiate(std::uint64_t wanted);
  [[nodiscard]] std::uint64_t features() const { return features_; }
  [[nodiscard]] std::uint64_t queue_pairs() const { return queue_pairs_; }
  // The guest's driver is ready: features and memory, and then its rings.
  void set_features();
  void set_memory();
  void start(unsigned queue, DriverRing& ring, std::uint16_t base = 0);
  void enable(unsigned queue, bool enabled);
  // The next available entry.
  std::uint16_t stop(unsigned queue);

  void kick(unsigned queue);
  [[nodiscard]] int call_fd(unsigned queue) { return queue_at(queue).call.get(); }
  // Takes the calls that came.
  std::uint64_t take_calls(unsigned queue);
  [[nodiscard]] int socket() const { return socket_.get(); }

  // --- one message
  static constexpr std::uint32_t kNeedReply = 8;
  void send(Request request, std::span<const std::byte> payload, std::span<const int> fds = {},
            std::uint32_t flags = 0);
  template <class T>
  void send_value(Request request, const T& value, std::span<const int> fds = {}, std::uint32_t flags = 0) {
    send(request, std::as_bytes(std::span(&value, 1)), fds, flags);
  }
  // The payload of the answer.
  std::vector<std::byte> answer(Request request);
  std::uint64_t answer_number(Request request);
  std::uint64_t ask_number(Request request);

 private:
  struct Queue {
    base::Fd kick, call, error;
  };
  static base::Fd connect_to(const std::string& path);
  Queue& queue_at(unsigned queue);
  void acknowledged(Request request);

  base::Fd socket_;
  GuestMemory& memory_;
  std::uint64_t features_ = 0;
  std::uint64_t protocol_ = 0;
  std::uint64_t queue_pairs_ = 1;
  std::vector<Queue> queues_;
};

}  // namespace cordon::vhost_client
