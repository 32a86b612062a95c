// Any bytes, with none to three descriptors, as messages between launcher and broker, in both directions.
// Both ends are ours: this is about our own mistakes. No descriptor is lost, and what is received is within
// its limits. Input: records of flags (bit 0: to the launcher; bits 1-2: descriptors), length (1 byte),
// message.
#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <vector>

#include "fuzz/input.h"
#include "sandbox/control.h"

using namespace cordon;
using namespace cordon::sandbox;
using fuzz::require;

namespace {

void send_raw(int to, base::Bytes bytes, std::size_t fds, int fd) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(3 * sizeof(int))> room{};
  if (fds > 0) {
    message.msg_control = room.data();
    message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds * sizeof(int));
    for (std::size_t i = 0; i < fds; ++i) std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
  }
  require(::sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}

void check(const control::FromLauncher& message) {
  if (const auto* list = std::get_if<control::Resolvers>(&message))
    require(list->servers.size() <= control::kMaxResolvers);
  if (const auto* fresh = std::get_if<control::NewTranslator>(&message))
    require(fresh->channel.valid() && fresh->worker < control::kMaxWorkers);
  if (const auto* policy = std::get_if<control::NewPolicy>(&message))
    require(policy->bundle.valid() && policy->cause <= control::LoadCause::kControl);
  if (const auto* client = std::get_if<control::NewClient>(&message)) require(client->socket.valid());
  if (const auto* sink = std::get_if<control::NewAuditSink>(&message)) require(sink->fd.valid());
}

void check(const control::FromBroker& message) {
  if (const auto* kill = std::get_if<control::KillTranslator>(&message))
    require(to_string(kill->reason) != "?");
}

// One message was sent: one call takes it, the next finds nothing.
template <class End>
void receive(End& end) {
  auto message = end.receive();
  if (message)
    check(*message);
  else
    require(message.error() != ReceiveStop::kEmpty);
  message = end.receive();
  require(!message && message.error() == ReceiveStop::kEmpty);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto pair = make_packet_pair();
  require(pair.has_value());
  static const base::Fd some{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const std::size_t before = fuzz::open_descriptors();
  const int launcher_fd = pair->first.get(), broker_fd = pair->second.get();
  control::LauncherControl launcher{std::move(pair->first)};
  control::BrokerControl broker{std::move(pair->second)};
  fuzz::Input in{data, size};
  for (int i = 0; i < 64 && !in.empty(); ++i) {
    const unsigned flags = in.u8();
    const base::Bytes bytes = in.bytes(in.u8());
    if (bytes.empty()) continue;  // an empty packet is the end of a SEQPACKET stream
    const bool to_launcher = (flags & 1U) != 0;
    send_raw(to_launcher ? broker_fd : launcher_fd, bytes, flags >> 1U & 3U, some.get());
    to_launcher ? receive(launcher) : receive(broker);
    require(fuzz::open_descriptors() == before);
  }
  return 0;
}
