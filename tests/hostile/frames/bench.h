// The same worker behind each kind of link: a list, a tap (a SEQPACKET pair behaves like its descriptor), a
// stream socket, the rings of a vhost-user device.
#pragma once

#include <sys/socket.h>

#include <bit>
#include <cstring>
#include <memory>

#include "core/link/stream_link.h"
#include "core/link/tap_link.h"
#include "tests/hostile/frames/rows.h"
#include "tests/plane/fakes.h"
#include "tests/vhost/pair.h"

namespace cordon::hostile {

class Bench {
 public:
  virtual ~Bench() = default;
  [[nodiscard]] virtual link::Link& link() = 0;
  // A frame this kind of link can carry to us.
  [[nodiscard]] virtual bool carries(const Frame&) const { return true; }
  [[nodiscard]] virtual bool verifies() const { return true; }  // L4 checksums
  virtual void put(const Frame& frame) = 0;
  // What the guest was sent since the last question.
  [[nodiscard]] virtual Frames take() = 0;
};

class ListBench final : public Bench {
 public:
  [[nodiscard]] link::Link& link() override { return list_; }
  void put(const Frame& frame) override { list_.from_guest(frame.bytes, frame.offload); }
  [[nodiscard]] Frames take() override {
    Frames out;
    for (auto& item : list_.output) out.emplace_back(std::move(item.bytes), item.offload);
    list_.output.clear();
    return out;
  }

 private:
  plane::test::ListLink list_;
};

inline std::array<base::Fd, 2> socket_pair(int type) {
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
  const int size = 4 << 20;
  for (const int fd : fds) ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  return {base::Fd(fds[0]), base::Fd(fds[1])};
}

// virtio 1.2, 5.1.6, as a tap has it.
inline vhost_client::VirtioNetHeader vnet(const link::Offload& offload) {
  vhost_client::VirtioNetHeader header;
  if (offload.needs_checksum) {
    header.flags = 1;
    header.csum_start = offload.checksum_start;
    header.csum_offset = offload.checksum_offset;
  }
  switch (offload.gso) {
    case link::Gso::kNone: break;
    case link::Gso::kTcp4: header.gso_type = 1; break;
    case link::Gso::kTcp6: header.gso_type = 4; break;
    case link::Gso::kUdp: header.gso_type = 5; break;
  }
  header.gso_size = offload.gso_size;
  header.hdr_len = offload.header_length;
  return header;
}
inline link::Offload offload_of(const vhost_client::VirtioNetHeader& header) {
  link::Offload offload;
  offload.needs_checksum = (header.flags & 1U) != 0;
  offload.checksum_valid = (header.flags & 2U) != 0;
  offload.checksum_start = header.csum_start;
  offload.checksum_offset = header.csum_offset;
  offload.gso_size = header.gso_size;
  switch (header.gso_type & 0x7fU) {
    case 1: offload.gso = link::Gso::kTcp4; break;
    case 4: offload.gso = link::Gso::kTcp6; break;
    case 5: offload.gso = link::Gso::kUdp; break;
    default: break;
  }
  return offload;
}

class TapBench final : public Bench {
 public:
  TapBench() : fds_(socket_pair(SOCK_SEQPACKET)), tap_(std::move(fds_[1]), {true, true, true}) {}
  [[nodiscard]] link::Link& link() override { return tap_; }
  void put(const Frame& frame) override {
    const auto header = vnet(frame.offload);
    Buffer all(10 + frame.bytes.size());
    std::memcpy(all.data(), &header, 10);
    std::copy(frame.bytes.begin(), frame.bytes.end(), all.begin() + 10);
    REQUIRE(::send(fds_[0].get(), all.data(), all.size(), 0) == static_cast<ssize_t>(all.size()));
  }
  [[nodiscard]] Frames take() override {
    Frames out;
    Buffer all(70000);
    for (ssize_t n = 0; (n = ::recv(fds_[0].get(), all.data(), all.size(), 0)) >= 10;) {
      std::array<std::byte, sizeof(vhost_client::VirtioNetHeader)> bytes{};
      std::copy_n(all.begin(), 10, bytes.begin());
      const auto header = std::bit_cast<vhost_client::VirtioNetHeader>(bytes);
      out.emplace_back(Buffer(all.begin() + 10, all.begin() + n), offload_of(header));
    }
    return out;
  }

