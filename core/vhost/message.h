// The vhost-user protocol on the wire: from bytes and a number of descriptors to a message that cannot be
// wrong in itself, and from an answer to bytes. (QEMU docs/interop/vhost-user.rst)
//
// Theory of operation. A message is a header (request, flags, size: 12 bytes, native endian) and a payload of
// `size` bytes; descriptors travel beside it. Each request we know has one exact size and one exact number of
// descriptors, and what does not fit is an error: nothing is guessed. What we do not know, or do not offer,
// becomes Unsupported, because many front ends ask and go on (the device answers where it can). Whether a
// message makes sense now is the device's question (device.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "core/base/bytes.h"
#include "core/vhost/memory.h"

namespace cordon::vhost {

enum class Request : std::uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kResetOwner = 4,
  kSetMemTable = 5,
  kSetLogBase = 6,
  kSetLogFd = 7,
  kSetVringNum = 8,
  kSetVringAddr = 9,
  kSetVringBase = 10,
  kGetVringBase = 11,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kSetVringErr = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueNum = 17,
  kSetVringEnable = 18,
  kSendRarp = 19,
  kGetConfig = 24,
  kGetMaxMemSlots = 36,
  kAddMemReg = 37,
  kRemMemReg = 38,
  kSetStatus = 39,
  kGetStatus = 40,
  kSetDeviceStateFd = 42,
  kCheckDeviceState = 43,
};

inline constexpr std::size_t kHeaderSize = 12;
inline constexpr std::size_t kMaxPayload = 512;   // of all that we take or skip
inline constexpr std::size_t kMaxMessageFds = 8;  // SET_MEM_TABLE
inline constexpr std::size_t kMaxConfigSize = 256;

// For messages: "SET_VRING_NUM"; "an unknown request" for a number without a name.
[[nodiscard]] std::string_view request_name(std::uint32_t request);

struct Header {
  std::uint32_t request = 0;  // any number
  bool need_reply = false;
  std::uint32_t size = 0;  // of the payload, at most kMaxPayload
};

// Requests without a payload have the empty body of their own name.
struct GetFeatures {};
struct SetFeatures {
  std::uint64_t bits = 0;
};
struct SetOwner {};
struct ResetOwner {};
struct MemoryRegion {
  GuestAddress guest;
  std::uint64_t size = 0;  // not 0; neither address wraps
  UserAddress user;
  std::uint64_t offset = 0;  // in the file; offset + size does not wrap
  friend bool operator==(const MemoryRegion& a, const MemoryRegion& b) {
    return a.guest.value == b.guest.value && a.user.value == b.user.value && a.size == b.size;
  }
};
struct SetMemTable {
  std::array<MemoryRegion, kMaxMessageFds> regions{};
  std::size_t count = 0;  // at least one; a descriptor for each
};
struct SetLogBase {
  std::uint64_t size = 0;  // not 0; offset + size does not wrap
  std::uint64_t offset = 0;
};
struct SetLogFd {};
struct SetVringNum {
  std::uint32_t index = 0;
  std::uint32_t size = 0;
};
struct SetVringAddr {
  std::uint32_t index = 0;
  bool log = false;
  UserAddress descriptors;
  UserAddress used;
  UserAddress available;
  GuestAddress log_address;
};
struct SetVringBase {
  std::uint32_t index = 0;
  std::uint32_t base = 0;
};
struct GetVringBase {
  std::uint32_t index = 0;
};
// The descriptor is there, or the message says that there is none.
struct SetVringKick {
  std::uint32_t index = 0;
  bool has_fd = false;
};
struct SetVringCall {
  std::uint32_t index = 0;
  bool has_fd = false;
};
struct SetVringErr {};
struct GetProtocolFeatures {};
struct SetProtocolFeatures {
  std::uint64_t bits = 0;
};
struct GetQueueNum {};
struct SetVringEnable {
  std::uint32_t index = 0;
  bool enable = false;
};
struct SendRarp {};
struct GetConfig {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;  // not 0; the range is within kMaxConfigSize
  std::uint32_t flags = 0;
};
struct GetMaxMemSlots {};
struct AddMemReg {
  MemoryRegion region;
};
struct RemMemReg {
  MemoryRegion region;  // the offset means nothing
};
struct SetStatus {
  std::uint8_t status = 0;
};
struct GetStatus {};
// What we do not offer; its payload and descriptors were skipped.
struct Unsupported {};

using Body =
    std::variant<GetFeatures, SetFeatures, SetOwner, ResetOwner, SetMemTable, SetLogBase, SetLogFd,
                 SetVringNum, SetVringAddr, SetVringBase, GetVringBase, SetVringKick, SetVringCall,
                 SetVringErr, GetProtocolFeatures, SetProtocolFeatures, GetQueueNum, SetVringEnable, SendRarp,
                 GetConfig, GetMaxMemSlots, AddMemReg, RemMemReg, SetStatus, GetStatus, Unsupported>;

struct Message {
  std::uint32_t request = 0;
  bool need_reply = false;
  Body body;
};

// The error is a literal, to stand behind the message's name: "has the wrong size".
[[nodiscard]] std::expected<Header, std::string_view> parse_header(
    std::span<const std::byte, kHeaderSize> bytes);
// `payload` has the header's size; `fds` is how many descriptors came with it.
[[nodiscard]] std::expected<Message, std::string_view> parse(const Header& header, base::Bytes payload,
                                                             std::size_t fds);

// An answer, ready for the socket.
class Reply {
 public:
  Reply(std::uint32_t request, base::Bytes payload);
  static Reply number(std::uint32_t request, std::uint64_t value);
  static Reply vring_state(std::uint32_t request, std::uint32_t index, std::uint32_t value);
  // `data` is what the request's range holds.
  static Reply config(const GetConfig& asked, base::Bytes data);
  [[nodiscard]] base::Bytes bytes() const { return std::span(bytes_).first(size_); }

 private:
  std::array<std::byte, kHeaderSize + 12 + kMaxConfigSize> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace cordon::vhost
