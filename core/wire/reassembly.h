// Reassembles the guest's IP fragments within fixed limits, because a guest cuts UDP datagrams above its MTU.
//
// A fixed number of slots, allocated once; each holds one datagram's bytes and a bitmap of its 8-byte units.
// Any overlap, even of identical bytes, condemns the datagram (RFC 5722 for IPv6; the same for IPv4, where
// overlaps only serve evasion): its slot stays condemned until it expires. A full table evicts the oldest.
// Nothing needs a timer: a slot that expired is free. The result is a whole IP packet that went through
// parse_packet() like any other, so policy sees it only when all of it is there.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/time.h"
#include "core/wire/packet.h"

namespace cordon::wire {

enum class FragmentOutcome : std::uint8_t {
  kHeld,          // more is needed
  kComplete,      // `packet` is whole
  kOverlap,       // or a duplicate: the datagram is condemned
  kInconsistent,  // two different ends, or bytes behind the end: condemned
  kMalformed,     // whole, and refused by parse_packet(): `error`
};
[[nodiscard]] std::string_view name(FragmentOutcome outcome);

class Reassembler {
 public:
  static constexpr base::Duration kLifetime = std::chrono::seconds{5};  // the guest is one hop away
  static constexpr std::size_t kDefaultSlots = 16;                      // 1 MiB, committed as used

  explicit Reassembler(std::size_t slots = kDefaultSlots);

  struct Result {
    FragmentOutcome outcome = FragmentOutcome::kHeld;
    std::optional<ParseError> error;
    std::optional<Packet> packet;  // borrowed: valid until the next add(); L4 checksum verified
  };
  // `fragment`: a parsed packet with is_fragment.
  Result add(const Packet& fragment, base::Instant now);
  // Datagrams given up because the table was full.
  [[nodiscard]] std::uint64_t evictions() const { return evictions_; }

 private:
  static constexpr std::size_t kMaxPayload = 65535;
  static constexpr std::size_t kMaxHeader = 40;
  static constexpr std::size_t kBuffer = kMaxHeader + kMaxPayload;

  struct Slot {
    net::IpAddress source;
    net::IpAddress destination;
    std::uint32_t id = 0;
    IpProtocol protocol = IpProtocol::kUdp;
    base::Instant expires = base::Instant::from_nanos(INT64_MIN);
    bool condemned = false;
    std::uint8_t hop_limit = 0;      // of the first fragment
    std::uint8_t traffic_class = 0;  // of the first fragment
    std::uint32_t received = 0;      // bytes
    std::uint32_t end = 0;           // payload length, 0 until the last fragment is seen
    std::uint32_t highest = 0;       // end of the farthest fragment so far
    std::array<std::uint64_t, (kMaxPayload / 8 + 64) / 64> units{};

    bool mark(std::uint32_t first, std::uint32_t count);  // false: one was marked already
  };

  Slot& slot_for(const Packet& fragment, base::Instant now);
  [[nodiscard]] base::MutableBytes buffer_of(const Slot& slot);
  Result finish(Slot& slot);

  std::vector<Slot> slots_;
  std::unique_ptr<std::byte[]> buffers_;
  std::uint64_t evictions_ = 0;
};

}  // namespace cordon::wire