 private:
  std::array<base::Fd, 2> fds_;
  link::TapLink tap_;
};

class StreamBench final : public Bench {
 public:
  StreamBench() : fds_(socket_pair(SOCK_STREAM)), stream_(std::move(fds_[1])) {}
  [[nodiscard]] link::Link& link() override { return stream_; }
  // A length that no frame has ends the stream: rows of their own (4.10). There is no header for offloads.
  [[nodiscard]] bool carries(const Frame& frame) const override {
    return frame.bytes.size() >= 14 && !frame.offload.needs_checksum;
  }
  [[nodiscard]] bool verifies() const override { return false; }
  void put(const Frame& frame) override {
    Buffer all(4);
    test::put16(all, 0, static_cast<std::uint32_t>(frame.bytes.size() >> 16U));
    test::put16(all, 2, static_cast<std::uint32_t>(frame.bytes.size() & 0xffffU));
    all = all + frame.bytes;
    REQUIRE(::send(fds_[0].get(), all.data(), all.size(), 0) == static_cast<ssize_t>(all.size()));
  }
  [[nodiscard]] Frames take() override {
    Frames out;
    Buffer more(1 << 20);
    for (ssize_t n = 0; (n = ::recv(fds_[0].get(), more.data(), more.size(), 0)) > 0;)
      input_.insert(input_.end(), more.begin(), more.begin() + n);
    std::size_t at = 0;
    const auto byte = [&](std::size_t i) { return std::to_integer<std::size_t>(input_[at + i]); };
    while (input_.size() - at >= 4) {
      const std::size_t size = byte(0) << 24U | byte(1) << 16U | byte(2) << 8U | byte(3);
      if (input_.size() - at - 4 < size) break;
      const auto begin = input_.begin() + static_cast<std::ptrdiff_t>(at + 4);
      out.emplace_back(Buffer(begin, begin + static_cast<std::ptrdiff_t>(size)));
      at += 4 + size;
    }
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(at));
    return out;
  }

 private:
  std::array<base::Fd, 2> fds_;
  link::StreamLink stream_;
  Buffer input_;
};

class VhostBench final : public Bench {
 public:
  VhostBench() : pair_(vhost_client::kEverything, 256, std::size_t{64} << 20U) {
    pair_.post(200, kBuffer);
    for (std::size_t i = 0; i < kSlots; ++i) slots_.push_back(pair_.memory.allocate(kSlot));
  }
  [[nodiscard]] link::Link& link() override { return pair_.link; }
  void put(const Frame& frame) override {
    while (pair_.transmit.take_used()) {
    }
    const std::uint64_t at = slots_[next_++ % kSlots];
    auto header = vnet(frame.offload);
    std::memcpy(pair_.memory.at(at), &header, 12);
    if (!frame.bytes.empty()) std::memcpy(pair_.memory.at(at) + 12, frame.bytes.data(), frame.bytes.size());
    const auto size = static_cast<std::uint32_t>(frame.bytes.size());
    const std::array<vhost_client::Buffer, 2> parts{{{at, 12}, {at + 12, size}}};
    REQUIRE(pair_.transmit.add(std::span(parts).first(size > 0 ? 2 : 1), false));
    pair_.transmit.publish();
    pair_.kick(true);
  }
  [[nodiscard]] Frames take() override {
    Frames out;
    while (const auto used = pair_.receive.take_used()) {
      const auto* const from = pair_.memory.at(pair_.posted[used->head].address);
      if (wanted_ == 0) {
        vhost_client::VirtioNetHeader header;
        std::memcpy(&header, from, sizeof header);
        wanted_ = header.num_buffers;
        out.emplace_back(Buffer(from + sizeof header, from + used->length), offload_of(header));
      } else {
        out.back().bytes.insert(out.back().bytes.end(), from, from + used->length);
      }
      --wanted_;
      const vhost_client::Buffer again = pair_.posted[used->head];
      const auto head = pair_.receive.add(std::span(&again, 1), true);
      REQUIRE(head);
      pair_.posted.resize(std::max<std::size_t>(pair_.posted.size(), *head + 1U));
      pair_.posted[*head] = again;
    }
    pair_.receive.publish();
    pair_.kick(false);
    return out;
  }
  [[nodiscard]] bool dead() const { return pair_.link.dead(); }

 private:
  static constexpr std::uint32_t kBuffer = 2048;
  static constexpr std::size_t kSlots = 64;
  static constexpr std::size_t kSlot = 72000;
  vhost_client::Pair pair_;
  std::vector<std::uint64_t> slots_;
  std::size_t next_ = 0;
  unsigned wanted_ = 0;
};

struct Way {
  const char* name;
  std::unique_ptr<Bench> (*make)();
};
inline constexpr Way kWays[] = {
    {"in process", [] { return std::unique_ptr<Bench>(std::make_unique<ListBench>()); }},
    {"tap", [] { return std::unique_ptr<Bench>(std::make_unique<TapBench>()); }},
    {"stream", [] { return std::unique_ptr<Bench>(std::make_unique<StreamBench>()); }},
    {"vhost-user", [] { return std::unique_ptr<Bench>(std::make_unique<VhostBench>()); }},
};

}  // namespace cordon::hostile
