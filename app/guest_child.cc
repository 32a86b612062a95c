#include "app/guest_child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "app/guest_namespace.h"

namespace cordon::app {
namespace {

// Between child and launcher, one SEQPACKET message each.
enum class Step : std::uint8_t {
  kUnshared = 1,  // child: write my id maps
  kMapped,        // launcher
  kTap,           // child: here is the tap (with one descriptor)
  kFailed,        // child: `text` says what
  kGo             // launcher: execute the command
};
struct Note {
  Step step = Step::kFailed;
  std::array<char, 500> text{};
};

base::Result<void> send_note(int channel, const Note& note, int fd = -1) {
  iovec part{const_cast<Note*>(&note), sizeof note};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  if (::sendmsg(channel, &message, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof note))
    return base::fail_errno("guest set-up", "the other side is gone");
  return {};
}

struct Received {
  Note note;
  base::Fd fd;
};

base::Result<Received> receive_note(int channel) {
  Received received;
  iovec part{&received.note, sizeof received.note};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t size = 0;
  do {
    size = ::recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message); size > 0 && header != nullptr &&
                                                       header->cmsg_type == SCM_RIGHTS &&
                                                       header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    received.fd = base::Fd{fd};
  }
  if (size != static_cast<ssize_t>(sizeof(Note))) return base::fail("guest set-up", "the other side is gone");
  return received;
}

base::Result<void> expect(int channel, Step step) {
  if (CORDON_TRY(receive_note(channel)).note.step != step) return base::fail("guest set-up", "out of step");
  return {};
}

// Everything up to the point where the command may start.
base::Result<void> prepare(int channel, const RunOptions& options, pid_t launcher) {
  CORDON_TRY(leave_for_own_namespaces());
  CORDON_TRY(send_note(channel, {.step = Step::kUnshared, .text = {}}));
  CORDON_TRY(expect(channel, Step::kMapped));
  // Now and not earlier: a change of credentials clears it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launcher) return base::fail("guest set-up", "the launcher is gone");
  const base::Fd tap = CORDON_TRY(make_tap());
  CORDON_TRY(set_up_network(options.guest));
  return send_note(channel, {.step = Step::kTap, .text = {}}, tap.get());
}

[[noreturn]] void leave(int status, const std::string& line) {
  std::fprintf(stderr, "cordon: %s\n", line.c_str());
  std::_Exit(status);
}

[[noreturn]] void execute(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const auto& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments.front(), arguments.data());
  const int error = errno;
  const auto& name = command.front();
  if (error == ENOENT && name.find('/') == std::string::npos)
    leave(127, name + ": command not found in PATH");
  leave(error == ENOENT ? 127 : 126, "execute " + name + ": " + std::strerror(error));
}

[[noreturn]] void become_command(int channel, const RunOptions& options, pid_t launcher) {
  if (const auto ready = prepare(channel, options, launcher); !ready) {
    Note note;
    const std::string line = base::describe(ready.error());
    line.copy(note.text.data(), note.text.size() - 1);
    (void)send_note(channel, note);
    std::_Exit(125);
  }
  // The launcher says why it gave up; here is nothing to add.
  if (!expect(channel, Step::kGo)) std::_Exit(125);
  if (const auto named = replace_name_service(options.guest); !named)
    leave(125, base::describe(named.error()));
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  execute(options.command);
}

base::Result<Received> await_tap(int channel, pid_t child) {
  for (;;) {
    Received received = CORDON_TRY(receive_note(channel));
    switch (received.note.step) {
      case Step::kUnshared:
        CORDON_TRY(write_identity_maps(child));
        CORDON_TRY(send_note(channel, {.step = Step::kMapped, .text = {}}));
        break;
      case Step::kTap:
        if (!received.fd) return base::fail("guest set-up", "the tap did not arrive");
        return received;
      case Step::kFailed: received.note.text.back() = '\0'; return base::fail({}, received.note.text.data());
      case Step::kMapped:
      case Step::kGo: return base::fail("guest set-up", "out of step");
    }
  }
}

}  // namespace

base::Result<GuestChild> GuestChild::start(const RunOptions& options) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0)
    return base::fail_errno("socketpair", "for the guest");
  base::Fd ours{pair[0]};
  base::Fd theirs{pair[1]};
  const pid_t launcher = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return base::fail_errno("fork", "for the guest");
  if (pid == 0) {
    ours.reset();
    become_command(theirs.get(), options, launcher);
  }
  theirs.reset();
  auto tap = await_tap(ours.get(), pid);
  if (!tap) {
    ours.reset();
    ::waitpid(pid, nullptr, 0);
    return std::unexpected(std::move(tap).error());
  }
  return GuestChild{pid, std::move(ours), std::move(tap->fd)};
}

base::Result<void> GuestChild::go() { return send_note(channel_.get(), {.step = Step::kGo, .text = {}}); }

}  // namespace cordon::app
