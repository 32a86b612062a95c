// A listening UNIX socket with a name: it takes the place of one that a dead instance left, never that of a
// live one, and its file goes with it.
//
// Theory of operation. Whether somebody still has the socket behind a name is asked by connecting with
// another type of socket: the kernel compares the types last, so the answer is EPROTOTYPE for a live one and
// ECONNREFUSED for a dead one, and nobody is disturbed (a connection of the right type would be a client to
// whoever listens there).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::sandbox {

inline constexpr std::size_t kMostSocketName = 107;  // sun_path, with its end (unix(7))

class SocketFile {
 public:
  // A stream socket of mode 0600: who connects is checked again, but others need not even try. nullopt: a
  // live one has the name. `what` begins the errors.
  [[nodiscard]] static base::Result<std::optional<SocketFile>> open(std::string_view what, std::string path);
  SocketFile(SocketFile&& other) noexcept = default;
  SocketFile& operator=(SocketFile&&) = delete;
  // Removes the file if it is still ours.
  ~SocketFile();

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  SocketFile(std::string path, base::Fd socket) : path_(std::move(path)), socket_(std::move(socket)) {}

  std::string path_;
  base::Fd socket_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Takes away the sockets in `directory` that nobody has any more: of instances that were killed.
void remove_stale_sockets(const std::string& directory);

}  // namespace cordon::sandbox
