// A link whose frames are written down, both ways, for --pcap: in the classic pcap format (nanoseconds would
// be pcapng's; libpcap's file format 2.4 with microseconds is what every reader takes).
//
// Diagnosis: each frame costs a system call, and a disk that is slow slows the guest. One record is one
// write, so several workers, and one translator after another, may append to the same file. A disk or
// file that is full, or a record that was cut off in its middle, ends the capture, not the traffic; what is
// missing is counted. Frames are as they are on the link: super-frames, with checksums still to be completed
// where that was agreed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/link/forwarding_link.h"

namespace cordon::link {

inline constexpr std::size_t kCaptureHeader = 24;
inline constexpr std::uint64_t kMostCaptured = 4UL << 30U;  // bytes; the writer's RLIMIT_FSIZE
// What the file begins with.
[[nodiscard]] std::array<std::byte, kCaptureHeader> capture_header();

class CaptureLink final : public ForwardingLink {
 public:
  // `file`: open for appending; not owned.
  CaptureLink(Link& inner, int file);

  [[nodiscard]] std::size_t receive(std::span<Frame> frames) override;
  [[nodiscard]] std::size_t receive_bulk(std::span<Frame> frames) override;
  [[nodiscard]] SendStatus send(const Offload& offload, std::span<const iovec> parts) override;

  // Frames that are not in the file.
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

 private:
  void record(std::span<const iovec> parts);
  void record(std::span<Frame> frames);

  int file_;
  std::vector<std::byte> buffer_;
  std::uint64_t lost_ = 0;
  bool ended_ = false;
};

}  // namespace cordon::link
