#include "app/guest_notes.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace cordon::app {
namespace {

using ControlBuffer = std::array<char, CMSG_SPACE(kMostQueues * sizeof(int))>;

std::vector<base::Fd> take_descriptors(msghdr& message) {
  std::vector<base::Fd> fds;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return fds;
  const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (std::size_t i = 0; i < count; ++i) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
    fds.emplace_back(fd);
  }
  return fds;
}

}  // namespace

base::Result<NotePair> make_note_pair() {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0)
    return base::fail_errno("socketpair", "for the guest");
  return NotePair{base::Fd{pair[0]}, base::Fd{pair[1]}};
}

base::Result<void> send_note(int channel, const Note& note, std::span<const base::Fd> fds) {
  iovec part{const_cast<Note*>(&note), sizeof note};
  alignas(cmsghdr) ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    if (fds.size() > kMostQueues) return base::fail("guest set-up", "too many queues");
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    for (std::size_t i = 0; i < fds.size(); ++i) {
      const int fd = fds[i].get();
      std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  if (::sendmsg(channel, &message, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof note))
    return base::fail_errno("guest set-up", "the other side is gone");
  return {};
}

void send_failure(int channel, const base::Error& error) {
  Note note;
  const std::string line = base::describe(error);
  line.copy(note.text.data(), note.text.size() - 1);
  static_cast<void>(send_note(channel, note));
}

base::Result<Received> receive_note(int channel) {
  Received received;
  iovec part{&received.note, sizeof received.note};
  alignas(cmsghdr) ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t size = 0;
  do {
    size = ::recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size > 0) received.fds = take_descriptors(message);
  if (size != static_cast<ssize_t>(sizeof(Note))) return base::fail("guest set-up", "the other side is gone");
  received.note.text.back() = '\0';
  return received;
}

base::Result<Received> expect_note(int channel, Step step) {
  Received received = CORDON_TRY(receive_note(channel));
  if (received.note.step == Step::kFailed) return base::fail({}, received.note.text.data());
  if (received.note.step != step) return base::fail("guest set-up", "out of step");
  return received;
}

}  // namespace cordon::app
