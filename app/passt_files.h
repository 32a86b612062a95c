// What the drop-in opens, and how it comes to its user, before it forks.
#pragma once

#include <string>

#include "app/passt_options.h"
#include "core/base/error.h"
#include "core/base/fd.h"

namespace cordon::app {

// Closes what was inherited beside the standard descriptors and `kept`; those exist afterwards.
[[nodiscard]] base::Result<void> settle_descriptors(std::optional<int> kept);

// The first of /tmp/passt_1.socket, /tmp/passt_2.socket ... that nobody listens on.
[[nodiscard]] base::Result<std::string> free_socket_name();
// Waits a moment for an instance that is about to end and has the name still.
void await_socket_name(const std::string& path);

// Emptied now, written when everything stands; not removed at the end: its clients do that, and a new
// instance may have written its own by then.
class ClientPidFile {
 public:
  ClientPidFile() = default;
  [[nodiscard]] static base::Result<ClientPidFile> open(const std::string& path);
  [[nodiscard]] base::Result<void> write(int pid) const;

 private:
  std::string path_;
  base::Fd fd_;
};

// Started as root of the machine: becomes `runas` ("UID", "UID:GID", "LOGIN", "LOGIN:GROUP"), or nobody.
// Others stay who they are; for them `runas` is an error unless it names themselves.
[[nodiscard]] base::Result<void> leave_root(const std::string& runas, bool quiet);

}  // namespace cordon::app
