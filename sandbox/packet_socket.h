// One SEQPACKET message at a time, with at most one descriptor: the plumbing under channel.h and control.h.
//
// Sending without a descriptor uses send() (sendto with a null address), because the translator's filter
// knows no sendmsg. Receiving never installs more than the descriptor that was asked for, and closes every
// surprise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::sandbox {

struct PacketPair {
  base::Fd first;
  base::Fd second;
};
// Two connected, non-blocking, close-on-exec ends with send buffers as large as the host allows.
[[nodiscard]] base::Result<PacketPair> make_packet_pair();

enum class SendStatus : std::uint8_t {
  kSent,
  kFull,   // back-pressure: nothing was sent, try again when the socket is writable
  kClosed  // the other end is gone
};
enum class Wait : std::uint8_t { kNever, kForRoom };
[[nodiscard]] SendStatus send_packet(int socket, base::Bytes bytes, Wait wait = Wait::kNever);
// One message of both parts. The kernel duplicates `passed`; the caller keeps its own. -1: none.
[[nodiscard]] SendStatus send_packet_with_fd(int socket, base::Bytes bytes, int passed,
                                             base::Bytes tail = {});

enum class PacketStatus : std::uint8_t {
  kReceived,
  kEmpty,   // nothing now
  kClosed,  // the other end is gone
  kBadFds   // more descriptors than allowed came along; all are closed
};
enum class AcceptFd : std::uint8_t { kNone, kAtMostOne };
struct Packet {
  PacketStatus status = PacketStatus::kEmpty;
  std::size_t size = 0;  // the true size of the message, also when it exceeds the buffer
  base::Fd fd;
};
[[nodiscard]] Packet receive_packet(int socket, base::MutableBytes buffer, AcceptFd accept);

}  // namespace cordon::sandbox
