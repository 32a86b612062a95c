// A queue pair in one process: a driver's rings on one side, a VhostLink on the other, eventfds in between.
#pragma once

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "core/vhost/vhost_link.h"
#include "tests/vhost/driver_ring.h"

namespace cordon::vhost_client {

inline constexpr vhost::Negotiated kEverything{.merge_buffers = true,
                                               .guest_checksum = true,
                                               .guest_tso4 = true,
                                               .guest_tso6 = true,
                                               .guest_uso4 = true,
                                               .guest_uso6 = true,
                                               .checksum = true,
                                               .host_tso4 = true,
                                               .host_tso6 = true,
                                               .host_uso = true,
                                               .event_index = true,
                                               .indirect = true};
inline constexpr std::size_t kNetHeader = 12;

// virtio 1.2, 5.1.6
struct VirtioNetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t hdr_len = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t csum_start = 0;
  std::uint16_t csum_offset = 0;
  std::uint16_t num_buffers = 0;
};

struct Pair {
  explicit Pair(const vhost::Negotiated& features = kEverything, std::uint16_t size = 256,
                std::size_t memory_size = std::size_t{8} << 20U)
      : memory(memory_size),
        receive(memory, {size, features.event_index, features.indirect}),
        transmit(memory, {size, features.event_index, features.indirect}) {
    REQUIRE(table.add(memory.region()));
    state.features = features;
    state.memory = &table;
    state.receive = {.ring = receive.config(), .kick = event(0), .call = event(1)};
    state.transmit = {.ring = transmit.config(), .kick = event(2), .call = event(3)};
    apply();
  }
  void apply() {
    ++state.generation;
    link.apply(state);
  }
  [[nodiscard]] int event(std::size_t i) { return events.at(i).get(); }
  static base::Fd make_event() {
    base::Fd fd{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    REQUIRE(fd.valid());
    return fd;
  }
  // How often the device has called since the last question.
  [[nodiscard]] std::uint64_t calls(bool of_transmit) {
    std::uint64_t count = 0;
    static_cast<void>(!::read(event(of_transmit ? 3 : 1), &count, sizeof count));
    return count;
  }
  void kick(bool of_transmit) {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(event(of_transmit ? 2 : 0), &one, sizeof one));
  }

  // A chain for the device to read, cut into pieces of these lengths (the last one takes the rest).
  void put_frame(const VirtioNetHeader& header, std::span<const std::byte> frame,
                 std::span<const std::uint32_t> cuts = {}) {
    std::vector<std::byte> all(kNetHeader + frame.size());
    std::memcpy(all.data(), &header, kNetHeader);
    std::memcpy(all.data() + kNetHeader, frame.data(), frame.size());
    put_bytes(all, cuts);
  }
  void put_bytes(std::span<const std::byte> all, std::span<const std::uint32_t> cuts = {}) {
    std::vector<Buffer> buffers;
    for (std::size_t i = 0; !all.empty() || i == 0; ++i) {
      const std::size_t n = i < cuts.size() ? std::min<std::size_t>(cuts[i], all.size()) : all.size();
      const std::uint64_t at = memory.allocate(n + 1, 1);
      if (n > 0) std::memcpy(memory.at(at), all.data(), n);  // nullptr, when there is nothing
      buffers.push_back({at, static_cast<std::uint32_t>(n)});
      all = all.subspan(n);
    }
    REQUIRE(transmit.add(buffers, false));
    transmit.publish();
  }
  // Empty buffers of this size for the device to fill.
  void post(std::size_t count, std::uint32_t size) {
    for (std::size_t i = 0; i < count; ++i) {
      const Buffer buffer{memory.allocate(size, 1), size};
      const auto head = receive.add(std::span(&buffer, 1), true);
      REQUIRE(head);
      posted.resize(std::max<std::size_t>(posted.size(), *head + 1U));
      posted[*head] = buffer;
    }
    receive.publish();
  }
  // What the device has put into the next `chains` buffers.
  [[nodiscard]] std::vector<std::byte> take(std::size_t chains) {
    std::vector<std::byte> out;
    for (; chains > 0; --chains) {
      const auto used = receive.take_used();
      REQUIRE(used);
      REQUIRE(used->length <= posted.at(used->head).length);
      const std::byte* const from = memory.at(posted[used->head].address);
      out.insert(out.end(), from, from + used->length);
    }
    return out;
  }
  std::size_t receive_frames() { return link.receive(frames); }

  GuestMemory memory;
  DriverRing receive;
  DriverRing transmit;
  std::array<base::Fd, 4> events{make_event(), make_event(), make_event(), make_event()};
  vhost::MemoryTable table;
  vhost::PairState state;
  vhost::VhostLink link;
  std::array<link::Frame, 64> frames{};
  std::vector<Buffer> posted;
};

inline std::vector<std::byte> some_frame(std::size_t size, unsigned seed = 1) {
  std::vector<std::byte> frame(size);
  for (std::size_t i = 0; i < size; ++i) frame[i] = static_cast<std::byte>(i * 31 + i / 251 + seed);
  return frame;
}

}  // namespace cordon::vhost_client
