// The control socket's listening side, in the launcher: the socket file, and who may come in.
//
// A peer is let in when it runs as the launcher's own user, or as root, and not inside of a user namespace
// below the launcher's: the guest's command has the same user id and sees the same files, but it never leaves
// its own user namespace. What came in is handed to the broker; not a byte is read here.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/base/fd.h"
#include "core/base/time.h"
#include "core/base/token_bucket.h"
#include "sandbox/socket_file.h"

namespace cordon::sandbox {

// A directory for sockets that is ours alone: made with mode 0700 when it is missing (not its parents), and
// refused when it belongs to someone else or others may write to it.
[[nodiscard]] base::Result<void> make_socket_directory(const std::string& path);

class ControlListener {
 public:
  struct Limits {  // of those who may come in
    unsigned per_second = 50;
    unsigned burst = 50;
  };
  // A socket of mode 0600 at `path`. What a dead instance left there is replaced; nullopt: a live one has it.
  [[nodiscard]] static base::Result<std::optional<ControlListener>> open(std::string path, Limits limits);
  [[nodiscard]] static base::Result<std::optional<ControlListener>> open(std::string path) {
    return open(std::move(path), Limits{});
  }

  [[nodiscard]] int poll_fd() const { return file_.fd(); }
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  struct Visit {
    base::Fd client;           // non-blocking; invalid: refused, or nobody was there
    bool more = false;         // somebody else may wait
    bool too_many = false;     // come back in a while, and do not look at poll_fd() until then
    std::string_view refused;  // why
  };
  [[nodiscard]] Visit accept(base::Instant now);

 private:
  ControlListener(SocketFile file, Limits limits)
      : file_(std::move(file)), bucket_(limits.per_second, limits.burst) {}

  [[nodiscard]] Visit admit(base::Fd client, base::Instant now);

  SocketFile file_;
  base::Fd held_;  // may come in, when there is a token
  base::TokenBucket bucket_;
};

// Empty: may come in; else why not.
[[nodiscard]] std::string_view objection_to_peer(int socket);
// The same without the question for the user namespace.
[[nodiscard]] std::string_view objection_to_user(int socket);
// The same from the client's side, of a connected socket: whether an instance's launcher listens there, or
// somebody, such as a guest's command, who put a socket of his own in its place.
[[nodiscard]] std::string_view objection_to_server(int socket);

}  // namespace cordon::sandbox
