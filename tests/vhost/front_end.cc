#include "tests/vhost/front_end.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace cordon::vhost_client {
namespace {

// Protocol features.
constexpr unsigned kMultiQueue = 0, kReplyAck = 3;

struct Header {
  std::uint32_t request, flags, size;
};
struct RingState {
  std::uint32_t index, number;
};
struct RingAddresses {
  std::uint32_t index, flags;
  std::uint64_t descriptors, used, available, log;
};
struct MemoryTable {
  std::uint32_t regions, padding;
  std::uint64_t guest, size, user, offset;
};
constexpr std::size_t kMostFds = 8;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error("vhost-user: " + what); }
[[noreturn]] void fail_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

base::Fd event() {
  base::Fd fd{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  if (!fd) fail_errno("eventfd");
  return fd;
}

void receive_all(int fd, void* to, std::size_t size) {
  auto* at = static_cast<std::byte*>(to);
  while (size > 0) {
    pollfd p{fd, POLLIN, 0};
    constexpr int kMilliseconds = 1000 * static_cast<int>(FrontEnd::kPatience.count());
    if (::poll(&p, 1, kMilliseconds) == 0) fail("no answer");
    const ssize_t got = ::recv(fd, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail("the back-end is gone");
    at += got;
    size -= static_cast<std::size_t>(got);
  }
}

}  // namespace

base::Fd FrontEnd::connect_to(const std::string& path) {
  base::Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof address.sun_path) fail("the path is too long");
  path.copy(address.sun_path, path.size());
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail_errno("connect");
  return fd;
}

FrontEnd::FrontEnd(base::Fd socket, GuestMemory& memory) : socket_(std::move(socket)), memory_(memory) {}

void FrontEnd::send(Request request, std::span<const std::byte> payload, std::span<const int> fds,
                    std::uint32_t flags) {
  Header header{static_cast<std::uint32_t>(request), 1U | flags, static_cast<std::uint32_t>(payload.size())};
  std::array<iovec, 2> parts{iovec{&header, sizeof header},
                             iovec{const_cast<std::byte*>(payload.data()), payload.size()}};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostFds)> control{};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (!fds.empty()) {
    if (fds.size() > kMostFds) fail("too many descriptors");
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) !=
      static_cast<ssize_t>(sizeof header + payload.size()))
    fail_errno("sendmsg");
}

std::vector<std::byte> FrontEnd::answer(Request request) {
  Header header{};
  receive_all(socket_.get(), &header, sizeof header);
  // QEMU takes exactly these flags: version 1, a reply.
  if (header.request != static_cast<std::uint32_t>(request) || header.flags != 5 || header.size > 4096)
    fail("a wrong answer to request " + std::to_string(static_cast<unsigned>(request)));
  std::vector<std::byte> payload(header.size);
  receive_all(socket_.get(), payload.data(), payload.size());
  return payload;
}

std::uint64_t FrontEnd::answer_number(Request request) {
  const auto payload = answer(request);
  std::uint64_t number = 0;
  if (payload.size() != sizeof number) fail("an answer of the wrong size");
  std::memcpy(&number, payload.data(), sizeof number);
  return number;
}

std::uint64_t FrontEnd::ask_number(Request request) {
  send(request, {});
  return answer_number(request);
}

void FrontEnd::acknowledged(Request request) {
  if (has(protocol_, kReplyAck) && answer_number(request) != 0)
    fail("request " + std::to_string(static_cast<unsigned>(request)) + " was refused");
}

void FrontEnd::negotiate(std::uint64_t wanted) {
  const std::uint64_t offered = ask_number(Request::kGetFeatures);
  features_ = offered & (wanted | bit(feature::kVersion1) | bit(feature::kProtocolFeatures));
  if (has(offered, feature::kProtocolFeatures)) {
    protocol_ = ask_number(Request::kGetProtocolFeatures) & (bit(kMultiQueue) | bit(kReplyAck));
    send_value(Request::kSetProtocolFeatures, protocol_);
    if (has(protocol_, kMultiQueue)) queue_pairs_ = ask_number(Request::kGetQueueCount);
  }
  send(Request::kSetOwner, {});
  if (ask_number(Request::kGetFeatures) != offered) fail("the features have changed");
  for (unsigned i = 0; i < 2; ++i) {
    Queue& queue = queue_at(i);
    const std::uint64_t index = i;
    send_value(Request::kSetRingCall, index, std::array{queue.call.get()});
    send_value(Request::kSetRingError, index, std::array{queue.error.get()});
  }
}

void FrontEnd::set_features() { send_value(Request::kSetFeatures, features_); }

void FrontEnd::set_memory() {
  const MemoryTable table{1, 0, memory_.start(), memory_.size(), memory_.user_address(memory_.start()), 0};
  send_value(Request::kSetMemoryTable, table, std::array{memory_.fd()},
             has(protocol_, kReplyAck) ? kNeedReply : 0);
  acknowledged(Request::kSetMemoryTable);
}

FrontEnd::Queue& FrontEnd::queue_at(unsigned queue) {
  while (queues_.size() <= queue) queues_.push_back({event(), event(), event()});
  return queues_[queue];
}

void FrontEnd::start(unsigned queue, DriverRing& ring, std::uint16_t base) {
  const std::uint64_t index = queue;
  send_value(Request::kSetRingSize, RingState{queue, ring.size()});
  send_value(Request::kSetRingBase, RingState{queue, base});
  send_value(Request::kSetRingAddresses,
             RingAddresses{queue, 0, memory_.user_address(ring.descriptors_address()),
                           memory_.user_address(ring.used_address()),
                           memory_.user_address(ring.available_address()), ring.used_address()});
  send_value(Request::kSetRingKick, index, std::array{queue_at(queue).kick.get()});
  send_value(Request::kSetRingCall, index, std::array{queue_at(queue).call.get()});
}

void FrontEnd::enable(unsigned queue, bool enabled) {
  send_value(Request::kSetRingEnable, RingState{queue, enabled ? 1U : 0U}, {},
             has(protocol_, kReplyAck) ? kNeedReply : 0);
  acknowledged(Request::kSetRingEnable);
}

std::uint16_t FrontEnd::stop(unsigned queue) {
  send_value(Request::kGetRingBase, RingState{queue, 0});
  const auto payload = answer(Request::kGetRingBase);
  RingState state{};
  if (payload.size() != sizeof state) fail("GET_VRING_BASE: an answer of the wrong size");
  std::memcpy(&state, payload.data(), sizeof state);
  if (state.index != queue) fail("GET_VRING_BASE: an answer about another ring");
  return static_cast<std::uint16_t>(state.number);
}

void FrontEnd::kick(unsigned queue) {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(queue_at(queue).kick.get(), &one, sizeof one));
}

std::uint64_t FrontEnd::take_calls(unsigned queue) {
  std::uint64_t count = 0;
  return ::read(queue_at(queue).call.get(), &count, sizeof count) == sizeof count ? count : 0;
}

}  // namespace cordon::vhost_client
