// One connection of a hostile front end with a live `cordon vm --vhost-user`: brought up as any machine's, so
// that what is done to it afterwards is done to a device at work.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/vhost/driver_ring.h"
#include "tests/vhost/front_end.h"

namespace cordon::hostile {

using vhost_client::Buffer;
using vhost_client::DriverRing;
using vhost_client::FrontEnd;
using vhost_client::GuestMemory;
using vhost_client::RawDescriptor;
using vhost_client::Request;

using Payload = std::vector<std::byte>;

constexpr unsigned kReceive = 0, kTransmit = 1;
constexpr std::uint64_t kAllFeatures = ~std::uint64_t{0} & ~vhost_client::bit(vhost_client::feature::kLogAll);

class Visit {
 public:
  struct Options {
    std::uint64_t features = kAllFeatures;
    bool start = true;  // rings run, and the receive ring has buffers
  };
  Visit(const std::string& socket, const Options& options);

  // An ARP request from this guest, answered through the rings: the device does its work.
  [[nodiscard]] bool works();
  // What it answers to works() is not waited for.
  void ask_and_leave();
  // The back-end closes the connection, in time.
  [[nodiscard]] bool closed();
  // A chain of one buffer with these bytes (a header of 12 and a frame), offered and kicked.
  std::uint16_t put(const std::vector<std::byte>& bytes);
  // Offers what is in the ring now, whatever it is.
  void offer();
  // Waits until the device has given back everything that was offered to it. False: it does not.
  [[nodiscard]] bool given_back();
  // Buffers for frames to the guest, as many as fit.
  void post_buffers(std::uint32_t size);
  // As the guest's driver at its start; without buffers in the receive ring.
  void restart();
  void restart_receive();

  // --- messages by hand. With NEED_REPLY: nullopt, the connection has ended.
  [[nodiscard]] std::optional<std::uint64_t> ask(unsigned request, const Payload& payload,
                                                 const std::vector<int>& fds = {});
  void say(unsigned request, const Payload& payload, const std::vector<int>& fds = {},
           std::uint32_t flags = 0) const;
  void raw(unsigned request, std::uint32_t flags, std::uint32_t size, const Payload& payload) const;
  [[nodiscard]] bool send_bytes(const Payload& bytes) const;

  GuestMemory memory;
  std::optional<FrontEnd> front;
  std::unique_ptr<DriverRing> receive, transmit;
  std::uint64_t scratch = 0;  // 256 KiB of guest memory that no ring uses

  [[nodiscard]] std::uint64_t user(std::uint64_t guest) const { return memory.user_address(guest); }
  [[nodiscard]] std::uint64_t end() const { return memory.start() + memory.size(); }
  static constexpr std::array<std::uint8_t, 6> kMac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

 private:
  static constexpr std::uint32_t kBuffer = 2048;
  [[nodiscard]] std::vector<std::byte> question() const;
  std::vector<std::uint64_t> buffers_;
  std::vector<std::uint64_t> by_head_;
  std::uint64_t out_ = 0;
};

[[nodiscard]] Payload words(std::initializer_list<std::uint32_t> values);
[[nodiscard]] Payload numbers(std::initializer_list<std::uint64_t> values);

}  // namespace cordon::hostile
